//! Who waits until what people may do in a cluster has changed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Clusters for which it is not worth looking whether anybody waits.
const FEW: usize = 64;

/// Those who wait, by cluster.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Clusters>);

#[derive(Debug, Default)]
struct Clusters {
    waiting: HashMap<String, watch::Sender<()>>,
    /// How many there were when those of whom nobody waited any more were last forgotten.
    after_sweep: usize,
}

impl Waiting {
    /// Wakes at every change that concerns a cluster from now on; several at once wake once.
    pub(super) fn at(&self, cluster: &str) -> watch::Receiver<()> {
        let mut clusters = self.lock();
        // Not at every call: a server with thousands of clusters would do little else when all come back.
        if clusters.waiting.len() > FEW.max(clusters.after_sweep * 2) {
            clusters
                .waiting
                .retain(|_, waiting| waiting.receiver_count() > 0);
            clusters.after_sweep = clusters.waiting.len();
        }
        let waiting = clusters.waiting.entry(cluster.to_owned());
        waiting.or_default().subscribe()
    }

    /// Something has changed in a cluster.
    pub(super) fn wake(&self, cluster: &str) {
        if let Some(waiting) = self.lock().waiting.get(cluster) {
            waiting.send_replace(());
        }
    }

    /// Something has changed that concerns every cluster.
    pub(super) fn wake_all(&self) {
        for waiting in self.lock().waiting.values() {
            waiting.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Clusters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_and_clusters_for_which_nobody_waits_are_forgotten() {
        let waiting = Waiting::default();
        let kept = waiting.at("c-kept");
        for cluster in 0..10 * FEW {
            drop(waiting.at(&format!("c-{cluster}")));
        }
        assert!(waiting.lock().waiting.len() <= FEW + 1);
        waiting.wake("c-other");
        assert!(!kept.has_changed().unwrap());
        waiting.wake("c-kept");
        assert!(kept.has_changed().unwrap());
    }
}
