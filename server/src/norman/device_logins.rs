//! Logins of command lines, confirmed in a browser.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::AuthConfigType;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer, login};
use crate::audit::Audit;
use crate::authn::Identity;
use crate::authn::provider::LoginError;
use crate::authz::{self, Denied};
use crate::edge::{Body, RequestContext, json as json_answer};
use crate::logins::device::{Approval, DeviceError, GOOD_FOR, INTERVAL, Shown, Told};
use crate::logins::{self, Session};
use crate::state::App;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct New {
    code_challenge: String,
    #[serde(default)]
    description: String,
}

/// `POST /v3-public/deviceLogins`: a program begins a login.
pub(super) async fn begin(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
) -> Result<Response<Body>, ApiError> {
    let from = context.connection.peer.ip();
    app.login_limits.check_address(from)?;
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let new: New = answer::parse(&body)?;
    let begun =
        app.device_logins
            .begin(&new.code_challenge, &new.description, from, app.clock.now())?;
    let page = format!(
        "{}/device",
        app.config.server_url.as_str().trim_end_matches('/')
    );
    let shown = json!({
        "type": "deviceLogin",
        "baseType": "deviceLogin",
        "deviceCode": begun.device_code,
        "userCode": begun.user_code,
        "verificationUri": page,
        "verificationUriComplete": format!("{page}?code={}", begun.user_code),
        "expiresIn": GOOD_FOR.as_secs(),
        "interval": INTERVAL.as_secs() + 1,
    });
    Ok(json_answer(StatusCode::CREATED, &shown))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Redeem {
    device_code: SecretString,
    code_verifier: SecretString,
}

/// `POST /v3-public/deviceLogins?action=redeem`: 202 until somebody has decided, then a token, once.
pub(super) async fn redeem(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
) -> Result<Response<Body>, ApiError> {
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let asked: Redeem = answer::parse(&body)?;
    let (code, verifier) = (
        asked.device_code.expose_secret(),
        asked.code_verifier.expose_secret(),
    );
    match app.device_logins.ask(code, verifier, app.clock.now())? {
        Told::Wait => {
            let waiting = json!({"type": "deviceLogin", "state": "waiting"});
            Ok(json_answer(StatusCode::ACCEPTED, &waiting))
        }
        Told::Denied => {
            let why = "the login was refused in the browser";
            Err(Denied(why.to_owned()).into())
        }
        Told::Approved(approval) => {
            let token = give(app, approval, &context.audit).await?;
            Ok(json_answer(StatusCode::CREATED, &login::shown(&token)))
        }
    }
}

/// A token for who confirmed, if they could still log in.
async fn give(
    app: &Arc<App>,
    approval: Approval,
    audit: &Audit,
) -> Result<lariat_api::Token, ApiError> {
    let type_ = AuthConfigType::of_name(&approval.provider).unwrap_or(AuthConfigType::Local);
    audit.set_login_provider(type_);
    audit.set_login_name(&approval.username);
    let user = app.directory.user(&approval.user);
    if !user.is_some_and(|user| user.enabled) {
        return Err(LoginError::Disabled.into());
    }
    app.providers.get(type_).await?;
    let session = Session {
        description: approval.description.clone(),
        ttl: 0,
    };
    let token = logins::again(app, &approval.user, type_, &approval.principal, session).await?;
    logins::name_user(app, &token, audit);
    Ok(token)
}

/// `GET /v3/deviceLogins/CODE`: what somebody is shown who may confirm it.
pub(super) fn show(app: &App, who: &Identity, code: &str) -> Result<Response<Body>, ApiError> {
    authz::own_tokens(who)?;
    let shown = app.device_logins.look(who, code, app.clock.now())?;
    Ok(json_answer(StatusCode::OK, &as_json(&shown)))
}

/// `POST /v3/deviceLogins/CODE?action=approve` and `?action=deny`.
pub(super) fn decide(
    app: &App,
    who: &Identity,
    code: &str,
    approve: bool,
) -> Result<Response<Body>, ApiError> {
    authz::own_tokens(who)?;
    let now = app.clock.now();
    let shown = app.device_logins.decide(who, code, approve, now)?;
    let (user, from) = (&who.username, shown.from);
    tracing::info!(user, %from, approve, "the login of a program was decided about");
    Ok(json_answer(StatusCode::OK, &as_json(&shown)))
}

fn as_json(shown: &Shown) -> Value {
    json!({
        "type": "deviceLogin",
        "baseType": "deviceLogin",
        "id": shown.user_code,
        "userCode": shown.user_code,
        "description": shown.description,
        "from": shown.from,
        "created": shown.begun_at,
        "createdTS": shown.begun_at.as_millisecond(),
    })
}

impl From<DeviceError> for ApiError {
    fn from(error: DeviceError) -> Self {
        let message = error.to_string();
        match error {
            DeviceError::Challenge => answer::invalid(message),
            DeviceError::Unknown => Self::new(StatusCode::NOT_FOUND, "NotFound", message),
            DeviceError::Decided => Self::new(StatusCode::CONFLICT, "Conflict", message),
            DeviceError::TooMany | DeviceError::TooManyLooks => {
                Self::too_many_requests(message, 60)
            }
            DeviceError::TooOften => Self::too_many_requests(message, 1),
        }
    }
}
