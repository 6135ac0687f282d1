//! What keeps connected clusters as the management API says. For each cluster with a session one task runs
//! for as long as the session takes requests. It begins by looking at what the cluster has, so that it makes
//! no difference how long a cluster or the server was away, and then follows both sides: nothing is asked
//! again and again.
//!
//! A controller acts in the cluster as [`USER_CONTROLLERS`](lariat_api::USER_CONTROLLERS), over the tunnel
//! and under the agent's policy as anybody else: the cluster decides what it may do there. [`client`] is
//! the way; [`keeper`] keeps roles and bindings, and projects; [`endpoint`] whom the cluster knows while this
//! server is away. Both [`follow`] the two sides, see in a [`mirror`] what is there, make a [`plan`] of what differs, and
//! [`apply`] it.

mod apply;
mod clear;
mod client;
mod endpoint;
mod follow;
mod keeper;
mod metrics;
mod mirror;
mod object;
mod pace;
mod plan;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use lariat_api::ClusterId;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, error, info, warn};
use tunnel::session::Phase;

use crate::state::App;
use crate::tunnels::Tunnel;
use metrics::Counts;

/// What controllers know of clusters beyond a session.
#[derive(Clone, Debug, Default)]
pub struct Controllers {
    kept: Arc<Mutex<HashMap<ClusterId, Arc<Kept>>>>,
    turns: Arc<client::Turns>,
}

/// What controllers know of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Of several sessions of a cluster one is used.
    turn: tokio::sync::Mutex<()>,
    /// Groups of login providers in whose name the agent may ask.
    groups: ArcSwap<BTreeSet<String>>,
    /// The project of each namespace that is in one.
    projects: ArcSwap<HashMap<String, String>>,
    counts: Counts,
}

/// How long it may take to take away what was made in a cluster.
const CLEARING: Duration = Duration::from_secs(60);

/// Keeps a cluster for as long as its session takes new requests. When the Cluster is deleted, what was made
/// there is taken away, as far as the cluster lets that be done; then `tunnel.cleared` is cancelled, as it is
/// when this ends for any other reason.
pub(crate) async fn keep(app: &Arc<App>, cluster: &ClusterId, tunnel: &Arc<Tunnel>) {
    let _told = tunnel.cleared.clone().drop_guard();
    let working = {
        let (app, cluster) = (Arc::clone(app), cluster.clone());
        let (tunnel, kept) = (Arc::clone(tunnel), app.controllers.of(&cluster));
        async move {
            let _turn = kept.turn.lock().await;
            let keeping = keeper::keep(&app, &cluster, &tunnel, &kept);
            let endpoint = endpoint::keep(&app, &cluster, &tunnel, &kept);
            futures::future::join(keeping, endpoint).await;
        }
    };
    // A task of its own: the session's must not wait while much is compared.
    let mut working = AbortOnDropHandle::new(tokio::spawn(working.in_current_span()));
    let mut phase = tunnel.session.phase();
    let leaves = async {
        // An error means that the session is gone.
        let _ = phase.wait_for(|phase| *phase != Phase::Live).await;
    };
    tokio::select! {
        ended = &mut working => if let Err(error) = ended {
            error!(%cluster, %error, "the controllers of a cluster have ended");
        },
        () = leaves => {}
        () = deleted(app, cluster) => {
            // Nobody makes again what is taken away.
            working.abort();
            let _ = working.await;
            Box::pin(clear(app, cluster, tunnel)).await;
        }
    }
    if app.directory.cluster(cluster).is_none() {
        app.controllers.forget(cluster);
    }
}

async fn deleted(app: &App, cluster: &ClusterId) {
    let id = cluster.as_str();
    let mut changes = app.directory.access(|access| access.changes_in(id));
    while app.directory.cluster(cluster).is_some() {
        if changes.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Takes away what was made in a cluster that is deleted.
async fn clear(app: &App, cluster: &ClusterId, tunnel: &Arc<Tunnel>) {
    let client = client::Remote::new(app, cluster, tunnel).client();
    let cleared = tokio::time::timeout(CLEARING, clear::everything(&client)).await;
    match cleared {
        Ok(Ok(objects)) => info!(%cluster, objects, "what was made in the deleted cluster is gone"),
        Ok(Err(failure)) => {
            let message = failure.message;
            warn!(%cluster, "something is left in the deleted cluster: {message}");
        }
        Err(_) => {
            let seconds = CLEARING.as_secs();
            warn!(%cluster, "something is left in the deleted cluster after {seconds} s");
        }
    }
}

impl Controllers {
    /// Of the groups that somebody is in at login providers, those in whose name a cluster can be asked.
    pub(crate) fn groups_in(&self, cluster: &str, of: &[String]) -> Vec<String> {
        if of.is_empty() {
            return Vec::new();
        }
        let known = self.lock().get(cluster).cloned();
        let Some(known) = known else {
            return Vec::new();
        };
        let known = known.groups.load();
        let among = of.iter().filter(|group| known.contains(*group));
        among.cloned().collect()
    }

    /// The project of a cluster in which a namespace is, as far as the cluster has told.
    pub(crate) fn project_of(&self, cluster: &ClusterId, namespace: &str) -> Option<String> {
        let known = self.lock().get(cluster).cloned()?;
        known.projects.load().get(namespace).cloned()
    }

    fn turns(&self) -> Arc<client::Turns> {
        Arc::clone(&self.turns)
    }

    fn of(&self, cluster: &ClusterId) -> Arc<Kept> {
        Arc::clone(self.lock().entry(cluster.clone()).or_default())
    }

    fn forget(&self, cluster: &ClusterId) {
        self.lock().remove(cluster);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterId, Arc<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_come_in_the_name_of_groups_that_their_cluster_can_be_asked_in() {
        let controllers = Controllers::default();
        let ids = ["c-1", "c-2"].map(|id| id.parse::<ClusterId>().unwrap());
        let groups = |of: &[&str]| -> Vec<String> { of.iter().map(ToString::to_string).collect() };
        let usable = groups(&["openldap_group://ops", "openldap_group://dev"]);
        let kept = controllers.of(&ids[0]);
        kept.groups.store(Arc::new(usable.into_iter().collect()));
        let of = groups(&["openldap_group://dev", "openldap_group://all"]);
        let found = controllers.groups_in("c-1", &of);
        assert_eq!(found, ["openldap_group://dev"]);
        assert_eq!(controllers.groups_in("c-2", &of), [""; 0]);
        controllers.forget(&ids[0]);
        assert_eq!(controllers.groups_in("c-1", &of), [""; 0]);
    }
}
