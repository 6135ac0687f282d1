//! What has to be done so that a cluster has what it shall have.

use std::collections::BTreeMap;

use super::mirror::{Key, Mirror};
use super::object::{Kept, Seen};

/// What has to be done with the objects of a kind.
#[derive(Debug)]
pub(super) struct Plan<K> {
    /// Ours that nobody wants any more, or that cannot be made what they shall be.
    pub(super) delete: Vec<(Key, String)>,
    /// Those that are missing.
    pub(super) create: Vec<(Key, K)>,
    /// Those that are there, by their uid, and are not as they shall be.
    pub(super) change: Vec<(Key, K, String)>,
}

impl<K: Kept> Plan<K> {
    pub(super) fn new(wanted: BTreeMap<Key, K>, there: &Mirror<Seen>) -> Self {
        let mut plan = Self {
            delete: Vec::new(),
            create: Vec::new(),
            change: Vec::new(),
        };
        for (key, seen) in there.iter() {
            let keeps = wanted
                .get(key)
                .is_some_and(|wanted| wanted.print().fixed == seen.print.fixed);
            if !keeps {
                plan.delete.push((key.clone(), seen.uid.clone()));
            }
        }
        for (key, object) in wanted {
            let print = object.print();
            match there.get(&key) {
                Some(seen) if seen.print == print => {}
                Some(seen) if seen.print.fixed == print.fixed => {
                    plan.change.push((key, object, seen.uid.clone()));
                }
                _ => plan.create.push((key, object)),
            }
        }
        plan
    }

    /// Whether an object stays as it is.
    pub(super) fn leaves(&self, key: &Key) -> bool {
        let deleted = self.delete.iter().any(|(one, _)| one == key);
        let made = self.create.iter().any(|(one, _)| one == key);
        !deleted && !made && !self.change.iter().any(|(one, _, _)| one == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
    use kube::core::ObjectMeta;

    fn binding(name: &str, role: &str, user: &str) -> ClusterRoleBinding {
        ClusterRoleBinding {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(format!("uid of {name}")),
                labels: Some([(ClusterRoleBinding::LABEL.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                name: role.to_owned(),
                ..RoleRef::default()
            },
            subjects: Some(vec![Subject {
                name: user.to_owned(),
                ..Subject::default()
            }]),
        }
    }

    fn there(objects: &[ClusterRoleBinding]) -> Mirror<Seen> {
        let mut mirror = Mirror::default();
        for object in objects {
            mirror.put(Key::of(object), object.seen().unwrap()).unwrap();
        }
        mirror
    }

    fn names<T>(planned: &[T], key: impl Fn(&T) -> &Key) -> Vec<String> {
        planned.iter().map(|one| key(one).to_string()).collect()
    }

    #[test]
    fn each_object_is_made_changed_replaced_or_taken_away_as_needed_and_no_other_is_touched() {
        let wanted = [
            binding("same", "edit", "u-1"),
            binding("missing", "edit", "u-1"),
            binding("edited", "edit", "u-1"),
            binding("other-role", "edit", "u-1"),
        ];
        let mut marked = binding("same", "edit", "u-1");
        let labels = marked.metadata.labels.as_mut().unwrap();
        labels.insert("somebody/else".to_owned(), "1".to_owned());
        let there = there(&[
            marked,
            binding("edited", "edit", "u-2"),
            binding("other-role", "cluster-admin", "u-1"),
            binding("surplus", "edit", "u-1"),
        ]);
        let wanted = wanted.map(|object| (Key::of(&object), object));
        let plan = Plan::new(wanted.into_iter().collect(), &there);
        let mut deleted = names(&plan.delete, |(key, _)| key);
        deleted.sort_unstable();
        assert_eq!(deleted, ["other-role", "surplus"]);
        assert_eq!(
            names(&plan.create, |(key, _)| key),
            ["missing", "other-role"]
        );
        assert_eq!(names(&plan.change, |(key, _, _)| key), ["edited"]);
        assert_eq!(plan.change[0].2, "uid of edited");
    }

    #[test]
    fn what_has_lost_our_label_is_somebody_elses() {
        let mut lost = binding("a", "edit", "u-1");
        lost.metadata.labels = None;
        assert_eq!(lost.seen(), None);
    }
}
