//! How a provider of OpenID Connect is reached, and what its claims mean.

use lariat_api::{AuthConfig, AuthConfigType};
use secrecy::SecretString;
use url::Url;

use super::super::SettingsError;

/// How a provider of OpenID Connect is reached, and what its claims mean.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of its AuthConfig.
    pub provider: &'static str,
    /// Who signs its tokens.
    pub issuer: String,
    /// What it knows this server by.
    pub client_id: String,
    /// The secret to that.
    pub client_secret: SecretString,
    /// Where it sends browsers back to.
    pub redirect: Url,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// The claim of the name that people read.
    pub name_claim: String,
    /// The claim of the address.
    pub email_claim: String,
    /// How people must have proven who they are.
    pub acr: Option<String>,
    /// Where browsers log in, in place of what discovery says.
    pub authorization: Option<Url>,
    /// Where codes become tokens, in place of what discovery says.
    pub token: Option<Url>,
    /// Where claims are, in place of what discovery says.
    pub user_info: Option<Url>,
    /// Where keys are, in place of what discovery says.
    pub keys: Option<Url>,
    /// Where browsers log out, in place of what discovery says.
    pub end_session: Option<Url>,
    /// The authorities that sign its certificate, in PEM. Empty: those of the platform.
    pub certificate: String,
}

impl Settings {
    /// Those of an AuthConfig, with the secret that it does not show.
    ///
    /// # Errors
    /// When they cannot be meant.
    pub fn new(config: &AuthConfig, client_secret: SecretString) -> Result<Self, SettingsError> {
        let mut config = config.clone();
        config.fill_in();
        let redirect = config.redirect;
        let given = |field: &'static str, text: &str| match text {
            "" => Ok(None),
            text => address(field, text).map(Some),
        };
        address("issuer", &redirect.issuer)?;
        if redirect.client_id.is_empty() {
            return Err(SettingsError::Missing("clientId"));
        }
        Ok(Self {
            provider: match config.type_ {
                AuthConfigType::KeycloakOidc => "keycloakoidc",
                _ => "oidc",
            },
            // As it is written: it is compared with what is in tokens.
            issuer: redirect.issuer,
            redirect: address("rancherUrl", &redirect.rancher_url)?,
            client_id: redirect.client_id,
            client_secret,
            scopes: redirect
                .scope
                .split_whitespace()
                .filter(|scope| *scope != "openid")
                .map(str::to_owned)
                .collect(),
            groups_claim: redirect.groups_claim,
            name_claim: redirect.name_claim,
            email_claim: redirect.email_claim,
            acr: Some(redirect.acr_value).filter(|acr| !acr.is_empty()),
            authorization: given("authEndpoint", &redirect.auth_endpoint)?,
            token: given("tokenEndpoint", &redirect.token_endpoint)?,
            user_info: given("userInfoEndpoint", &redirect.user_info_endpoint)?,
            keys: given("jwksUrl", &redirect.jwks_url)?,
            end_session: given("endSessionEndpoint", &redirect.end_session_endpoint)?,
            certificate: config.directory.certificate,
        })
    }

    /// What this server may ask: the issuer, and the endpoints that the settings name.
    pub(super) fn hosts(&self) -> Vec<Url> {
        let named = [&self.token, &self.user_info, &self.keys];
        let issuer = Url::parse(&self.issuer).ok();
        issuer
            .into_iter()
            .chain(named.into_iter().flatten().cloned())
            .collect()
    }
}

fn address(field: &'static str, text: &str) -> Result<Url, SettingsError> {
    if text.is_empty() {
        return Err(SettingsError::Missing(field));
    }
    let url = Url::parse(text).map_err(|error| invalid(field, &error))?;
    if url.scheme() != "https" || url.host_str().is_none() {
        let why = "must begin with https://, or secrets would be sent in the clear";
        return Err(invalid(field, &why));
    }
    Ok(url)
}

fn invalid(field: &'static str, reason: &dyn std::fmt::Display) -> SettingsError {
    let reason = reason.to_string();
    SettingsError::Invalid { field, reason }
}
