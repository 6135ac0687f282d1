//! What the server sees of login providers, as conditions of their AuthConfigs.

use apiserver::error::ApiError;
use http::StatusCode;
use kube::api::{Api, Patch, PatchParams};
use lariat_api::{AuthConfig, ConditionStatus, Kind as _, set_condition};
use serde_json::json;

use crate::authn::provider::LoginError;
use crate::management::{answered, failure};
use crate::state::App;

/// Somebody has logged in with the settings as they are.
const TESTED: &str = "Tested";
/// The provider answers, and takes what the settings say.
const REACHABLE: &str = "Reachable";

/// Somebody has logged in with these settings.
///
/// # Errors
/// When the store fails.
pub(super) async fn tested(app: &App, config: &AuthConfig) -> Result<(), ApiError> {
    if is_tested(config) {
        return Ok(());
    }
    let seen = (TESTED, ConditionStatus::True, "LoggedIn", String::new());
    write(app, config, &[seen]).await
}

/// What came of asking the provider.
///
/// # Errors
/// When the store fails.
pub(super) async fn asked(
    app: &App,
    config: &AuthConfig,
    answer: &Result<(), LoginError>,
) -> Result<(), ApiError> {
    let (status, reason, message) = match answer {
        Ok(()) => (ConditionStatus::True, "Answers", String::new()),
        Err(error) => {
            let reason = match error {
                LoginError::Misconfigured(_) => "Misconfigured",
                _ => "Unavailable",
            };
            (ConditionStatus::False, reason, error.to_string())
        }
    };
    let mut seen = vec![(REACHABLE, status, reason, message)];
    let is_new = config.tested().is_none() || !is_current(config);
    if is_new {
        let message = "nobody has logged in since the settings were changed".to_owned();
        seen.push((TESTED, ConditionStatus::Unknown, "SettingsChanged", message));
    }
    write(app, config, &seen).await
}

fn is_tested(config: &AuthConfig) -> bool {
    let tested = config.tested();
    is_current(config) && tested.is_some_and(|one| one.status == ConditionStatus::True)
}

/// Whether the conditions are about the settings as they are.
fn is_current(config: &AuthConfig) -> bool {
    let status = config.status.as_ref();
    status.is_some_and(|status| status.observed_generation == config.metadata.generation)
}

type Seen = (&'static str, ConditionStatus, &'static str, String);

async fn write(app: &App, config: &AuthConfig, seen: &[Seen]) -> Result<(), ApiError> {
    let mut status = config.status.clone().unwrap_or_default();
    let before = status.clone();
    status.observed_generation = config.metadata.generation;
    for (type_, now, reason, message) in seen {
        let at = app.clock.now();
        set_condition(&mut status.conditions, type_, *now, reason, message, at);
    }
    if status == before {
        return Ok(());
    }
    let configs: Api<AuthConfig> = Api::all(app.own.clone());
    // What was seen is about these settings and no others.
    let change = Patch::Merge(json!({
        "metadata": {"resourceVersion": config.metadata.resource_version},
        "status": status,
    }));
    let params = PatchParams::default();
    let written = configs.patch_status(config.name(), &params, &change).await;
    if answered(&written, StatusCode::CONFLICT) || answered(&written, StatusCode::NOT_FOUND) {
        return Ok(());
    }
    written.map(drop).map_err(failure)
}
