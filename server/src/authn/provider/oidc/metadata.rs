//! What a provider says of itself (OpenID Connect Discovery): its endpoints and keys.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::super::LoginError;
use super::super::http::Http;
use super::id_token::Keys;
use super::settings::Settings;

/// What a provider says of itself, and what the settings say instead.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) user_info: Option<Url>,
    pub(super) end_session: Option<Url>,
    /// Whether it takes the client's secret in the form of a request, and not as Basic.
    pub(super) secret_in_form: bool,
    pub(super) keys: Keys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    jwks_uri: Option<String>,
    end_session_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// How long it is believed. Keys that are missing are asked for at once.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// How long fresh keys are believed even if one is missing: who makes up ID tokens must not make this
/// server ask for each.
const FRESH: SignedDuration = SignedDuration::from_secs(5);

const STEP: &str = "ask the provider what it is";

/// What a provider has said of itself lately.
#[derive(Debug, Default)]
pub(super) struct Discovery(Mutex<Option<(Timestamp, Arc<Metadata>)>>);

impl Discovery {
    /// What it said lately, or says now. Cancellation-safe.
    pub(super) async fn known(
        &self,
        settings: &Settings,
        http: &Http,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, LoginError> {
        match self.said() {
            Some((then, said)) if now.duration_since(then) < BELIEVED => Ok(said),
            _ => self.ask(settings, http, now).await,
        }
    }

    /// What it says now, in place of `old`. Cancellation-safe.
    pub(super) async fn renewed(
        &self,
        settings: &Settings,
        http: &Http,
        now: Timestamp,
        old: &Arc<Metadata>,
    ) -> Result<Arc<Metadata>, LoginError> {
        match self.said() {
            Some((_, said)) if !Arc::ptr_eq(&said, old) => Ok(said),
            Some((then, said)) if now.duration_since(then) < FRESH => Ok(said),
            _ => self.ask(settings, http, now).await,
        }
    }

    /// What it says now. Cancellation-safe.
    pub(super) async fn ask(
        &self,
        settings: &Settings,
        http: &Http,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, LoginError> {
        let said = Arc::new(ask(settings, http).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&said)));
        Ok(said)
    }

    fn said(&self) -> Option<(Timestamp, Arc<Metadata>)> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }
}

/// Asks the provider, unless the settings say all that is needed.
async fn ask(settings: &Settings, http: &Http) -> Result<Metadata, LoginError> {
    let says_all =
        settings.authorization.is_some() && settings.token.is_some() && settings.keys.is_some();
    let document = match says_all {
        true => Document::default(),
        false => discover(settings, http).await?,
    };
    let either = |set: &Option<Url>, said: &Option<String>, field: &str| match (set, said) {
        (Some(set), _) => Ok(Some(set.clone())),
        (None, None) => Ok(None),
        (None, Some(said)) => match Url::parse(said) {
            Ok(url) if url.scheme() == "https" => Ok(Some(url)),
            _ => Err(LoginError::Misconfigured(format!(
                "the provider's {field} has no https:// address"
            ))),
        },
    };
    let needed = |url: Option<Url>, field: &str| {
        let missing = || LoginError::Misconfigured(format!("the provider names no {field}"));
        url.ok_or_else(missing)
    };
    let authorization = either(
        &settings.authorization,
        &document.authorization_endpoint,
        "authorization_endpoint",
    )?;
    let token = either(&settings.token, &document.token_endpoint, "token_endpoint")?;
    let keys = either(&settings.keys, &document.jwks_uri, "jwks_uri")?;
    let keys = needed(keys, "jwks_uri")?;
    let methods = document.token_endpoint_auth_methods_supported;
    let takes = |methods: &[String], method: &str| methods.iter().any(|one| one == method);
    Ok(Metadata {
        authorization: needed(authorization, "authorization_endpoint")?,
        token: needed(token, "token_endpoint")?,
        user_info: either(
            &settings.user_info,
            &document.userinfo_endpoint,
            "userinfo_endpoint",
        )?,
        end_session: either(
            &settings.end_session,
            &document.end_session_endpoint,
            "end_session_endpoint",
        )?,
        // Basic is what every provider takes that does not say otherwise.
        secret_in_form: methods.is_some_and(|methods| {
            takes(&methods, "client_secret_post") && !takes(&methods, "client_secret_basic")
        }),
        keys: get(http, &keys).await?,
    })
}

async fn discover(settings: &Settings, http: &Http) -> Result<Document, LoginError> {
    let place = ".well-known/openid-configuration";
    let place = format!("{}/{place}", settings.issuer.trim_end_matches('/'));
    let place = Url::parse(&place).map_err(|error| LoginError::Misconfigured(error.to_string()))?;
    let document: Document = get(http, &place).await?;
    if document.issuer != settings.issuer {
        let (found, said) = (&document.issuer, &settings.issuer);
        let why = format!("the provider is the issuer {found:?}, not {said:?}");
        return Err(LoginError::Misconfigured(why));
    }
    Ok(document)
}

async fn get<T: DeserializeOwned>(http: &Http, url: &Url) -> Result<T, LoginError> {
    let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
    let request = request.body(Vec::new());
    let request = request.map_err(|error| LoginError::Misconfigured(error.to_string()))?;
    let answer = http.send(request).await;
    let answer = answer.map_err(|error| error.during(STEP))?;
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body()).map_err(|error| {
            LoginError::Misconfigured(format!("{url} is not understood: {error}"))
        }),
        // A gateway in front of it, most of all.
        status if status.is_server_error() => Err(LoginError::Unavailable {
            step: STEP,
            reason: format!("{url} answered {status}"),
        }),
        status => Err(LoginError::Misconfigured(format!(
            "{url} answered {status}"
        ))),
    }
}
