//! Policies with their bindings.

use super::compiled::Compiled;
use super::definition::{BindingSpec, ParamKind, PolicySpec, spec};
use super::{BINDINGS, POLICIES};
use crate::keys;
use crate::object::Object;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Entry;

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    policies: BTreeMap<String, Definition>,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Policies that have bindings, by name.
    bound: Arc<[Arc<Policy>]>,
}

#[derive(Clone, Debug)]
struct Definition {
    spec: Arc<PolicySpec>,
    compiled: Arc<Compiled>,
    generation: i64,
    /// The generation that its status names.
    observed: i64,
}

/// A policy that is in force.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) spec: Arc<PolicySpec>,
    pub(super) compiled: Arc<Compiled>,
    /// In the order of their names.
    pub(super) bindings: Vec<Arc<Binding>>,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) spec: BindingSpec,
}

impl Index {
    /// Takes in an entry of the store, or that it is gone. To be [arranged](Self::arrange) then.
    pub(super) fn set(&mut self, key: &[u8], entry: Option<&Entry>) {
        let Some((prefix, key)) = keys::resource_of(key).zip(std::str::from_utf8(key).ok()) else {
            return;
        };
        let name = &key[prefix.len()..];
        match keys::group_and_plural(prefix) {
            Some((_, POLICIES)) => match entry.and_then(parsed::<PolicySpec>) {
                Some((spec, object)) => {
                    let definition = self.definition(name, spec, &object);
                    self.policies.insert(name.to_owned(), definition);
                }
                None => drop(self.policies.remove(name)),
            },
            Some((_, BINDINGS)) => match entry.and_then(parsed::<BindingSpec>) {
                Some((spec, _)) => {
                    let binding = Binding {
                        name: name.to_owned(),
                        spec,
                    };
                    self.bindings.insert(name.to_owned(), Arc::new(binding));
                }
                None => drop(self.bindings.remove(name)),
            },
            _ => {}
        }
    }

    /// A policy is compiled when it changes, and not when its status does.
    fn definition(&self, name: &str, spec: PolicySpec, object: &Object) -> Definition {
        let number = |at: &str| object.as_value().pointer(at).and_then(Value::as_i64);
        let generation = number("/metadata/generation").unwrap_or_default();
        let observed = number("/status/observedGeneration").unwrap_or_default();
        match self.policies.get(name).filter(|known| *known.spec == spec) {
            Some(known) => Definition {
                generation,
                observed,
                ..known.clone()
            },
            None => Definition {
                compiled: Arc::new(Compiled::new(&spec)),
                spec: Arc::new(spec),
                generation,
                observed,
            },
        }
    }

    pub(super) fn unobserved(&self) -> Vec<(String, i64)> {
        let all = self.policies.iter();
        let stale = all.filter(|(_, policy)| policy.observed < policy.generation);
        stale
            .map(|(name, policy)| (name.clone(), policy.generation))
            .collect()
    }

    /// Puts policies and bindings together.
    pub(super) fn arrange(&mut self) {
        let policies = self.policies.iter().filter_map(|(name, definition)| {
            let bindings = self.bindings.values();
            let bindings = bindings.filter(|binding| binding.spec.policy_name == *name);
            let bindings: Vec<_> = bindings.cloned().collect();
            let policy = Policy {
                name: name.clone(),
                spec: Arc::clone(&definition.spec),
                compiled: Arc::clone(&definition.compiled),
                bindings,
            };
            (!policy.bindings.is_empty()).then(|| Arc::new(policy))
        });
        self.bound = policies.collect();
    }

    pub(super) fn bound(&self) -> Arc<[Arc<Policy>]> {
        Arc::clone(&self.bound)
    }

    pub(super) fn param_kind(&self, policy: &str) -> Option<Option<ParamKind>> {
        let policy = self.policies.get(policy)?;
        Some(policy.spec.param_kind.clone())
    }
}

/// What does not parse was never taken.
fn parsed<T: DeserializeOwned>(entry: &Entry) -> Option<(T, Object)> {
    let key = String::from_utf8_lossy(&entry.key);
    let object = Object::decode(&entry.value, entry.modified.0);
    let object = object.inspect_err(|error| tracing::error!(%key, %error, "ignoring a policy"));
    let object = object.ok()?;
    let found = spec(&object);
    let found = found.inspect_err(|error| tracing::error!(%key, ?error, "ignoring a policy"));
    Some((found.ok()?, object))
}
