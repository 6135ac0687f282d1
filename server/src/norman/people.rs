//! What is asked of people: logins and their providers, who is known to those, and that they are asked again.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use super::{
    answer, auth_configs, device_logins, login, nothing_here, principals, providers, users,
};
use crate::edge::{Body, RequestContext, authenticate, password_is_settled};
use crate::state::App;

const REFRESH: &str = "refreshauthprovideraccess";

/// Whether a request is answered here.
pub(super) fn is_meant(request: &Request<Incoming>, segments: &[&str], public: bool) -> bool {
    let action = answer::action(request.uri().query());
    let action = action.as_deref();
    if public {
        return match segments {
            ["v1-public", ..] | ["deviceLogins"] => true,
            [list] => list.eq_ignore_ascii_case("authProviders"),
            [plural, name] => providers::at(plural, name).is_some(),
            _ => false,
        };
    }
    match segments {
        ["principals", ..] | ["deviceLogins", _] => true,
        ["users" | "user", ..] => action == Some(REFRESH),
        [plural, name] => {
            let here = action.is_some() || request.method() == Method::GET;
            (here || !auth_configs::is_of_any(plural)) && auth_configs::at(plural, name).is_some()
        }
        _ => false,
    }
}

/// Answers a request of people.
///
/// # Errors
/// 404 for what is not there, and whatever keeps the one who asks from it.
pub(super) async fn answer(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    segments: &[&str],
    public: bool,
) -> Result<Response<Body>, ApiError> {
    let action = answer::action(request.uri().query());
    let asked = (action.as_deref(), request.method().clone());
    if public {
        let provider = match segments {
            [plural, name] => providers::at(plural, name),
            _ => None,
        };
        return match (segments, provider, (asked.0, &asked.1)) {
            (["deviceLogins"], None, (None, &Method::POST)) => {
                device_logins::begin(app, request, context).await
            }
            (["deviceLogins"], None, (Some("redeem"), &Method::POST)) => {
                device_logins::redeem(app, request, context).await
            }
            (["v1-public", "login"], None, (None, &Method::POST)) => {
                login::login(app, request, context, None).await
            }
            ([_] | ["v1-public", "authproviders"], None, (None, &Method::GET)) => {
                Ok(providers::list(app))
            }
            (_, Some(_), (Some("login"), &Method::POST)) => {
                login::login(app, request, context, provider).await
            }
            (_, Some(provider), (None, &Method::GET)) => providers::get(app, provider),
            _ => Err(nothing_here()),
        };
    }
    let who = authenticate(app, &request, context)?;
    password_is_settled(&who)?;
    match (segments, asked.0, &asked.1) {
        ([_, id], Some(REFRESH), &Method::POST) => users::refresh(app, &who, id).await,
        ([_], Some(REFRESH), &Method::POST) => users::refresh_all(app, &who).await,
        (["principals"], Some("search"), &Method::POST) => {
            principals::search(app, request, &who).await
        }
        (["principals"], None, &Method::GET) => principals::own(app, &who).await,
        (["deviceLogins", code], None, &Method::GET) => device_logins::show(app, &who, code),
        (["deviceLogins", code], Some(decision @ ("approve" | "deny")), &Method::POST) => {
            device_logins::decide(app, &who, code, decision == "approve")
        }
        (["principals", id], None, &Method::GET) => principals::get(app, &who, id).await,
        ([plural, name], action, method) => {
            let type_ = auth_configs::at(plural, name).ok_or_else(nothing_here)?;
            match (action, method) {
                (None, &Method::GET) => auth_configs::get(app, &who, type_).await,
                (Some("testAndApply"), &Method::POST) => {
                    auth_configs::test_and_apply(app, request, context, &who, type_).await
                }
                (Some("configureTest"), &Method::POST) => {
                    auth_configs::configure_test(app, request, &who, type_).await
                }
                (Some("disable"), &Method::POST) => auth_configs::disable(app, &who, type_).await,
                _ => Err(nothing_here()),
            }
        }
        _ => Err(nothing_here()),
    }
}
