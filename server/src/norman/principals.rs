//! People and groups of login providers, for who picks one.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use lariat_api::{AuthConfigType, Principal, PrincipalType};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer;
use crate::authn::Identity;
use crate::authz;
use crate::edge::Body;
use crate::state::App;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    /// How their names begin.
    #[serde(default)]
    name: String,
    /// `user`, `group`, or nothing for both.
    #[serde(default)]
    principal_type: String,
}

/// `POST /v3/principals?action=search`. A provider that does not answer is left out; the others are asked at
/// the same time.
pub(super) async fn search(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: &Identity,
) -> Result<Response<Body>, ApiError> {
    authz::own_tokens(who)?;
    let body = collect(request.into_body(), app.config.limits.body).await?;
    let search: Search = answer::parse(&body)?;
    let kind = match search.principal_type.as_str() {
        "" => None,
        "user" => Some(PrincipalType::User),
        "group" => Some(PrincipalType::Group),
        _ => return Err(answer::invalid("principalType: must be user or group")),
    };
    let (text, enabled) = (search.name.trim(), app.providers.enabled());
    let asked = enabled.into_iter().map(async |type_| {
        let provider = app.providers.get(type_).await.ok()?;
        let found = provider.search(text, kind).await;
        let told = |error: &_| tracing::warn!(%error, provider = type_.name(), "cannot search");
        found.inspect_err(told).ok()
    });
    let found = join_all(asked).await.into_iter().flatten().flatten();
    let data: Vec<_> = found.map(|found| shown(app, who, &found)).collect();
    Ok(collection(app, &data))
}

/// `GET /v3/principals`: the one who asks.
pub(super) async fn own(app: &Arc<App>, who: &Identity) -> Result<Response<Body>, ApiError> {
    let found = find(app, &who.principal).await?;
    let data: Vec<_> = (found.iter()).map(|found| shown(app, who, found)).collect();
    Ok(collection(app, &data))
}

/// `GET /v3/principals/ID`, with the id percent-encoded.
pub(super) async fn get(
    app: &Arc<App>,
    who: &Identity,
    segment: &str,
) -> Result<Response<Body>, ApiError> {
    authz::own_tokens(who)?;
    let id = percent_decode_str(segment).decode_utf8();
    let id = id.map_err(|_| ApiError::bad_request("the id is not UTF-8"))?;
    match find(app, &id).await? {
        Some(found) => Ok(crate::edge::json(StatusCode::OK, &shown(app, who, &found))),
        None => {
            let message = format!("no login provider knows {id:?}");
            Err(ApiError::new(StatusCode::NOT_FOUND, "NotFound", message))
        }
    }
}

async fn find(app: &App, id: &str) -> Result<Option<Principal>, ApiError> {
    let Some(type_) = provider_of(id) else {
        return Ok(None);
    };
    let provider = app.providers.get(type_).await?;
    Ok(provider.principal(id).await?)
}

/// The provider of a principal: `openldap_user://…`, `local://…`.
fn provider_of(id: &str) -> Option<AuthConfigType> {
    let (scheme, _) = id.split_once("://")?;
    let name = scheme.split_once('_').map_or(scheme, |(name, _)| name);
    AuthConfigType::of_name(name)
}

fn collection(app: &App, data: &[Value]) -> Response<Body> {
    let list = json!({
        "type": "collection",
        "resourceType": "principal",
        "links": {"self": url(app, "")},
        "actions": {"search": url(app, "?action=search")},
        "data": data,
    });
    crate::edge::json(StatusCode::OK, &list)
}

fn shown(app: &App, who: &Identity, found: &Principal) -> Value {
    let encoded = utf8_percent_encode(&found.id, NON_ALPHANUMERIC);
    let is_group = found.principal_type == PrincipalType::Group;
    json!({
        "id": found.id,
        "type": "principal",
        "baseType": "principal",
        "links": {"self": url(app, &format!("/{encoded}"))},
        "name": found.display_name,
        "loginName": found.login_name,
        "principalType": found.principal_type,
        "provider": found.provider,
        "me": found.id == who.principal,
        "memberOf": is_group && who.provider_groups.contains(&found.id),
    })
}

fn url(app: &App, rest: &str) -> String {
    let server = app.config.server_url.as_str().trim_end_matches('/');
    format!("{server}/v3/principals{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_its_provider() {
        let name = |id| provider_of(id).map(AuthConfigType::name);
        assert_eq!(name("local://u-1"), Some("local"));
        assert_eq!(name("openldap_group://cn=a_b,dc=x"), Some("openldap"));
        assert_eq!(name("activedirectory_user://CN=a"), Some("activedirectory"));
        assert_eq!(name("saml_user://a"), None);
        assert_eq!(name("cn=a_b"), None);
    }
}
