//! How ownership moves: what upstream's merge library does with managers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::conflict::{Conflict, Conflicts};
use super::field_set::FieldSet;
use super::managers::{ManagerId, Managers, Owned};
use super::path::is_same;
use super::typed::{self, Comparison, Type};

/// One write to an object, in one version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    /// The type of the object.
    pub(super) root: Type<'a>,
    /// The version of the write.
    pub(super) api_version: &'a str,
    /// Fields that a write to this resource does not reach, with all below them.
    pub(super) reset: &'a FieldSet,
}

impl Write<'_> {
    /// The managers after an update, and what the update itself changed. Nobody is in the way of an
    /// update: who owned what it changed owns it no longer.
    pub(super) fn update(
        &self,
        live: &Value,
        new: &Value,
        managers: &Managers,
    ) -> (Managers, FieldSet) {
        let mut managers = self.reconcile(managers);
        let all = typed::compare(self.root, live, new);
        let own = all.without(self.reset);
        for (owned, taken) in self.taken(&mut managers, None, &all, &own) {
            owned.fields = owned.fields.difference(&taken);
        }
        managers.owners.retain(|_, owned| !owned.fields.is_empty());
        let changed = own.modified.union(&own.added);
        (managers, changed.recursive_difference(self.reset))
    }

    /// The object and the managers after an apply. No object: it is as it was.
    ///
    /// # Errors
    /// When others own what would be changed, unless it is forced.
    pub(super) fn apply(
        &self,
        live: &Value,
        config: &Value,
        managers: &Managers,
        manager: &ManagerId,
        force: bool,
    ) -> Result<(Option<Value>, Managers), Conflicts> {
        let mut managers = self.reconcile(managers);
        let merged = typed::merge(self.root, live, config);
        let fields = typed::to_field_set(self.root, config).recursive_difference(self.reset);
        let now = Owned {
            fields,
            api_version: self.api_version.to_owned(),
        };
        let before = managers.owners.insert(manager.clone(), now);
        let new = self.prune(merged, &managers, before);
        let all = typed::compare(self.root, live, &new);
        let own = all.without(self.reset);
        if !force {
            self.refuse(&managers, manager, &all, &own)?;
        }
        for (owned, taken) in self.taken(&mut managers, Some(manager), &all, &own) {
            owned.fields = owned.fields.difference(&taken);
        }
        managers.owners.retain(|_, owned| !owned.fields.is_empty());
        let new = (!is_same(live, &new)).then_some(new);
        Ok((new, managers))
    }

    /// Who made a set under another schema gets one that fits this one.
    fn reconcile(&self, managers: &Managers) -> Managers {
        let mut managers = managers.clone();
        for owned in managers.owners.values_mut() {
            owned.fields = typed::reconcile(self.root, &owned.fields);
        }
        managers
    }

    /// The comparison that counts for a manager: what this write cannot reach does not count for
    /// those who are of its version.
    fn seen_by<'c>(
        &self,
        owned: &Owned,
        all: &'c Comparison,
        own: &'c Comparison,
    ) -> &'c Comparison {
        if owned.api_version == self.api_version {
            own
        } else {
            all
        }
    }

    /// What each manager but this one loses.
    fn taken<'m>(
        &self,
        managers: &'m mut Managers,
        but: Option<&ManagerId>,
        all: &Comparison,
        own: &Comparison,
    ) -> Vec<(&'m mut Owned, FieldSet)> {
        let others = managers
            .owners
            .iter_mut()
            .filter(|(id, _)| Some(*id) != but);
        let taken = others.map(|(_, owned)| {
            let seen = self.seen_by(owned, all, own);
            let changed = seen.modified.union(&seen.added);
            let taken = changed.union(&seen.removed);
            (owned, taken)
        });
        taken.collect()
    }

    fn refuse(
        &self,
        managers: &Managers,
        manager: &ManagerId,
        all: &Comparison,
        own: &Comparison,
    ) -> Result<(), Conflicts> {
        let mut conflicts = Vec::new();
        for (id, owned) in managers.owners.iter().filter(|(id, _)| *id != manager) {
            let seen = self.seen_by(owned, all, own);
            let changed = seen.modified.union(&seen.added);
            for path in owned.fields.intersection(&changed).paths() {
                conflicts.push(Conflict {
                    manager: id.clone(),
                    path,
                });
            }
        }
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(Conflicts::new(conflicts))
        }
    }

    /// The merged object without what its applier no longer states and nobody else owns.
    fn prune(&self, merged: Value, managers: &Managers, before: Option<Owned>) -> Value {
        let Some(before) = before.filter(|before| !before.fields.is_empty()) else {
            return merged;
        };
        let declared = |set: &FieldSet| typed::with_declared_fields(Some(self.root), set);
        let set_of = |value: &Value| declared(&typed::to_field_set(self.root, value));
        let last = declared(&before.fields);
        let all = set_of(&merged);
        let mut pruned = typed::remove(self.root, &merged, &last);
        for owned in owned_by_version(managers, &before.api_version) {
            let kept = set_of(&pruned).union(&declared(&owned));
            pruned = typed::remove(self.root, &merged, &all.difference(&kept));
        }
        // What an owner left behind that nobody ever applied stays.
        let gone = all.difference(&set_of(&pruned)).intersection(&last);
        typed::remove(self.root, &merged, &gone)
    }
}

/// All that is owned in each version, this one first: what it needs is back before the others look.
fn owned_by_version(managers: &Managers, first: &str) -> Vec<FieldSet> {
    let mut by_version: BTreeMap<(bool, &str), FieldSet> = BTreeMap::new();
    for owned in managers.owners.values() {
        let version = (owned.api_version != first, owned.api_version.as_str());
        let set = by_version.entry(version).or_default();
        *set = set.union(&owned.fields);
    }
    by_version.into_values().collect()
}
