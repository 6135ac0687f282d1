//! The settings of login providers, at the addresses that Rancher's clients know.

use std::sync::Arc;

use apiserver::body::collect;
use apiserver::error::ApiError;
use http::header::SET_COOKIE;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kube::api::Api;
use lariat_api::{AuthConfig, AuthConfigType, Kind as _};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer;
use crate::authn::Identity;
use crate::authn::provider::Credentials;
use crate::edge::json as json_answer;
use crate::edge::{Body, RequestContext};
use crate::logins::{self, Proof, Purpose, Returned};
use crate::management::{self, answered, failure};
use crate::state::App;

/// What is of this face, or of the server alone.
const NOT_SETTINGS: [&str; 14] = [
    "id",
    "name",
    "type",
    "baseType",
    "links",
    "actions",
    "created",
    "createdTS",
    "creatorId",
    "uuid",
    "apiVersion",
    "kind",
    "metadata",
    "status",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    /// The settings to try; without them those that are stored.
    #[serde(
        default,
        alias = "openLdapConfig",
        alias = "activeDirectoryConfig",
        alias = "githubConfig",
        alias = "oidcConfig",
        alias = "keyCloakOIDCConfig",
        rename = "ldapConfig"
    )]
    config: Map<String, Value>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: SecretString,
    /// What a provider sent the browser back with, where browsers are sent.
    #[serde(default)]
    code: SecretString,
    #[serde(default)]
    state: String,
}

/// The provider in a path: `openLdapConfigs/openldap`, or `authConfigs/openldap`.
pub(super) fn at(plural: &str, name: &str) -> Option<AuthConfigType> {
    let type_ = AuthConfigType::of_name(name)?;
    let stem = plural.strip_suffix("Configs");
    (is_of_any(plural) || stem == Some(type_.stem())).then_some(type_)
}

/// Whether a path is about providers of every type: as objects they are read and written as all others are.
pub(super) fn is_of_any(plural: &str) -> bool {
    let mut names = ["authConfigs", "authConfig"].into_iter();
    names.any(|name| plural.eq_ignore_ascii_case(name))
}

/// `GET /v3/openLdapConfigs/openldap`, `GET /v3/authConfigs/openldap` and their like. What was never set up is shown with what is usual.
pub(super) async fn get(
    app: &Arc<App>,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<Response<Body>, ApiError> {
    let config = stored(app, who, type_).await?;
    let config = config.unwrap_or_else(|| {
        let mut config = AuthConfig::new(type_);
        config.fill_in();
        config
    });
    Ok(crate::edge::json(StatusCode::OK, &shown(app, &config)?))
}

/// `POST /v3/openLdapConfigs/openldap?action=testAndApply` and its like: the one who asks logs in at the
/// directory with these settings, and if that succeeds they are saved and enabled.
pub(super) async fn test_and_apply(
    app: &Arc<App>,
    request: Request<Incoming>,
    context: &RequestContext,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<Response<Body>, ApiError> {
    if type_ == AuthConfigType::Local {
        return Err(super::nothing_here());
    }
    let (parts, body) = request.into_parts();
    let body = collect(body, app.config.limits.body).await?;
    let input: Input = answer::parse(&body)?;
    let config = overlaid(type_, stored(app, who, type_).await?, input.config)?;
    context.audit.set_login_provider(type_);
    if !type_.redirects() {
        context.audit.set_login_name(&input.username);
    }
    // A stolen token must not be a way to try passwords.
    let address = context.connection.peer.ip();
    app.login_limits
        .check(address, type_.name(), &input.username)?;
    let proof = if type_.redirects() {
        let returned = Returned {
            code: input.code,
            state: input.state,
        };
        let flow = returned.resume(app, &parts.headers)?;
        if flow.provider != type_.name() || flow.purpose != Purpose::Test {
            return Err(answer::invalid("state: is not of a test of this provider"));
        }
        Proof::Code(flow, returned.code)
    } else {
        Proof::Credentials(Credentials::Password {
            name: input.username,
            password: input.password,
        })
    };
    let saved = logins::test_and_apply(app, who, config, proof).await?;
    Ok(crate::edge::json(StatusCode::OK, &shown(app, &saved)?))
}

/// `POST /v3/githubConfigs/github?action=configureTest` and its like: where to send the browser of the one who
/// asks, to try settings. It comes back with what `testAndApply` wants.
pub(super) async fn configure_test(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<Response<Body>, ApiError> {
    if !type_.redirects() {
        return Err(super::nothing_here());
    }
    let body = collect(request.into_body(), app.config.limits.body).await?;
    // The settings themselves, or under the name that testAndApply knows.
    let said: Map<String, Value> = answer::parse(&body)?;
    let nested = said.get(type_.as_str()).or(said.get("config"));
    let said = nested.and_then(Value::as_object).cloned().unwrap_or(said);
    let config = overlaid(type_, stored(app, who, type_).await?, said)?;
    let begun = logins::configure_test(app, who, &config).await?;
    let shown = json!({
        "type": format!("{}TestOutput", type_.as_str()),
        "redirectUrl": begun.url.as_str(),
    });
    let mut response = json_answer(StatusCode::OK, &shown);
    let cookie = app.flows.cookie(&begun.flow)?;
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /v3/openLdapConfigs/openldap?action=disable` and its like.
pub(super) async fn disable(
    app: &Arc<App>,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<Response<Body>, ApiError> {
    let config = logins::disable(app, who, type_).await?;
    Ok(crate::edge::json(StatusCode::OK, &shown(app, &config)?))
}

/// The settings as they are, if the one who asks may see them.
async fn stored(
    app: &App,
    who: &Identity,
    type_: AuthConfigType,
) -> Result<Option<AuthConfig>, ApiError> {
    let configs: Api<AuthConfig> = Api::all(app.client(&management::user(who)));
    let found = configs.get(type_.name()).await;
    if answered(&found, StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    found.map(Some).map_err(failure)
}

/// Settings with what a client says instead. What is `null` has its default.
fn overlaid(
    type_: AuthConfigType,
    stored: Option<AuthConfig>,
    said: Map<String, Value>,
) -> Result<AuthConfig, ApiError> {
    let base = stored.unwrap_or_else(|| AuthConfig::new(type_));
    let mut config = serde_json::to_value(base).map_err(ApiError::internal)?;
    for (field, value) in said {
        if !NOT_SETTINGS.contains(&field.as_str()) {
            config[field] = value;
        }
    }
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    serde_json::from_value(config).map_err(|error| answer::invalid(error.to_string()))
}

fn shown(app: &App, config: &AuthConfig) -> Result<Value, ApiError> {
    let server = app.config.server_url.as_str().trim_end_matches('/');
    let (type_, name) = (config.type_, config.name());
    let itself = format!("{server}/v3/{}Configs/{name}", type_.stem());
    let mut shown = serde_json::to_value(config).map_err(ApiError::internal)?;
    if let Some(fields) = shown.as_object_mut() {
        for field in ["apiVersion", "kind", "metadata"] {
            fields.remove(field);
        }
    }
    shown["id"] = json!(name);
    shown["name"] = json!(name);
    shown["baseType"] = json!("authConfig");
    shown["enabled"] = json!(config.enabled);
    shown["uuid"] = json!(config.metadata.uid);
    shown["created"] = json!(config.metadata.creation_timestamp);
    shown["links"] = json!({"self": itself});
    let mut actions = json!({});
    if type_.redirects() {
        actions["configureTest"] = json!(format!("{itself}?action=configureTest"));
    }
    if type_ != AuthConfigType::Local {
        actions["testAndApply"] = json!(format!("{itself}?action=testAndApply"));
    }
    if config.enabled && type_ != AuthConfigType::Local {
        actions["disable"] = json!(format!("{itself}?action=disable"));
    }
    shown["actions"] = actions;
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_put_over_what_is_stored() {
        let mut stored = AuthConfig::new(AuthConfigType::OpenLdap);
        stored.metadata.resource_version = Some("7".to_owned());
        stored.directory.servers = vec!["old.example.org".to_owned()];
        stored.directory.user_login_attribute = "mail".to_owned();
        stored.directory.service_account_password = "place".to_owned();
        let said = json!({
            "id": "openldap", "type": "openLdapConfig", "baseType": "authConfig", "uuid": "1",
            "links": {}, "actions": {}, "metadata": {"name": "local"}, "apiVersion": "v9",
            "servers": ["new.example.org"], "userLoginAttribute": null, "unknown": 1,
        });
        let Value::Object(said) = said else {
            panic!("it is one");
        };
        let config = overlaid(AuthConfigType::OpenLdap, Some(stored), said).unwrap();
        assert_eq!(config.name(), "openldap");
        assert_eq!(config.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(config.directory.servers, ["new.example.org"]);
        assert_eq!(config.directory.user_login_attribute, "");
        assert_eq!(config.directory.service_account_password, "place");
        let bad = Map::from_iter([("servers".to_owned(), json!("x"))]);
        let refused = overlaid(AuthConfigType::OpenLdap, None, bad).unwrap_err();
        assert_eq!(refused.code(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
