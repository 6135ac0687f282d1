//! What providers let the server ask later in the name of users: kept as Secrets, which are sealed in the
//! store and go with the user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apiserver::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lariat_api::{AuthConfigType, GROUP, Kind, User, VERSION};
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::authn::provider::Grant;
use crate::management::{answered, failure};
use crate::state::App;

const NAMESPACE: &str = "cattle-global-data";

/// Whose turn it is to use what providers have granted: one after the other for each provider, because a
/// refresh token may be good once.
#[derive(Debug, Default)]
pub struct Granting(Mutex<HashMap<AuthConfigType, Arc<AsyncMutex<()>>>>);

impl Granting {
    /// Waits for the turn, which lasts until the answer is dropped. Providers that grant nothing do not
    /// wait. Cancellation-safe.
    pub(crate) async fn lock(&self, type_: AuthConfigType) -> Option<OwnedMutexGuard<()>> {
        if !type_.redirects() {
            return None;
        }
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(type_).or_default())
        };
        Some(turn.lock_owned().await)
    }
}

/// Keeps what a provider has granted, in place of what it granted before.
///
/// # Errors
/// When the store fails.
pub(crate) async fn keep(
    app: &App,
    user: &User,
    type_: AuthConfigType,
    grant: &Grant,
) -> Result<(), ApiError> {
    let name = name_of(user.name());
    let data = json!({type_.name(): STANDARD.encode(grant.token())});
    let patch = Patch::Merge(json!({"data": data}));
    let params = PatchParams::default();
    let secrets = secrets(app);
    let written = secrets.patch(&name, &params, &patch).await;
    if !answered(&written, StatusCode::NOT_FOUND) {
        return written.map(drop).map_err(failure);
    }
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.clone());
    secret.metadata.owner_references = Some(vec![owned_by(user)]);
    let token = ByteString(grant.token().as_bytes().to_vec());
    secret.data = Some([(type_.name().to_owned(), token)].into());
    let made = secrets.create(&PostParams::default(), &secret).await;
    if !answered(&made, StatusCode::CONFLICT) {
        return made.map(drop).map_err(failure);
    }
    let written = secrets.patch(&name, &params, &patch).await;
    written.map(drop).map_err(failure)
}

/// What a provider has granted for a user.
///
/// # Errors
/// When the store fails.
pub(crate) async fn of(
    app: &App,
    user: &str,
    type_: AuthConfigType,
) -> Result<Option<Grant>, ApiError> {
    let kept = secrets(app)
        .get_opt(&name_of(user))
        .await
        .map_err(failure)?;
    let token = kept.and_then(|secret| secret.data?.remove(type_.name()));
    let text = token.and_then(|token| String::from_utf8(token.0).ok());
    Ok(text.map(Grant::new))
}

fn secrets(app: &App) -> Api<Secret> {
    Api::namespaced(app.own.clone(), NAMESPACE)
}

fn name_of(user: &str) -> String {
    format!("{user}-secret")
}

fn owned_by(user: &User) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: User::KIND.to_owned(),
        name: user.name().to_owned(),
        uid: user.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }
}
