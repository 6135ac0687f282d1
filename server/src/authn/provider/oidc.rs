//! OpenID Connect: the authorization code flow with PKCE.

mod claims;
mod id_token;
mod metadata;
mod settings;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, StatusCode, header};
use lariat_api::{Principal, PrincipalType};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::http::Http;
use super::oauth::{self, Said, Tokens};
use super::redirect::{FlowSecrets, Grant, RedirectProvider};
use super::{
    Account, AuthProvider, Credentials, Known, LoginError, MIN_SEARCHED, Refreshed, SettingsError,
};
use crate::clock::Clock;
use claims::Known as KnownClaims;
use id_token::{Bad, Expected};
use metadata::{Discovery, Metadata};
pub use settings::Settings;

/// The scope of a refresh token that outlives the provider's own session.
const OFFLINE: &str = "offline_access";

/// A provider of OpenID Connect.
#[derive(Debug)]
pub struct Oidc {
    settings: Settings,
    discovery: Discovery,
    http: Http,
    clock: Clock,
}

impl Oidc {
    /// One with these settings. Does not ask it yet.
    ///
    /// # Errors
    /// When the settings cannot be meant.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, SettingsError> {
        let http = Http::new(&settings.certificate, &settings.hosts());
        let http = http.map_err(|reason| SettingsError::Invalid {
            field: "certificate",
            reason,
        })?;
        Ok(Self {
            settings,
            discovery: Discovery::default(),
            http,
            clock,
        })
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, LoginError> {
        let now = self.clock.now();
        self.discovery.known(&self.settings, &self.http, now).await
    }

    fn client(&self, metadata: &Metadata) -> oauth::Client {
        oauth::Client {
            id: self.settings.client_id.clone(),
            secret: self.settings.client_secret.clone(),
            authorization: metadata.authorization.clone(),
            token: metadata.token.clone(),
            redirect: self.settings.redirect.clone(),
            secret_in_form: metadata.secret_in_form,
        }
    }

    /// Who the ID token of an answer is about. Keys that have changed since they were fetched are fetched
    /// once more.
    async fn identify(
        &self,
        metadata: &Arc<Metadata>,
        tokens: &Tokens,
        nonce: Option<&str>,
    ) -> Result<KnownClaims, LoginError> {
        let Some(token) = &tokens.id_token else {
            let why = "the provider gives no ID token; is the scope openid among those it allows?";
            return Err(LoginError::Misconfigured(why.to_owned()));
        };
        let now = self.clock.now();
        let expected = Expected {
            issuer: &self.settings.issuer,
            client: &self.settings.client_id,
            nonce,
            now,
        };
        let verified = match id_token::verify(token, &metadata.keys, expected) {
            Err(Bad::Key | Bad::Signature) => {
                let fresh = (self.discovery).renewed(&self.settings, &self.http, now, metadata);
                id_token::verify(token, &fresh.await?.keys, expected)
            }
            verified => verified,
        };
        let claims = verified.map_err(|bad| LoginError::Refused {
            reason: format!("the ID token is not good: {bad}"),
        })?;
        let mut known = KnownClaims::new(claims);
        if known.lacks(&self.settings)
            && let Some(more) = self.user_info(metadata, tokens, &known.subject).await?
        {
            known.take(more);
        }
        Ok(known)
    }

    /// What the provider's userinfo endpoint says of somebody; nothing, where it has none.
    async fn user_info(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        subject: &str,
    ) -> Result<Option<Map<String, Value>>, LoginError> {
        const STEP: &str = "ask the provider for claims";
        let Some(url) = &metadata.user_info else {
            return Ok(None);
        };
        let access = tokens.access_token.expose_secret();
        let request = Request::get(url.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {access}"))
            .body(Vec::new());
        let request = request.map_err(|error| LoginError::Misconfigured(error.to_string()))?;
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|error| error.during(STEP))?;
        let status = answer.status();
        if status.is_server_error() {
            let reason = format!("the userinfo endpoint answered {status}");
            return Err(LoginError::Unavailable { step: STEP, reason });
        }
        let said = serde_json::from_slice::<Map<String, Value>>(answer.body());
        let (StatusCode::OK, Ok(said)) = (status, said) else {
            let why = format!("the userinfo endpoint answered {status}, and no JSON with claims");
            return Err(LoginError::Misconfigured(why));
        };
        // What is said of another is not to be believed (OpenID Connect Core, section 5.3.2).
        if said.get("sub").and_then(Value::as_str) != Some(subject) {
            let reason = "the userinfo endpoint speaks of somebody else".to_owned();
            return Err(LoginError::Refused { reason });
        }
        Ok(Some(said))
    }

    fn account(&self, known: &KnownClaims, grant: Option<&str>) -> Account {
        let provider = self.settings.provider;
        let principal = |kind: PrincipalType, name: &str, shown: String, login: String| {
            let word = match kind {
                PrincipalType::User => "user",
                PrincipalType::Group => "group",
            };
            Principal {
                id: format!("{provider}_{word}://{name}"),
                display_name: claims::bounded(shown, 253),
                login_name: claims::bounded(login, 253),
                principal_type: kind,
                provider: provider.to_owned(),
            }
        };
        let names = known.groups(&self.settings.groups_claim);
        let groups = names.into_iter().map(|name| {
            let (shown, login) = (name.clone(), String::new());
            principal(PrincipalType::Group, &name, shown, login)
        });
        Account {
            principal: principal(
                PrincipalType::User,
                &known.subject,
                known.display_name(&self.settings),
                known.login_name(&self.settings),
            ),
            groups: groups.collect(),
            stable_id: None,
            grant: grant.map(Grant::new),
        }
    }

    async fn redeem(
        &self,
        secrets: &FlowSecrets,
        code: &SecretString,
    ) -> Result<Account, LoginError> {
        let metadata = self.metadata().await?;
        let client = self.client(&metadata);
        let tokens = client.redeem(&self.http, code, secrets).await?;
        let nonce = Some(secrets.nonce.as_str());
        let known = self.identify(&metadata, &tokens, nonce).await?;
        let grant = tokens.refresh_token.as_ref();
        Ok(self.account(&known, grant.map(|token| token.expose_secret())))
    }

    async fn ask_again(&self, known: &Known) -> Result<Refreshed, LoginError> {
        let Some(grant) = &known.grant else {
            let why = "the provider gave no refresh token at the login; ask for the scope \
                       offline_access";
            return Err(LoginError::Misconfigured(why.to_owned()));
        };
        let metadata = self.metadata().await?;
        let client = self.client(&metadata);
        let tokens = match client.refresh(&self.http, grant.token()).await? {
            Said::Tokens(tokens) => tokens,
            // Such a token ends with the account. Another one ends with the provider's session.
            Said::NotGood(_) if self.settings.scopes.iter().any(|scope| scope == OFFLINE) => {
                return Ok(Refreshed::Gone);
            }
            Said::NotGood(_) => {
                let why = "the provider's session has ended; ask for the scope offline_access";
                return Err(LoginError::Misconfigured(why.to_owned()));
            }
        };
        let fresh = match &tokens.id_token {
            Some(_) => self.identify(&metadata, &tokens, None).await?,
            None => {
                let subject = self.subject(&known.principal).unwrap_or_default();
                let Some(said) = self.user_info(&metadata, &tokens, subject).await? else {
                    let why = "the provider says nothing of people after their login: neither an \
                               ID token with the refresh nor a userinfo endpoint";
                    return Err(LoginError::Misconfigured(why.to_owned()));
                };
                KnownClaims::new(said)
            }
        };
        let newest = tokens.refresh_token.as_ref();
        let newest = newest.map_or(grant.token(), |token| token.expose_secret());
        let account = self.account(&fresh, Some(newest));
        Ok(if account.principal.id == known.principal {
            Refreshed::Still(account)
        } else {
            Refreshed::Gone
        })
    }

    /// What the provider calls somebody.
    fn subject<'a>(&self, principal: &'a str) -> Option<&'a str> {
        let rest = principal.strip_prefix(self.settings.provider)?;
        rest.strip_prefix("_user://")
    }
}

impl RedirectProvider for Oidc {
    fn begin<'a>(&'a self, secrets: &'a FlowSecrets) -> BoxFuture<'a, Result<Url, LoginError>> {
        Box::pin(async move {
            let metadata = self.metadata().await?;
            let scopes = std::iter::once("openid");
            let scopes = scopes.chain(self.settings.scopes.iter().map(String::as_str));
            let scope = scopes.collect::<Vec<_>>().join(" ");
            let mut more = vec![("nonce", secrets.nonce.as_str())];
            more.extend(
                self.settings
                    .acr
                    .iter()
                    .map(|acr| ("acr_values", acr.as_str())),
            );
            Ok(self.client(&metadata).authorize(secrets, &scope, &more))
        })
    }

    fn finish<'a>(
        &'a self,
        secrets: &'a FlowSecrets,
        code: &'a SecretString,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        Box::pin(self.redeem(secrets, code))
    }

    fn end<'a>(&'a self, back: &'a Url) -> BoxFuture<'a, Result<Option<Url>, LoginError>> {
        Box::pin(async move {
            let metadata = self.metadata().await?;
            // OpenID Connect RP-Initiated Logout.
            let mut end = metadata.end_session.clone();
            if let Some(end) = &mut end {
                end.query_pairs_mut()
                    .append_pair("client_id", &self.settings.client_id)
                    .append_pair("post_logout_redirect_uri", back.as_str());
            }
            Ok(end)
        })
    }
}

impl AuthProvider for Oidc {
    /// Refuses: nobody types a password here.
    fn authenticate<'a>(
        &'a self,
        _shown: Credentials,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        Box::pin(std::future::ready(Err(LoginError::ByRedirect)))
    }

    fn refresh<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Result<Refreshed, LoginError>> {
        Box::pin(self.ask_again(known))
    }

    /// A provider of OpenID Connect cannot be searched: what is typed is taken as the name of a group and
    /// as the subject of a person.
    fn search<'a>(
        &'a self,
        text: &'a str,
        kind: Option<PrincipalType>,
    ) -> BoxFuture<'a, Result<Vec<Principal>, LoginError>> {
        let provider = self.settings.provider;
        let mut found = Vec::new();
        if text.chars().count() >= MIN_SEARCHED {
            for (word, principal_type) in [
                ("user", PrincipalType::User),
                ("group", PrincipalType::Group),
            ] {
                if kind.is_none_or(|kind| kind == principal_type) {
                    found.push(Principal {
                        id: format!("{provider}_{word}://{text}"),
                        display_name: claims::bounded(text.to_owned(), 253),
                        login_name: String::new(),
                        principal_type,
                        provider: provider.to_owned(),
                    });
                }
            }
        }
        Box::pin(std::future::ready(Ok(found)))
    }

    /// Taken as it is: there is nobody to ask.
    fn principal<'a>(
        &'a self,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Principal>, LoginError>> {
        let provider = self.settings.provider;
        let kinds = [
            ("user", PrincipalType::User),
            ("group", PrincipalType::Group),
        ];
        let found = kinds.into_iter().find_map(|(word, principal_type)| {
            let name = id.strip_prefix(provider)?.strip_prefix('_')?;
            let name = name.strip_prefix(word)?.strip_prefix("://")?;
            Some(Principal {
                id: id.to_owned(),
                display_name: claims::bounded(name.to_owned(), 253),
                login_name: String::new(),
                principal_type,
                provider: provider.to_owned(),
            })
        });
        Box::pin(std::future::ready(Ok(found)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LoginError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let asked = self.discovery.ask(&self.settings, &self.http, now).await;
            asked.map(drop)
        })
    }

    fn redirects(&self) -> Option<&dyn RedirectProvider> {
        Some(self)
    }
}
