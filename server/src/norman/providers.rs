//! The login providers, for people who have not logged in yet.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Response, StatusCode};
use lariat_api::AuthConfigType;
use serde_json::{Value, json};

use crate::edge::Body;
use crate::state::App;

/// The provider in a path: `openLdapProviders/openldap`.
pub(super) fn at(plural: &str, name: &str) -> Option<AuthConfigType> {
    let type_ = AuthConfigType::of_name(name)?;
    let meant = format!("{}Providers", type_.stem());
    plural.eq_ignore_ascii_case(&meant).then_some(type_)
}

/// The provider of a type of this face, `openLdapProvider`.
pub(super) fn of_type(name: &str) -> Option<AuthConfigType> {
    let mut all = AuthConfigType::ALL.into_iter();
    all.find(|type_| type_of(*type_) == name)
}

/// The type of a provider in this face, `openLdapProvider`.
pub(super) fn type_of(type_: AuthConfigType) -> String {
    format!("{}Provider", type_.stem())
}

/// `GET /v3-public/authProviders`: those that are enabled. Nothing of their settings is shown.
pub(super) fn list(app: &Arc<App>) -> Response<Body> {
    let enabled = app.providers.enabled();
    let data: Vec<_> = enabled.into_iter().map(|type_| shown(app, type_)).collect();
    let list = json!({
        "type": "collection",
        "resourceType": "authProvider",
        "links": {"self": url(app, "authProviders")},
        "data": data,
    });
    crate::edge::json(StatusCode::OK, &list)
}

/// `GET /v3-public/openLdapProviders/openldap` and its like.
pub(super) fn get(app: &Arc<App>, type_: AuthConfigType) -> Result<Response<Body>, ApiError> {
    if !app.providers.enabled().contains(&type_) {
        let message = format!("login provider {:?} is not enabled", type_.name());
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NotFound", message));
    }
    Ok(crate::edge::json(StatusCode::OK, &shown(app, type_)))
}

fn shown(app: &App, type_: AuthConfigType) -> Value {
    let name = type_.name();
    let itself = url(app, &format!("{}Providers/{name}", type_.stem()));
    let mut shown = json!({
        "id": name,
        "name": name,
        "type": type_of(type_),
        "baseType": "authProvider",
        "links": {"self": itself},
        "actions": {"login": format!("{itself}?action=login")},
    });
    if type_.redirects() {
        shown["redirectUrl"] = json!(server(app) + "/login/with/" + name);
    }
    shown
}

fn url(app: &App, below: &str) -> String {
    format!("{}/v3-public/{below}", server(app))
}

fn server(app: &App) -> String {
    let server = app.config.server_url.as_str();
    server.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_at_the_paths_that_clients_know() {
        let at = |plural, name| at(plural, name).map(AuthConfigType::as_str);
        assert_eq!(at("localProviders", "local"), Some("localConfig"));
        assert_eq!(at("openLdapProviders", "openldap"), Some("openLdapConfig"));
        let active = at("activeDirectoryProviders", "activedirectory");
        assert_eq!(active, Some("activeDirectoryConfig"));
        assert_eq!(at("localproviders", "local"), Some("localConfig"));
        for (plural, name) in [
            ("openLdapProviders", "local"),
            ("openLdapConfigs", "openldap"),
            ("Providers", "openldap"),
            ("openldapProvider", "openldap"),
        ] {
            assert_eq!(at(plural, name), None, "{plural}/{name}");
        }
        assert_eq!(of_type("localProvider"), Some(AuthConfigType::Local));
        assert_eq!(of_type(""), None);
    }
}
