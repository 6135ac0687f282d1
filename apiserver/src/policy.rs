//! ValidatingAdmissionPolicies: expressions that decide which writes are admitted.
//!
//! Policies and their bindings are followed in the store and compiled when they change, so that a
//! write is judged in memory, and costs nothing where there is no policy. Whoever wrote a policy is
//! answered when it is in force.

mod authorizer;
mod compiled;
mod definition;
mod enforce;
mod evaluate;
mod guard;
mod index;
mod matching;
mod observe;
mod params;
mod request;

pub(crate) use compiled::{Allowed, check_expression};
pub(crate) use enforce::enforce;
pub use guard::guard;
pub use observe::observe;
pub(crate) use request::{Operation, Write};

use crate::keys;
use index::{Index, Policy};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{Range, Revision, Store, WatchError};
use tokio::sync::watch;

/// The group of policies and bindings.
pub const GROUP: &str = "admissionregistration.k8s.io";

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

/// How long to wait before the store is asked again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// How long a writer waits until what was written is in force.
const PATIENCE: Duration = Duration::from_secs(5);

/// Entries that are read at once.
const PAGE: usize = 1000;

/// The policies of a store. Clones share them. There are none before [`Self::follow`] has read them.
#[derive(Clone, Debug, Default)]
pub struct Policies(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    index: RwLock<Index>,
    /// The last revision of a policy or binding that is in force.
    in_force: watch::Sender<u64>,
}

impl Policies {
    /// Reads the policies, which are in force from then on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self, store: &dyn Store) -> Result<(), store::Error> {
        let mut range = Range::prefix(prefix());
        range.limit = Some(PAGE);
        let mut index = Index::default();
        loop {
            let page = store.range(range.clone()).await?;
            for entry in &page.entries {
                index.set(&entry.key, Some(entry));
            }
            range.after = page.entries.last().map(|entry| entry.key.clone());
            range.revision = Some(page.revision);
            if page.remaining == 0 {
                index.arrange();
                *self.write() = index;
                self.0.in_force.send_replace(page.revision.0);
                return Ok(());
            }
        }
    }

    /// Follows the store after [`Self::load`]. Returns when the store has stopped; to be dropped
    /// otherwise.
    pub async fn follow(self, store: Arc<dyn Store>) {
        loop {
            match self.follow_once(&*store).await {
                Ok(WatchError::Stopped) => return,
                Ok(WatchError::Lagged) => tracing::warn!("policies fell behind the store"),
                Err(error) => tracing::warn!(%error, "reading policies again"),
            }
            while let Err(error) = self.load(&*store).await {
                tracing::warn!(%error, "policies cannot be read");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn follow_once(&self, store: &dyn Store) -> Result<WatchError, store::Error> {
        let after = Revision(*self.0.in_force.borrow());
        let mut changes = store.watch(prefix().as_bytes(), after).await?;
        while let Some(next) = changes.next().await {
            let changes = match next {
                Ok(changes) => changes,
                Err(ended) => return Ok(ended),
            };
            {
                let mut index = self.write();
                for change in &changes.changes {
                    index.set(&change.key, change.current.as_deref());
                }
                index.arrange();
            }
            self.0.in_force.send_replace(changes.revision.0);
        }
        Ok(WatchError::Stopped)
    }

    /// Whether no write has to be asked about.
    pub(crate) fn are_none(&self) -> bool {
        self.bound().is_empty()
    }

    /// Those that are in force and bound.
    fn bound(&self) -> Arc<[Arc<Policy>]> {
        let index = self.0.index.read();
        index.unwrap_or_else(PoisonError::into_inner).bound()
    }

    /// The parameters that a policy asks for, if it is there.
    fn param_kind(&self, policy: &str) -> Option<Option<definition::ParamKind>> {
        let index = self.0.index.read();
        index
            .unwrap_or_else(PoisonError::into_inner)
            .param_kind(policy)
    }

    /// Policies whose status does not say that they are in force, with their generations.
    fn unobserved(&self) -> Vec<(String, i64)> {
        let index = self.0.index.read();
        index.unwrap_or_else(PoisonError::into_inner).unobserved()
    }

    /// Waits until what was written at a revision is in force, for some seconds at most.
    async fn wait_for(&self, revision: Revision) {
        let mut in_force = self.0.in_force.subscribe();
        let waiting = in_force.wait_for(|seen| *seen >= revision.0);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!(%revision, "a policy is not in force yet");
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prefix of the keys of all policies and bindings.
fn prefix() -> String {
    format!("{}{GROUP}/", keys::ROOT)
}

#[cfg(test)]
mod tests;
