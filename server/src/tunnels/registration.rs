//! Which agents are taken: the key that is bound to a cluster, or a registration token once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{BoundAgent, Cluster, ClusterId, Kind as _};
use tracing::{error, info};
use tunnel::accept::{AcceptError, Accepted, Admission};
use tunnel::session::Session;
use tunnel_proto::hello::{AgentKind, Hello, Rejection, RejectionCode};

use crate::objects::{ObjectError, random_bits, revision_of};
use crate::registration::{self as tokens, RegistrationError};
use crate::state::App;

/// Decides over an agent that has proven its key.
pub(super) async fn admit(app: &Arc<App>, hello: &Hello) -> Result<Admission, Rejection> {
    let AgentKind::Cluster { cluster_uid, .. } = &hello.agent else {
        let message = "this server does not take node agents yet";
        return Err(Rejection::new(RejectionCode::UnsupportedVersion, message));
    };
    let key = BASE64.encode(&hello.public_key.0);
    let cluster = match app.directory.cluster_of_agent(&key) {
        Some(cluster) => cluster,
        None => register(app, hello, &key).await?,
    };
    check_uid(&cluster, cluster_uid.as_deref())?;
    Ok(Admission {
        bound_to: cluster.name().to_owned(),
        session: format!("s-{:016x}", random_bits()),
    })
}

/// The server is stopping; another replica, or the next process, will take the agent.
pub(super) fn leaving() -> Rejection {
    let mut rejection = Rejection::new(RejectionCode::Draining, "this server is stopping");
    rejection.retry_after_ms = Some(500);
    rejection
}

/// The cluster that an accepted agent is bound to.
pub(super) fn bound_cluster(accepted: &Accepted) -> Result<ClusterId, AcceptError> {
    accepted.bound_to.parse().map_err(|_| {
        let message = "the cluster has no valid id";
        AcceptError::Rejected(Rejection::new(RejectionCode::Internal, message))
    })
}

/// Binds a new key with a registration token: the key is written and the token spent, or neither.
async fn register(app: &Arc<App>, hello: &Hello, key: &str) -> Result<Arc<Cluster>, Rejection> {
    let Some(token) = &hello.registration_token else {
        let message = "this agent's key is not bound to a cluster, and it presented no registration \
                       token; apply the cluster's import manifest again";
        return Err(Rejection::new(RejectionCode::UnknownKey, message));
    };
    let bound = loop {
        let (id, used) = tokens::redeem(app, token)
            .await
            .map_err(|error| bad_token(&error))?;
        let stored: Cluster = app
            .objects
            .get("", id.as_str())
            .await
            .map_err(|error| failed(&error))?;
        if !takes(&stored, key) {
            return Err(bound_to_another(&stored));
        }
        let cluster = bind(stored.clone(), key, app.clock.now());
        match app.objects.update_with(cluster, &stored, used).await {
            // Another agent was faster, or somebody changed the cluster: decided again.
            Err(ObjectError::Conflict(_)) => {}
            written => break written.map_err(|error| failed(&error))?,
        }
    };
    info!(cluster = bound.name(), "bound an agent's key");
    let revision = revision_of(&bound).map_err(|error| internal(&error))?;
    app.directory.wait_for(revision).await;
    Ok(Arc::new(bound))
}

/// Whether a key may be bound: no other one is, or an administrator allows it.
fn takes(cluster: &Cluster, key: &str) -> bool {
    let other = cluster.agent().is_some_and(|agent| agent.public_key != key);
    !other || cluster.spec.allow_agent_rebind
}

fn bound_to_another(cluster: &Cluster) -> Rejection {
    let message = format!(
        "cluster {} is bound to another agent's key; if that key is lost, allow the next agent to \
         register: lariat cluster rebind {}",
        cluster.display_name(),
        cluster.name(),
    );
    Rejection::new(RejectionCode::KeyMismatch, message)
}

/// The cluster with this key, and nothing known of an agent before.
fn bind(mut cluster: Cluster, key: &str, now: Timestamp) -> Cluster {
    cluster.spec.allow_agent_rebind = false;
    let status = cluster.status.get_or_insert_default();
    status.driver = "imported".into();
    status.info = None;
    status.agent = Some(BoundAgent {
        public_key: key.to_owned(),
        bound_at: Some(Time(now)),
        instance: String::new(),
        version: String::new(),
        connected_at: None,
        disconnected_at: None,
    });
    cluster
}

fn failed(error: &ObjectError) -> Rejection {
    match error {
        ObjectError::NotFound(_) => {
            Rejection::new(RejectionCode::Revoked, "the cluster was deleted")
        }
        other => internal(other),
    }
}

fn bad_token(error: &RegistrationError) -> Rejection {
    match error {
        RegistrationError::Objects(error) => internal(error),
        told => Rejection::new(RejectionCode::BadToken, told.to_string()),
    }
}

/// A key that turns up in another cluster was copied: both would be mistaken for each other.
fn check_uid(cluster: &Cluster, uid: Option<&str>) -> Result<(), Rejection> {
    let known = cluster
        .status
        .as_ref()
        .and_then(|status| status.info.as_ref());
    let known = known
        .map(|info| info.uid.as_str())
        .filter(|uid| !uid.is_empty());
    let (Some(known), Some(uid)) = (known, uid) else {
        return Ok(());
    };
    if known == uid {
        return Ok(());
    }
    let message = format!(
        "the agent's key belongs to cluster {}, but it runs in another one (its kube-system \
         namespace has the uid {uid}, not {known}); if the cluster was rebuilt, delete the Secret \
         cattle-credentials there and run: lariat cluster rebind {}",
        cluster.display_name(),
        cluster.name(),
    );
    Err(Rejection::new(RejectionCode::KeyMismatch, message))
}

/// Waits until a session's cluster is deleted or bound to another key.
pub(super) async fn revoked(app: &Arc<App>, cluster: &ClusterId, session: &Session) {
    let bound = |cluster: &ClusterId| {
        let cluster = app.directory.cluster(cluster)?;
        Some(cluster.agent()?.public_key.clone())
    };
    let at_first = bound(cluster);
    let mut changes = app.directory.changes();
    while at_first.is_some() && bound(cluster) == at_first {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return std::future::pending().await },
            () = session.over().cancelled() => return std::future::pending().await,
        }
    }
}

fn internal(cause: &ObjectError) -> Rejection {
    error!(error = %cause, "cannot decide over an agent");
    let mut rejection = Rejection::new(
        RejectionCode::Internal,
        "the server failed; its log says why",
    );
    rejection.retry_after_ms = Some(5_000);
    rejection
}
