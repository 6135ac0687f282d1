//! A cluster that has an authorized endpoint no more.

use std::sync::Arc;

use lariat_api::ConditionStatus::False;
use lariat_api::{Cluster, ClusterId, ClusterStatus, condition, set_condition};
use tracing::{info, warn};

use super::addresses::Addresses;
use super::said;
use crate::controllers::apply::FORBIDDEN;
use crate::controllers::clear;
use crate::controllers::client::Remote;
use crate::controllers::pace::retry;
use crate::state::App;
use crate::tunnels::{self, Tunnel};

/// Takes everything away again that was made in a cluster, if anything was.
pub(super) async fn withdraw(app: &Arc<App>, cluster: &ClusterId, tunnel: &Arc<Tunnel>) {
    let mut failed = 0;
    while remembers(app, cluster) {
        match clear::people(&Remote::new(app, cluster, tunnel).client()).await {
            Ok(changes) => {
                info!(%cluster, changes, "the cluster has no authorized endpoint any more");
                tunnels::record(app, cluster, forget).await;
                return;
            }
            Err(failure) => {
                let message = said(&failure, 0);
                warn!(%cluster, "the authorized endpoint cannot be taken away: {message}");
                let now = app.clock.now();
                let written = tunnels::record(app, cluster, |status| {
                    let (conditions, name) = (&mut status.conditions, Cluster::AUTHORIZED_ENDPOINT);
                    set_condition(conditions, name, False, failure.reason, &message, now)
                });
                written.await;
                // Who may not now may when the cluster comes the next time.
                if failure.reason == FORBIDDEN {
                    return;
                }
                failed += 1;
                tokio::time::sleep(retry(failed)).await;
            }
        }
    }
}

fn remembers(app: &App, cluster: &ClusterId) -> bool {
    let cluster = app.directory.cluster(cluster);
    cluster.is_some_and(|cluster| {
        let status = cluster.status.as_ref();
        let conditions = status.map(|status| status.conditions.as_slice());
        condition(conditions.unwrap_or_default(), Cluster::AUTHORIZED_ENDPOINT).is_some()
    })
}

fn forget(status: &mut ClusterStatus) -> bool {
    let before = status.conditions.len();
    let name = Cluster::AUTHORIZED_ENDPOINT;
    status
        .conditions
        .retain(|condition| condition.type_ != name);
    let changed = Addresses::default().put(status);
    changed || status.conditions.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::ConditionStatus::True;

    #[test]
    fn what_was_said_of_an_endpoint_is_forgotten_with_it() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut status = ClusterStatus::default();
        assert!(!forget(&mut status));
        for name in ["Ready", Cluster::AUTHORIZED_ENDPOINT] {
            set_condition(&mut status.conditions, name, True, "Fed", "", now);
        }
        status.ca_cert = "T1dO".to_owned();
        assert!(forget(&mut status));
        assert_eq!((status.conditions.len(), status.ca_cert.as_str()), (1, ""));
    }
}
