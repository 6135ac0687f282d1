//! Which agents are taken: the key that is bound to a cluster, or a registration token once.

use std::sync::Arc;

use apiserver::serve::Beside;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use kube::api::{Api, PostParams};
use kube::core::Request;
use lariat_api::{BoundAgent, Cluster, ClusterId, Kind as _};
use store::Txn;
use tracing::{error, info};
use tunnel::accept::{AcceptError, Accepted, Admission};
use tunnel::session::Session;
use tunnel_proto::hello::{AgentKind, Hello, Rejection, RejectionCode};

use crate::management::answered;
use crate::random;
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
    let asked = hello.resume.as_ref();
    Ok(Admission {
        bound_to: cluster.name().to_owned(),
        session: format!("s-{:016x}", random::bits()),
        resume: asked.and_then(|asked| app.tunnels.session(cluster.name(), &asked.session)),
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
    let clusters: Api<Cluster> = Api::all(app.own.clone());
    let bound = loop {
        let (id, used) = tokens::redeem(app, token)
            .await
            .map_err(|error| bad_token(&error))?;
        let stored = clusters.get(id.as_str()).await.map_err(failed)?;
        if !takes(&stored, key) {
            return Err(bound_to_another(&stored));
        }
        let cluster = bind(stored, key, app.clock.now());
        let written = replace_status(app, &cluster, used).await;
        // Another agent was faster, or somebody changed the cluster: decided again.
        if !answered(&written, StatusCode::CONFLICT) {
            break written.map_err(failed)?;
        }
    };
    info!(cluster = bound.name(), "bound an agent's key");
    Ok(Arc::new(bound))
}

/// Writes the status of a cluster, together with another transaction.
async fn replace_status(app: &App, cluster: &Cluster, beside: Txn) -> kube::Result<Cluster> {
    let all = Request::new(Cluster::url_path(&(), None));
    let sent = serde_json::to_vec(cluster).map_err(kube::Error::SerdeError)?;
    let request = all.replace_subresource("status", cluster.name(), &PostParams::default(), sent);
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    request.extensions_mut().insert(Beside(beside));
    app.own.request(request).await
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

fn failed(error: kube::Error) -> Rejection {
    match error {
        kube::Error::Api(status) if status.code == StatusCode::NOT_FOUND => {
            Rejection::new(RejectionCode::Revoked, "the cluster was deleted")
        }
        other => internal(&other),
    }
}

fn bad_token(error: &RegistrationError) -> Rejection {
    match error {
        RegistrationError::Store(_) | RegistrationError::Damaged(_) => internal(error),
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
    // Of this cluster alone: with thousands of sessions none must wake for what concerns another one.
    let id = cluster.as_str();
    let mut changes = app.directory.access(|access| access.changes_in(id));
    let at_first = bound(cluster);
    while at_first.is_some() && bound(cluster) == at_first {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return std::future::pending().await },
            () = session.over().cancelled() => return std::future::pending().await,
        }
    }
}

fn internal(cause: &dyn std::error::Error) -> Rejection {
    error!(error = %cause, "cannot decide over an agent");
    let mut rejection = Rejection::new(
        RejectionCode::Internal,
        "the server failed; its log says why",
    );
    rejection.retry_after_ms = Some(5_000);
    rejection
}
