//! Role-based access control: who may do what, by the Roles and ClusterRoles that are bound to them.
//!
//! Roles and bindings are followed in the store, so that a request is decided in memory. Whoever
//! wrote one is answered when it is in force.

mod aggregation;
mod cover;
mod defaults;
mod guard;
mod index;
mod object;
mod rule;

pub use aggregation::aggregate;
pub use defaults::reconcile;
pub use guard::guard;
pub use rule::Rule;

use crate::keys;
use crate::serve::{Attributes, Authorizer, Decision, Rules, User};
use index::Index;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use store::{Entry, Follow, Followed, Revision, Store};
use tokio::sync::watch;

/// The group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// How long a writer waits until what was written is in force.
const PATIENCE: Duration = Duration::from_secs(5);

/// An authoriser that knows the roles and bindings of a store. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Rbac(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    index: RwLock<Index>,
    /// The last revision of a role or binding that is in force.
    in_force: watch::Sender<u64>,
}

impl Rbac {
    /// Decides by what is in the store now. [`Self::follow`] keeps it so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store) -> Result<Self, store::Error> {
        let rbac = Self(Arc::new(Shared {
            index: RwLock::default(),
            in_force: watch::Sender::new(0),
        }));
        let (entries, revision) = store::read_all(store, &[prefix().into()]).await?;
        rbac.replace(&entries, revision);
        Ok(rbac)
    }

    /// Follows the store, through times in which it is away. Returns when it has stopped for good; to
    /// be dropped otherwise.
    pub async fn follow(self, store: Arc<dyn Store>) {
        let after = Revision(*self.0.in_force.borrow());
        let mut store = Follow::after(store, prefix(), after);
        while let Some(next) = store.next().await {
            match next {
                Followed::All(entries, revision) => self.replace(&entries, revision),
                Followed::Changes(changes) => {
                    for change in &changes.changes {
                        set(&mut self.write(), &change.key, change.current.as_deref());
                    }
                    self.0.in_force.send_replace(changes.revision.0);
                }
            }
        }
    }

    /// Takes in all roles and bindings, in place of those that were known.
    fn replace(&self, entries: &[Arc<Entry>], revision: Revision) {
        let mut index = Index::default();
        for entry in entries {
            set(&mut index, &entry.key, Some(entry));
        }
        *self.write() = index;
        self.0.in_force.send_replace(revision.0);
    }

    /// Waits until what was written at a revision is in force, for some seconds at most.
    async fn wait_for(&self, revision: Revision) {
        let mut in_force = self.0.in_force.subscribe();
        let waiting = in_force.wait_for(|seen| *seen >= revision.0);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!(%revision, "a role or binding is not in force yet");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision {
        if user.is_master() {
            return Decision::Allow;
        }
        let namespace = match what {
            Attributes::Resource(what) => what.namespace,
            Attributes::Path { .. } => "",
        };
        let index = self.read();
        let mut missing = BTreeSet::new();
        for grant in index.grants(user, namespace) {
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(what)) => {
                    return Decision::AllowAs(grant.reason(user));
                }
                Ok(_) => {}
                Err(why) => drop(missing.insert(why.clone())),
            }
        }
        Decision::Deny(match missing.is_empty() {
            true => String::new(),
            false => format!("RBAC: {}", together(missing)),
        })
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        if user.is_master() {
            let rules = Rule::everything();
            return Rules {
                rules,
                ..Rules::default()
            };
        }
        let (mut rules, mut missing) = (Vec::new(), BTreeSet::new());
        for grant in self.read().grants(user, namespace) {
            match grant.rules {
                Ok(found) => rules.extend_from_slice(found),
                Err(why) => drop(missing.insert(why)),
            }
        }
        let error = together(missing);
        Rules {
            rules,
            incomplete: false,
            error,
        }
    }
}

/// What is wrong, as Go shows several errors.
fn together(errors: BTreeSet<String>) -> String {
    let errors: Vec<_> = errors.into_iter().collect();
    match errors.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// The prefix of the keys of all roles and bindings.
fn prefix() -> String {
    format!("{}{GROUP}/", keys::ROOT)
}

/// Takes in an entry of the store, or that it is gone.
fn set(index: &mut Index, key: &[u8], entry: Option<&Entry>) {
    let Some((prefix, key)) = keys::resource_of(key).zip(std::str::from_utf8(key).ok()) else {
        return;
    };
    let Some((_, plural)) = keys::group_and_plural(prefix) else {
        return;
    };
    let (namespace, name) = keys::split(&key[prefix.len()..]);
    match plural {
        "roles" | "clusterroles" => index.set_role(namespace, name, entry.and_then(parsed)),
        "rolebindings" | "clusterrolebindings" => {
            index.set_binding(namespace, name, entry.and_then(parsed));
        }
        _ => {}
    }
}

/// What does not parse gives nobody anything.
fn parsed<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    let parsed = serde_json::from_slice(&entry.value);
    let key = String::from_utf8_lossy(&entry.key);
    parsed
        .inspect_err(|error| tracing::error!(%key, %error, "ignoring a role or binding"))
        .ok()
}

#[cfg(test)]
mod tests;
