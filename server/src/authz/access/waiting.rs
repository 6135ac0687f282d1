//! Who waits until what people may do in a cluster has changed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Those who wait, by cluster.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<String, watch::Sender<()>>>);

impl Waiting {
    /// Wakes at every change that concerns a cluster from now on; several at once wake once.
    pub(super) fn at(&self, cluster: &str) -> watch::Receiver<()> {
        let mut clusters = self.lock();
        clusters.retain(|_, waiting| waiting.receiver_count() > 0);
        clusters.entry(cluster.to_owned()).or_default().subscribe()
    }

    /// Something has changed in a cluster.
    pub(super) fn wake(&self, cluster: &str) {
        if let Some(waiting) = self.lock().get(cluster) {
            waiting.send_replace(());
        }
    }

    /// Something has changed that concerns every cluster.
    pub(super) fn wake_all(&self) {
        for waiting in self.lock().values() {
            waiting.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
