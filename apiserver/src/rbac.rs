//! Role-based access control: who may do what, by the Roles and ClusterRoles that are bound to them.
//!
//! Roles and bindings are followed in the store, so that a request is decided in memory. Whoever
//! wrote one is answered when it is in force. Others may [derive](Derived) more of both from objects of
//! their own.

mod aggregation;
mod cover;
mod defaults;
mod derived;
mod guard;
mod index;
mod object;
mod rule;

pub use aggregation::aggregate;
pub use cover::{Missing, missing};
pub use defaults::{reconcile, usual_rules};
pub use derived::{ANY_NAME, Derived, Found, NothingDerived};
pub use guard::guard;
pub use rule::Rule;

use crate::cache::Visible;
use crate::keys;
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes, Rules, User};
use index::Index;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
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
pub struct Rbac {
    shared: Arc<Shared>,
    derived: Arc<dyn Derived>,
}

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
        let rbac = Self::new(Index::default());
        let (entries, revision) = store::read_all(store, &[prefix().into()]).await?;
        rbac.replace(&entries, revision);
        Ok(rbac)
    }

    fn new(index: Index) -> Self {
        Self {
            shared: Arc::new(Shared {
                index: RwLock::new(index),
                in_force: watch::Sender::new(0),
            }),
            derived: Arc::new(NothingDerived),
        }
    }

    /// The same with what somebody else derives.
    #[must_use]
    pub fn with(self, derived: Arc<dyn Derived>) -> Self {
        Self { derived, ..self }
    }

    /// Follows the store, through times in which it is away. Returns when it has stopped for good; to
    /// be dropped otherwise.
    pub async fn follow(self, store: Arc<dyn Store>) {
        let after = Revision(*self.shared.in_force.borrow());
        let mut store = Follow::after(store, prefix(), after);
        while let Some(next) = store.next().await {
            match next {
                Followed::All(entries, revision) => self.replace(&entries, revision),
                Followed::Changes(changes) => {
                    for change in &changes.changes {
                        set(&mut self.write(), &change.key, change.current.as_deref());
                    }
                    self.shared.in_force.send_replace(changes.revision.0);
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
        self.shared.in_force.send_replace(revision.0);
    }

    /// Waits until what was written at a revision is in force, for some seconds at most.
    async fn wait_for(&self, revision: Revision) {
        let mut in_force = self.shared.in_force.subscribe();
        let waiting = in_force.wait_for(|seen| *seen >= revision.0);
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            tracing::warn!(%revision, "a role or binding is not in force yet");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.shared
            .index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.shared
            .index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rbac {
    /// The objects of a resource that somebody may get who may not get all of them, in the namespace
    /// that is asked for if there is one. It follows what they are given and what is taken from them.
    /// `None` if they may get none, whatever there is.
    #[must_use]
    pub fn visible(&self, user: &User, what: &ResourceAttributes<'_>) -> Option<Visible> {
        if !self.may_get_some(user, what) {
            return None;
        }
        let (rbac, user) = (self.clone(), user.clone());
        let (group, resource) = (what.group.to_owned(), what.resource.to_owned());
        Some(Visible::when(move |item| {
            let get = Attributes::Resource(ResourceAttributes {
                verb: "get",
                group: &group,
                resource: &resource,
                subresource: "",
                namespace: item.selectable.namespace(),
                name: item.selectable.name(),
            });
            matches!(rbac.authorize(&user, &get), Decision::AllowAs(_))
        }))
    }

    /// The namespaces in which somebody may be given something that they are not given everywhere.
    #[must_use]
    pub fn namespaces(&self, user: &User) -> Vec<String> {
        let mut namespaces = self.derived.namespaces(user);
        let index = self.read();
        let stored = index.namespaces(user);
        namespaces.extend(stored.map(ToOwned::to_owned));
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }

    fn may_get_some(&self, user: &User, what: &ResourceAttributes<'_>) -> bool {
        let get = ResourceAttributes {
            verb: "get",
            name: ANY_NAME,
            ..*what
        };
        let gives = |rules: &[Rule]| rules.iter().any(|rule| rule.is_about(&get));
        let in_namespace = |namespace: &str| {
            let index = self.read();
            let mut stored = index.grants(user, namespace);
            let mut given = stored.any(|grant| grant.rules.is_ok_and(gives));
            drop(stored);
            drop(index);
            let found: &mut Found<'_> = &mut |rules, _| {
                given |= gives(rules);
                match given {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let asked = Attributes::Resource(get);
            self.derived.grants(user, namespace, Some(&asked), found);
            given
        };
        match what.namespace {
            "" => {
                let places = self.namespaces(user);
                in_namespace("") || places.iter().any(|namespace| in_namespace(namespace))
            }
            namespace => in_namespace(namespace),
        }
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
        let allows = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(what));
        let index = self.read();
        let mut missing = BTreeSet::new();
        for grant in index.grants(user, namespace) {
            match &grant.rules {
                Ok(rules) if allows(rules) => {
                    return Decision::AllowAs(grant.reason(user));
                }
                Ok(_) => {}
                Err(why) => drop(missing.insert(why.clone())),
            }
        }
        drop(index);
        let mut reason = None;
        let found: &mut Found<'_> = &mut |rules, by| {
            if !allows(rules) {
                return ControlFlow::Continue(());
            }
            reason = Some(format!("RBAC: allowed by {by}"));
            ControlFlow::Break(())
        };
        self.derived.grants(user, namespace, Some(what), found);
        if let Some(reason) = reason {
            return Decision::AllowAs(reason);
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
        self.derived.grants(user, namespace, None, &mut |found, _| {
            rules.extend_from_slice(found);
            ControlFlow::Continue(())
        });
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
