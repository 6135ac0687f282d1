//! Who waits for a session of a cluster is told when one comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lariat_api::ClusterId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The clusters of which somebody expects a session.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Mutex<HashMap<ClusterId, Arc<Notify>>>);

/// Somebody who waits; dropped when they do no longer.
pub(super) struct Expected<'a> {
    arrivals: &'a Arrivals,
    cluster: &'a ClusterId,
    arrival: Arc<Notify>,
}

impl Arrivals {
    /// Tells all who wait that a session of the cluster is there.
    pub(super) fn announce(&self, cluster: &ClusterId) {
        if let Some(arrival) = self.lock().get(cluster) {
            arrival.notify_waiters();
        }
    }

    /// Begins to wait.
    pub(super) fn expect<'a>(&'a self, cluster: &'a ClusterId) -> Expected<'a> {
        let mut expected = self.lock();
        let arrival = expected.entry(cluster.clone()).or_default();
        Expected {
            arrivals: self,
            cluster,
            arrival: Arc::clone(arrival),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected<'_> {
    /// Resolves when a session is announced, once it has been enabled or polled.
    pub(super) fn arrived(&self) -> Notified<'_> {
        self.arrival.notified()
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let mut expected = self.arrivals.lock();
        // Nobody begins to wait while this is locked. An own one in its place, so that those of who leaves at the same
        // time are counted as well.
        self.arrival = Arc::default();
        let is_last = expected
            .get(self.cluster)
            .is_some_and(|arrival| Arc::strong_count(arrival) == 1);
        if is_last {
            expected.remove(self.cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn who_waits_is_told_and_who_is_gone_is_forgotten() {
        let arrivals = Arrivals::default();
        let (one, other) = ("c-1".parse().unwrap(), "c-2".parse().unwrap());
        arrivals.announce(&one);
        {
            let (first, second) = (arrivals.expect(&one), arrivals.expect(&one));
            let elsewhere = arrivals.expect(&other);
            let mut told = pin!(first.arrived());
            let mut not_told = pin!(elsewhere.arrived());
            assert!(!told.as_mut().enable() && !not_told.as_mut().enable());
            arrivals.announce(&one);
            told.await;
            assert!(!not_told.as_mut().enable());
            drop(second);
            assert_eq!(arrivals.lock().len(), 2);
        }
        assert!(arrivals.lock().is_empty());
    }
}
