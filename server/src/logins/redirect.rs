//! Logins at another site: a browser is sent there, and comes back with a code.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::HeaderMap;
use lariat_api::{AuthConfigType, Token};
use secrecy::SecretString;
use url::Url;

use super::flow::{Flow, NotBegunHere, Purpose};
use super::{Session, welcome};
use crate::audit::Audit;
use crate::authn::provider::{AuthProvider, RedirectProvider};
use crate::state::App;

/// The longest code and state that a provider may send a browser back with, in bytes.
const MAX_RETURNED: usize = 4096;

/// A login that began: where to send the browser, and what to remember of it.
pub(crate) struct Begun {
    pub(crate) url: Url,
    pub(crate) flow: Flow,
}

/// Begins a login at a provider, which need not be in use yet.
///
/// # Errors
/// 400 when people log in with a password there, 503 when it does not answer.
pub(crate) async fn begin(
    app: &App,
    type_: AuthConfigType,
    provider: &dyn AuthProvider,
    purpose: Purpose,
) -> Result<Begun, ApiError> {
    let flow = Flow::new(type_, purpose, app.clock.now());
    let url = redirects(type_, provider)?.begin(&flow.secrets).await?;
    Ok(Begun { url, flow })
}

/// What a browser brings back.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    pub(crate) code: SecretString,
    pub(crate) state: String,
}

impl Returned {
    /// The login that the browser began which sends these headers.
    ///
    /// # Errors
    /// 400 when it began none, or another, or too long ago.
    pub(crate) fn resume(&self, app: &App, headers: &HeaderMap) -> Result<Flow, ApiError> {
        use secrecy::ExposeSecret as _;
        let length = self.code.expose_secret().len();
        if length == 0 || length > MAX_RETURNED || self.state.len() > MAX_RETURNED {
            return Err(NotBegunHere.into());
        }
        let now = app.clock.now();
        Ok(app.flows.resume(headers, &self.state, now)?)
    }
}

/// Logs in who comes back from a provider. The answer holds the bearer token, which is not kept; the audit
/// record is told who it is.
///
/// # Errors
/// As [`super::by_credentials`], and 400 when this browser did not begin the login.
pub(crate) async fn finish(
    app: &Arc<App>,
    flow: Flow,
    code: SecretString,
    session: Session,
    audit: &Audit,
) -> Result<Token, ApiError> {
    if !matches!(flow.purpose, Purpose::Session { .. }) {
        return Err(NotBegunHere.into());
    }
    let type_ = AuthConfigType::of_name(&flow.provider).ok_or(NotBegunHere)?;
    let (app, audit) = (Arc::clone(app), audit.clone());
    // A code is good once: a client that goes away must not leave half a login.
    let finished = tokio::spawn(async move {
        let welcomed = async {
            let provider = app.providers.get(type_).await?;
            let redirects = redirects(type_, &*provider)?;
            let account = redirects.finish(&flow.secrets, &code).await?;
            audit.set_login_name(&account.principal.login_name);
            welcome(&app, type_, &account, session, &audit).await
        };
        let welcomed = welcomed.await;
        app.login_limits.ended(type_, &welcomed);
        welcomed
    });
    finished.await.map_err(ApiError::internal)?
}

/// Where a browser ends its session at a provider as well, if the settings of the provider want that.
pub(crate) async fn end_elsewhere(app: &App, provider: &str) -> Option<Url> {
    let type_ = AuthConfigType::of_name(provider)?;
    let config = app.providers.enabled_config(type_)?;
    if !config.redirect.logout_all_enabled {
        return None;
    }
    let provider = app.providers.of(&config).await.ok()?;
    let back = app.config.server_url.join("login").ok()?;
    let ended = provider.redirects()?.end(&back).await;
    ended.unwrap_or_else(|error| {
        tracing::warn!(provider = type_.name(), %error, "cannot tell where a browser logs out");
        None
    })
}

/// The provider, if browsers are sent to it.
///
/// # Errors
/// 400 when they are not.
pub(crate) fn redirects(
    type_: AuthConfigType,
    provider: &dyn AuthProvider,
) -> Result<&dyn RedirectProvider, ApiError> {
    provider.redirects().ok_or_else(|| {
        let name = type_.name();
        ApiError::bad_request(format!(
            "one logs in at {name:?} with a name and a password"
        ))
    })
}
