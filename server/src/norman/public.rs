//! What is answered to who has not logged in yet.

use apiserver::error::ApiError;
use http::{Method, Request, Response, StatusCode};
use lariat_api::AuthConfigType;
use serde_json::{Value, json};

use super::links::Links;
use super::{action, answer, nothing_here, providers};
use crate::edge::Body;

/// What is sent to log in with a password, and with what a provider elsewhere sent the browser back with.
const BASIC_LOGIN: &str = "basicLogin";
const CODE_LOGIN: &str = "codeLogin";

/// Answers requests under `/v3-public` that are about no provider.
///
/// # Errors
/// 404 for what is not there.
pub(super) fn handle<B>(
    request: &Request<B>,
    segments: &[&str],
    links: &Links,
) -> Result<Response<Body>, ApiError> {
    let action = answer::action(request.uri().query());
    let lower: Vec<_> = segments
        .iter()
        .map(|segment| segment.to_lowercase())
        .collect();
    let lower: Vec<_> = lower.iter().map(String::as_str).collect();
    match (lower.as_slice(), action.as_deref(), request.method()) {
        ([], None, &Method::GET) => Ok(shown(&root(links))),
        (["schemas" | "schema"], None, &Method::GET) => Ok(shown(&schemas(links))),
        (["localproviders" | "localprovider"], None, &Method::GET) => {
            let all = json!({
                "type": "collection",
                "resourceType": "localProvider",
                "links": {"self": links.public("localproviders")},
                "actions": {},
                "data": [local(links)],
            });
            Ok(shown(&all))
        }
        _ => Err(nothing_here()),
    }
}

fn shown(value: &Value) -> Response<Body> {
    crate::edge::json(StatusCode::OK, value)
}

fn root(links: &Links) -> Value {
    json!({
        "id": "v3-public",
        "type": "apiRoot",
        "baseType": "apiRoot",
        "apiVersion": {"group": "management.cattle.io", "version": "v3public", "path": "/v3-public"},
        "links": {
            "self": links.public(""),
            "schemas": links.public("schemas"),
            "authProviders": links.public("authproviders"),
            "localProviders": links.public("localproviders"),
        },
        "actions": {},
    })
}

/// Accounts of the server itself, by which one can log in.
fn local(links: &Links) -> Value {
    let itself = links.public("localproviders/local");
    json!({
        "id": "local",
        "type": "localProvider",
        "baseType": "authProvider",
        "links": {"self": itself},
        "actions": {"login": format!("{itself}?action=login")},
    })
}

fn schemas(links: &Links) -> Value {
    let schema = |id: &str, fields: &[(&str, &str)]| {
        let fields = action::fields(fields);
        let fields: serde_json::Map<_, _> = fields
            .iter()
            .map(|(name, field)| (name.clone(), field.shown()))
            .collect();
        json!({
            "id": id,
            "type": "schema",
            "baseType": "schema",
            "pluralName": format!("{id}s"),
            "version": {"group": "management.cattle.io", "version": "v3public", "path": "/v3-public"},
            "resourceMethods": [],
            "collectionMethods": [],
            "resourceFields": fields,
            "resourceActions": {},
            "collectionActions": {},
            "collectionFilters": {},
            "links": {"self": links.public(&format!("schemas/{id}"))},
            "actions": {},
        })
    };
    let session = [
        ("description", "string"),
        ("responseType", "string"),
        ("ttl", "int"),
    ];
    let password = [("username", "string"), ("password", "password")];
    let code = [("code", "password"), ("state", "string")];
    let mut all = vec![
        schema(BASIC_LOGIN, &[&password[..], &session].concat()),
        schema(CODE_LOGIN, &[&code[..], &session].concat()),
    ];
    let mut any = schema("authProvider", &[("redirectUrl", "string")]);
    any["collectionMethods"] = json!(["GET"]);
    any["links"]["collection"] = json!(links.public("authproviders"));
    all.push(any);
    for type_ in AuthConfigType::ALL {
        let (fields, input) = match type_.redirects() {
            true => (&[("redirectUrl", "string")][..], CODE_LOGIN),
            false => (&[][..], BASIC_LOGIN),
        };
        let mut provider = schema(&providers::type_of(type_), fields);
        provider["resourceMethods"] = json!(["GET"]);
        provider["resourceActions"] = json!({"login": {"input": input, "output": "token"}});
        if type_ == AuthConfigType::Local {
            provider["collectionMethods"] = json!(["GET"]);
            provider["links"]["collection"] = json!(links.public("localproviders"));
        }
        all.push(provider);
    }
    json!({
        "type": "collection",
        "resourceType": "schema",
        "links": {"self": links.public_schemas()},
        "actions": {},
        "data": all,
    })
}
