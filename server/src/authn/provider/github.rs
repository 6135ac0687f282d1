//! GitHub, or a GitHub Enterprise: the web flow of OAuth apps with PKCE, and who somebody is there. Users,
//! organisations and teams are known by their numbers, which stay when names change.

mod api;

use futures::future::BoxFuture;
use lariat_api::{AuthConfig, Principal, PrincipalType};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::http::Http;
use super::oauth::Client;
use super::redirect::{FlowSecrets, Grant, RedirectProvider};
use super::{
    Account, AuthProvider, Credentials, Known, LoginError, MAX_FOUND, MIN_SEARCHED, Refreshed,
    SettingsError,
};
use api::{Api, Asked};

/// The name of its AuthConfig.
const NAME: &str = "github";

/// Who somebody is, their organisations and their teams.
const SCOPE: &str = "read:org";

/// How a GitHub is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its pages, `https://github.com`.
    pub site: Url,
    /// Its REST API.
    pub api: Url,
    /// What it knows this server by.
    pub client_id: String,
    /// The secret to that.
    pub client_secret: SecretString,
    /// Where it sends browsers back to.
    pub redirect: Url,
    /// The authorities that sign its certificate, in PEM. Empty: those of the platform.
    pub certificate: String,
}

impl Settings {
    /// Those of an AuthConfig, with the secret that it does not show. Browsers come back to `redirect`
    /// unless they say otherwise.
    ///
    /// # Errors
    /// When they cannot be meant.
    pub fn new(
        config: &AuthConfig,
        client_secret: SecretString,
        redirect: &Url,
    ) -> Result<Self, SettingsError> {
        let mut config = config.clone();
        config.fill_in();
        let said = config.redirect;
        if said.client_id.is_empty() {
            return Err(SettingsError::Missing("clientId"));
        }
        let address = |field: &'static str, text: &str| {
            Url::parse(text).map_err(|error| {
                let reason = error.to_string();
                SettingsError::Invalid { field, reason }
            })
        };
        let host = said.hostname.as_str();
        if host.contains(['/', '@', '?', '#']) {
            let reason = "must be the name of a host, with its port if that is not 443".to_owned();
            let field = "hostname";
            return Err(SettingsError::Invalid { field, reason });
        }
        let api = match host {
            "github.com" => "https://api.github.com/".to_owned(),
            host => format!("https://{host}/api/v3/"),
        };
        Ok(Self {
            site: address("hostname", &format!("https://{host}/"))?,
            api: address("hostname", &api)?,
            client_id: said.client_id,
            client_secret,
            redirect: match said.rancher_url.as_str() {
                "" => redirect.clone(),
                given => address("rancherUrl", given)?,
            },
            certificate: config.directory.certificate,
        })
    }
}

/// GitHub, or a GitHub Enterprise.
#[derive(Debug)]
pub struct Github {
    client: Client,
    api: Api,
    http: Http,
}

impl Github {
    /// The one that these settings reach. Does not ask it yet.
    ///
    /// # Errors
    /// When they cannot be meant.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let http = Http::new(
            &settings.certificate,
            &[settings.site.clone(), settings.api.clone()],
        );
        let http = http.map_err(|reason| SettingsError::Invalid {
            field: "certificate",
            reason,
        })?;
        let site = settings.site.clone();
        let at = |path: &str| {
            site.join(path).map_err(|error| {
                let (field, reason) = ("hostname", error.to_string());
                SettingsError::Invalid { field, reason }
            })
        };
        let client = Client {
            authorization: at("login/oauth/authorize")?,
            token: at("login/oauth/access_token")?,
            id: settings.client_id,
            secret: settings.client_secret,
            redirect: settings.redirect,
            secret_in_form: true,
        };
        Ok(Self {
            client,
            api: Api::new(http.clone(), settings.api),
            http,
        })
    }

    async fn redeem(
        &self,
        secrets: &FlowSecrets,
        code: &SecretString,
    ) -> Result<Account, LoginError> {
        let tokens = self.client.redeem(&self.http, code, secrets).await?;
        match self.account(tokens.access_token.expose_secret()).await? {
            Some(account) => Ok(account),
            None => Err(LoginError::Disabled),
        }
    }

    /// Whom a token belongs to; `None` if it is good no more.
    async fn account(&self, token: &str) -> Result<Option<Account>, LoginError> {
        let Asked::Answered(user) = self.api.user(token).await? else {
            return Ok(None);
        };
        let mut groups = Vec::new();
        for organization in self.api.organizations(token).await? {
            groups.push(organization.principal());
        }
        for team in self.api.teams(token).await? {
            groups.extend(team.principals());
        }
        groups.sort_by(|one, other| one.id.cmp(&other.id));
        groups.dedup_by(|one, other| one.id == other.id);
        Ok(Some(Account {
            principal: user.principal(),
            groups,
            stable_id: Some(user.id.to_string()),
            grant: Some(Grant::new(token)),
        }))
    }
}

impl RedirectProvider for Github {
    fn begin<'a>(&'a self, secrets: &'a FlowSecrets) -> BoxFuture<'a, Result<Url, LoginError>> {
        let url = self.client.authorize(secrets, SCOPE, &[]);
        Box::pin(std::future::ready(Ok(url)))
    }

    fn finish<'a>(
        &'a self,
        secrets: &'a FlowSecrets,
        code: &'a SecretString,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        Box::pin(self.redeem(secrets, code))
    }

    /// GitHub's own session is not this server's to end.
    fn end<'a>(&'a self, _back: &'a Url) -> BoxFuture<'a, Result<Option<Url>, LoginError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl AuthProvider for Github {
    /// Refuses: nobody types a password here.
    fn authenticate<'a>(
        &'a self,
        _shown: Credentials,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        Box::pin(std::future::ready(Err(LoginError::ByRedirect)))
    }

    fn refresh<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Result<Refreshed, LoginError>> {
        Box::pin(async move {
            let Some(grant) = &known.grant else {
                let why = "no access token is kept of the login";
                return Err(LoginError::Misconfigured(why.to_owned()));
            };
            Ok(match self.account(grant.token()).await? {
                Some(account) if account.principal.id == known.principal => {
                    Refreshed::Still(account)
                }
                _ => Refreshed::Gone,
            })
        })
    }

    /// Searches people and organisations without anybody's token: an Enterprise that shows nothing to
    /// strangers finds nobody.
    fn search<'a>(
        &'a self,
        text: &'a str,
        kind: Option<PrincipalType>,
    ) -> BoxFuture<'a, Result<Vec<Principal>, LoginError>> {
        Box::pin(async move {
            if text.chars().count() < MIN_SEARCHED {
                return Ok(Vec::new());
            }
            let found = self.api.search(text, kind).await?;
            Ok(found
                .iter()
                .take(2 * MAX_FOUND)
                .map(api::Found::principal)
                .collect())
        })
    }

    fn principal<'a>(
        &'a self,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Principal>, LoginError>> {
        Box::pin(self.api.principal(id))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LoginError>> {
        Box::pin(self.api.check())
    }

    fn redirects(&self) -> Option<&dyn RedirectProvider> {
        Some(self)
    }
}
