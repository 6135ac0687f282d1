//! How a login is answered: with a token, or with the cookies of a session.

use apiserver::error::ApiError;
use http::header::SET_COOKIE;
use http::{Response, StatusCode};
use lariat_api::Token;
use serde::{Deserialize, Deserializer};

use super::answer;
use super::login::shown;
use crate::authn::{Identity, session};
use crate::authz::Denied;
use crate::edge::{Body, Site, empty, json};
use crate::logins;
use crate::state::App;

/// What a client wants of a login: `responseType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ResponseType {
    /// The bearer token.
    #[default]
    Token,
    /// Cookies, for a browser: no script sees the token.
    Cookie,
}

impl<'de> Deserialize<'de> for ResponseType {
    /// Clients know words for the token that all mean the same.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.as_str() {
            "cookie" => Self::Cookie,
            _ => Self::Token,
        })
    }
}

impl ResponseType {
    /// Nobody is logged in unawares, as somebody else, by a page of another site.
    ///
    /// # Errors
    /// 403 for such a page.
    pub(super) fn may_be_given_to(self, site: Site) -> Result<(), ApiError> {
        match (self, site) {
            (Self::Cookie, Site::Foreign) => {
                let why = "a page of another site cannot log in here";
                Err(Denied(why.to_owned()).into())
            }
            _ => Ok(()),
        }
    }
}

/// Answers a login with a new token.
///
/// # Errors
/// When the token is no bearer token.
pub(super) fn logged_in(token: &Token, wanted: ResponseType) -> Result<Response<Body>, ApiError> {
    let mut shown = shown(token);
    if wanted == ResponseType::Token {
        return Ok(json(StatusCode::CREATED, &shown));
    }
    let cookies = session::begin(&token.token).map_err(ApiError::internal)?;
    shown["token"] = "".into();
    let mut response = json(StatusCode::OK, &shown);
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Whether a `POST` to a path under `/v3`, by its segments, ends the token with which it comes, and that alone.
pub(crate) fn is_logout(segments: &[&str], query: Option<&str>) -> bool {
    let [collection] = segments else {
        return false;
    };
    let mut names = ["token", "tokens"].into_iter();
    let of_tokens = names.any(|name| collection.eq_ignore_ascii_case(name));
    let action = answer::action(query);
    of_tokens && matches!(action.as_deref(), Some("logout" | "logoutAll"))
}

/// `POST /v3/tokens?action=logoutAll`: ends the session, and says where a browser ends that at the login
/// provider, if the settings of the provider want it.
pub(super) async fn log_out_all(app: &App, who: &Identity) -> Result<Response<Body>, ApiError> {
    let elsewhere = logins::end_elsewhere(app, &who.provider).await;
    crate::tokens::revoke(app, who.token.as_str()).await?;
    let shown = serde_json::json!({
        "type": "authConfigLogoutOutput",
        "idpRedirectUrl": elsewhere.map(String::from).unwrap_or_default(),
    });
    Ok(with_ended_cookies(json(StatusCode::OK, &shown)))
}

/// Answers a logout. A browser forgets its session.
pub(super) fn logged_out() -> Response<Body> {
    with_ended_cookies(Response::new(empty()))
}

fn with_ended_cookies(mut response: Response<Body>) -> Response<Body> {
    for cookie in session::end() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
