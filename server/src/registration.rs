//! Registration tokens: issued, shown once, good for a time and a number of agents.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{ClusterId, ClusterRegistrationToken, ClusterRegistrationTokenStatus, Kind};
use store::{Entry, Txn};

use crate::authn::{SecretHash, new_secret};
use crate::management::Context;
use crate::state::App;
use crate::stored::{Damaged, decode, encode, prefix};

/// A registration token is not good. Its text is for the one who sets up the agent.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No such token, or its cluster was deleted.
    #[error("the registration token is not known; create one: lariat cluster import NAME")]
    Unknown,
    /// The token is too old.
    #[error("the registration token expired at {0}; create one: lariat cluster import NAME")]
    Expired(Timestamp),
    /// The token was used as often as it may be.
    #[error("the registration token is used up; create one: lariat cluster import NAME")]
    UsedUp,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is in the store does not parse.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// The cluster of a registration token that is good for another registration now.
///
/// # Errors
/// When it is not good.
pub async fn inspect(app: &App, token: &str) -> Result<ClusterId, RegistrationError> {
    let (token, _) = find(app, token).await?;
    cluster_of(&token)
}

/// The same, with the transaction that counts one use of the token. Of two agents that use the
/// last one, only one's transaction is applied.
///
/// # Errors
/// When it is not good.
pub async fn redeem(app: &App, token: &str) -> Result<(ClusterId, Txn), RegistrationError> {
    let (mut token, entry) = find(app, token).await?;
    token.status.get_or_insert_default().uses += 1;
    let used = encode(&token, &entry)?;
    let spent = Txn::put_if(entry.key.clone(), entry.modified, used);
    Ok((cluster_of(&token)?, spent))
}

async fn find(
    app: &App,
    token: &str,
) -> Result<(ClusterRegistrationToken, Entry), RegistrationError> {
    let place = app.directory.registration(token);
    let (namespace, name) = place.ok_or(RegistrationError::Unknown)?;
    let key = format!("{}{namespace}/{name}", prefix::<ClusterRegistrationToken>());
    let entry = app.store.get(key.as_bytes()).await?;
    let entry = entry.ok_or(RegistrationError::Unknown)?;
    let found: ClusterRegistrationToken = decode(&entry)?;
    // The tokens of a deleted cluster are deleted a little later.
    if app.directory.cluster(&cluster_of(&found)?).is_none() {
        return Err(RegistrationError::Unknown);
    }
    let status = found.status.as_ref().ok_or(RegistrationError::Unknown)?;
    let end = status
        .expires_at
        .as_ref()
        .ok_or(RegistrationError::Unknown)?
        .0;
    if end <= app.clock.now() {
        return Err(RegistrationError::Expired(end));
    }
    if status.uses >= found.spec.max_uses() {
        return Err(RegistrationError::UsedUp);
    }
    Ok((found, entry))
}

/// A cluster's tokens are in the namespace of its name.
fn cluster_of(token: &ClusterRegistrationToken) -> Result<ClusterId, RegistrationError> {
    let namespace = token.namespace();
    namespace.parse().map_err(|_| RegistrationError::Unknown)
}

/// Gives a new ClusterRegistrationToken its token: the hash and the expiry that are kept. Returns
/// the token, which is not.
pub(crate) fn issue(token: &mut ClusterRegistrationToken, now: Timestamp) -> String {
    let secret = new_secret();
    let minutes = i64::from(token.spec.ttl_minutes());
    token.status = Some(ClusterRegistrationTokenStatus {
        token_hash: SecretHash::of(&secret).to_hex(),
        expires_at: Some(Time(now + SignedDuration::from_mins(minutes))),
        ..ClusterRegistrationTokenStatus::default()
    });
    secret
}

/// The status that the answer to a create request shows once: the token and the commands to use
/// it.
pub(crate) fn shown(
    context: &Context,
    token: &ClusterRegistrationToken,
    secret: String,
) -> ClusterRegistrationTokenStatus {
    let server = context.server_url.as_str().trim_end_matches('/');
    let url = format!("{server}/v3/import/{secret}.yaml");
    let mut status = token.status.clone().unwrap_or_default();
    status.command = format!("kubectl apply -f {url}");
    status.insecure_command = match context.certificates.checksum() {
        None => status.command.clone(),
        Some(checksum) => format!(
            "curl -skfL {server}/cacerts -o lariat-ca.crt && \
             echo '{checksum}  lariat-ca.crt' | sha256sum -c && \
             curl -sfL --cacert lariat-ca.crt {url} | kubectl apply -f -"
        ),
    };
    status.manifest_url = url;
    status.token = secret;
    status
}
