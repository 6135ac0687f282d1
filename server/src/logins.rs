//! Logging in: who was proved by a provider becomes a user, is let in or not, and gets a token.

mod accounts;
mod admission;
mod attributes;
mod configure;
pub(crate) mod device;
mod flow;
mod grants;
mod metrics;
mod redirect;
mod refresh;
mod status;

use apiserver::error::ApiError;
use lariat_api::{AuthConfigType, Kind as _, Token};

use crate::audit::Audit;
use crate::authn::provider::{Account, Credentials, LoginError};
use crate::management::Number;
use crate::state::App;
use crate::tokens::{self, NewToken};

pub(crate) use configure::{Proof, configure_test, disable, test_and_apply};
pub use device::DeviceLogins;
pub use flow::Flows;
pub(crate) use flow::{Purpose, forget as forget_flow};
pub use grants::Granting;
pub(crate) use redirect::{Returned, begin, end_elsewhere, finish};
pub(crate) use refresh::{keep as keep_refreshed, refresh_user};

const MILLISECONDS_OF_A_MINUTE: u64 = 60_000;

/// What somebody who logs in wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// What the token is for.
    pub(crate) description: String,
    /// Milliseconds until it expires, at most what the setting says; 0: that.
    pub(crate) ttl: u64,
}

/// Logs in who shows that to a provider. The answer holds the bearer token, which is not kept; the audit
/// record is told who it is.
///
/// # Errors
/// 401 with the reason when the provider refuses, 403 when it does not but this server does, 404 when
/// nobody logs in by it, 503 when it does not answer.
pub(crate) async fn by_credentials(
    app: &App,
    type_: AuthConfigType,
    shown: Credentials,
    session: Session,
    audit: &Audit,
) -> Result<Token, ApiError> {
    let welcomed = async {
        let provider = app.providers.get(type_).await?;
        let account = provider.authenticate(shown).await?;
        welcome(app, type_, &account, session, audit).await
    };
    let welcomed = welcomed.await;
    app.login_limits.ended(type_, &welcomed);
    welcomed
}

/// Lets in somebody whom a provider has proved, and tells the audit record who it is.
///
/// # Errors
/// 403 when the settings of the provider do not let them in, 401 when their user is disabled.
pub(crate) async fn welcome(
    app: &App,
    type_: AuthConfigType,
    account: &Account,
    session: Session,
    audit: &Audit,
) -> Result<Token, ApiError> {
    let known = accounts::known(app, type_, account);
    let config = app.providers.enabled_config(type_);
    if let Some(config) = &config
        && !admission::is_admitted(app, config, account, known.as_deref())
    {
        return Err(LoginError::NotAllowed.into());
    }
    let user = accounts::settle(app, type_, account).await?;
    if !user.enabled {
        return Err(LoginError::Disabled.into());
    }
    attributes::note_login(app, user.name(), type_, account).await?;
    if let Some(grant) = &account.grant {
        grants::keep(app, &user, type_, grant).await?;
    }
    let token = again(app, user.name(), type_, &account.principal.id, session).await?;
    name_user(app, &token, audit);
    if let Some(config) = config
        && let Err(error) = status::tested(app, &config).await
    {
        tracing::warn!(
            error = error.message(),
            "cannot note that a login succeeded"
        );
    }
    Ok(token)
}

/// Tells the audit record of a login whose token was made.
pub(crate) fn name_user(app: &App, token: &Token, audit: &Audit) {
    if let Some(who) = app.directory.identity_of(token.name()) {
        audit.set_logged_in(&who);
    }
}

/// Another session of somebody who was let in.
///
/// # Errors
/// When the store fails.
pub(crate) async fn again(
    app: &App,
    user: &str,
    type_: AuthConfigType,
    principal: &str,
    session: Session,
) -> Result<Token, ApiError> {
    let longest = app.directory.number(Number::SessionTtl) * MILLISECONDS_OF_A_MINUTE;
    let new = NewToken {
        user: user.to_owned(),
        description: session.description,
        ttl: Some(match session.ttl {
            0 => longest,
            milliseconds => milliseconds.min(longest),
        }),
        provider: type_.name().to_owned(),
        principal: principal.to_owned(),
        ..NewToken::default()
    };
    make_room(app, user).await?;
    tokens::create(app, new).await
}

/// Ends the logins of a user that are longest unused, so that there may be one more.
async fn make_room(app: &App, user: &str) -> Result<(), ApiError> {
    let most = app.directory.number(Number::MaxSessions);
    let Some(others) = usize::try_from(most).unwrap_or(usize::MAX).checked_sub(1) else {
        return Ok(());
    };
    let mut sessions = app.directory.tokens();
    sessions.retain(|token| token.is_session && token.user.as_str() == user);
    sessions.sort_by_key(|token| std::cmp::Reverse(token.last_active()));
    for token in sessions.iter().skip(others) {
        tokens::revoke(app, token.name.as_str()).await?;
    }
    Ok(())
}
