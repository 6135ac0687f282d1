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
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use store::{Entry, Follow, Followed, Revision, Store};
use tokio::sync::watch;

/// The group of policies and bindings.
pub const GROUP: &str = "admissionregistration.k8s.io";

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

/// How long a writer waits until what was written is in force.
const PATIENCE: Duration = Duration::from_secs(5);

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
        let (entries, revision) = store::read_all(store, &[prefix().into()]).await?;
        self.replace(&entries, revision);
        Ok(())
    }

    /// Follows the store after [`Self::load`], through times in which it is away. Returns when it has
    /// stopped for good; to be dropped otherwise.
    pub async fn follow(self, store: Arc<dyn Store>) {
        let after = Revision(*self.0.in_force.borrow());
        let mut store = Follow::after(store, prefix(), after);
        while let Some(next) = store.next().await {
            match next {
                Followed::All(entries, revision) => self.replace(&entries, revision),
                Followed::Changes(changes) => {
                    // Compiling takes a while, in which writes are judged by what was there before.
                    let mut index = self.read().clone();
                    for change in &changes.changes {
                        index.set(&change.key, change.current.as_deref());
                    }
                    self.put_in_force(index, changes.revision);
                }
            }
        }
    }

    /// Takes in all policies and bindings, in place of those that were known.
    fn replace(&self, entries: &[Arc<Entry>], revision: Revision) {
        let mut index = Index::default();
        for entry in entries {
            index.set(&entry.key, Some(entry));
        }
        self.put_in_force(index, revision);
    }

    fn put_in_force(&self, mut index: Index, revision: Revision) {
        index.arrange();
        *self.write() = index;
        self.0.in_force.send_replace(revision.0);
    }

    /// Whether no write has to be asked about.
    pub(crate) fn are_none(&self) -> bool {
        self.bound().is_empty()
    }

    /// Those that are in force and bound.
    fn bound(&self) -> Arc<[Arc<Policy>]> {
        self.read().bound()
    }

    /// The parameters that a policy asks for, if it is there.
    fn param_kind(&self, policy: &str) -> Option<Option<definition::ParamKind>> {
        self.read().param_kind(policy)
    }

    /// Policies whose status does not say that they are in force, with their generations.
    fn unobserved(&self) -> Vec<(String, i64)> {
        self.read().unobserved()
    }

    /// Waits until what was written at a revision is in force, for some seconds at most.
    async fn wait_for(&self, revision: Revision) {
        let mut in_force = self.0.in_force.subscribe();
        let waiting = in_force.wait_for(|seen| *seen >= revision.0);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!(%revision, "a policy is not in force yet");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prefix of the keys of all policies and bindings.
fn prefix() -> String {
    format!("{}{GROUP}/", keys::ROOT)
}

#[cfg(test)]
mod tests;
