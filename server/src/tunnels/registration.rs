//! Which agents are taken: the key that is bound to a cluster, or a registration token once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{BoundAgent, Cluster, ClusterId, ClusterRegistrationToken, Kind as _};
use tracing::{error, info};
use tunnel::accept::{AcceptError, Accepted, Admission};
use tunnel::session::Session;
use tunnel_proto::hello::{AgentKind, Hello, Rejection, RejectionCode};

use crate::objects::{ObjectError, random_bits, revision_of};
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

/// Binds a new key with a registration token.
async fn register(app: &Arc<App>, hello: &Hello, key: &str) -> Result<Arc<Cluster>, Rejection> {
    let reject = |code, message: String| Err(Rejection::new(code, message));
    let Some(token) = &hello.registration_token else {
        let message = "this agent's key is not bound to a cluster, and it presented no registration \
                       token; apply the cluster's import manifest again";
        return reject(RejectionCode::UnknownKey, message.into());
    };
    let Some((namespace, name)) = app.directory.registration(token) else {
        let message =
            "the registration token is not known; create one (lariat cluster import NAME)";
        return reject(RejectionCode::BadToken, message.into());
    };
    let stored: Cluster = app
        .objects
        .get("", &namespace)
        .await
        .map_err(|error| match error {
            ObjectError::NotFound(_) => {
                Rejection::new(RejectionCode::Revoked, "the cluster was deleted")
            }
            other => internal(&other),
        })?;
    let bound = stored.agent().map(|agent| agent.public_key.as_str());
    if bound.is_some_and(|bound| bound != key) && !stored.spec.allow_agent_rebind {
        let message = format!(
            "cluster {} is bound to another agent's key; if that key is lost, allow the next agent \
             to register: lariat cluster rebind {}",
            stored.display_name(),
            stored.name(),
        );
        return reject(RejectionCode::KeyMismatch, message);
    }
    spend(app, &namespace, &name).await?;
    let bound = bind(app, &stored, key).await?;
    info!(cluster = bound.name(), token = name, "bound an agent's key");
    let revision = revision_of(&bound).map_err(|error| internal(&error))?;
    app.directory.wait_for(revision).await;
    Ok(Arc::new(bound))
}

/// Counts one use of a registration token; refuses when it is expired or used up.
async fn spend(app: &Arc<App>, namespace: &str, name: &str) -> Result<(), Rejection> {
    let now = app.clock.now();
    let mut refused = None;
    let spent = app
        .objects
        .modify(namespace, name, |token: &mut ClusterRegistrationToken| {
            let most = token.spec.max_uses();
            let status = token.status.get_or_insert_default();
            refused = if status.expires_at.as_ref().is_some_and(|end| end.0 <= now) {
                Some("the registration token has expired".to_owned())
            } else if status.uses >= most {
                Some(format!(
                    "the registration token was used {most} time(s), as often as it may be"
                ))
            } else {
                status.uses += 1;
                None
            };
            refused.is_none()
        });
    let result = spent.await.map_err(|error| internal(&error));
    if let Some(why) = refused {
        let message = format!("{why}; create a new one (lariat cluster import NAME)");
        return Err(Rejection::new(RejectionCode::BadToken, message));
    }
    result.map(|_| ())
}

/// Writes the key to the cluster as it was read, so that of two agents only one is bound.
async fn bind(app: &Arc<App>, stored: &Cluster, key: &str) -> Result<Cluster, Rejection> {
    let mut cluster = stored.clone();
    cluster.spec.allow_agent_rebind = false;
    let status = cluster.status.get_or_insert_default();
    status.driver = "imported".into();
    status.info = None;
    status.agent = Some(BoundAgent {
        public_key: key.to_owned(),
        bound_at: Some(Time(app.clock.now())),
        instance: String::new(),
        version: String::new(),
        connected_at: None,
        disconnected_at: None,
    });
    app.objects
        .update(cluster, stored)
        .await
        .map_err(|error| match error {
            ObjectError::Conflict(_) | ObjectError::NotFound(_) => {
                let mut busy = Rejection::new(RejectionCode::Busy, "the cluster is being changed");
                busy.retry_after_ms = Some(1_000);
                busy
            }
            other => internal(&other),
        })
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
