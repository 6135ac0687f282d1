//! What clusters are told is what the objects say, and who waits for a cluster is woken whenever that has
//! changed.

use std::collections::BTreeSet;

use super::*;
use crate::authz::Holder;

/// Binding, role, who has it, and in which project.
type Told = BTreeSet<(String, String, Holder, Option<String>)>;

fn told(access: &Access, cluster: &str) -> Told {
    let rights = access.rights(cluster);
    let all = rights.bound.into_iter().map(|right| {
        let (namespace, name) = right.binding;
        let binding = format!("{namespace}/{name}");
        (binding, right.role, right.holder, right.project)
    });
    all.collect()
}

impl ByHand {
    fn holders(&self, subject: &Subject, meta: &ObjectMeta) -> Vec<Holder> {
        if let Some(Who::Group(name)) = subject.who() {
            return vec![Holder::Group(name.to_owned())];
        }
        let meant = self.users.iter().filter(|user| {
            let user = User {
                name: user.name().to_owned(),
                ..User::default()
            };
            self.is_meant(&user, subject, meta)
        });
        meant
            .map(|user| Holder::User(user.name().to_owned()))
            .collect()
    }

    fn administrators(&self) -> BTreeSet<Holder> {
        let admin = self.roles.iter().find(|role| role.name() == ADMIN);
        let bound = self.everywhere.iter().filter(|binding| {
            binding.global_role_name == ADMIN && admin.is_some_and(|role| role.builtin)
        });
        let holders = bound.flat_map(|it| self.holders(&it.subject, &it.metadata));
        holders.collect()
    }

    fn told(&self, cluster: &str) -> Told {
        let mut told = Told::new();
        let mut give = |meta: &ObjectMeta, subject: &Subject, role: &str, project: Option<&str>| {
            let context = match project {
                Some(_) => RoleContext::Project,
                None => RoleContext::Cluster,
            };
            if meta.deletion_timestamp.is_some() || self.template(role, context).is_none() {
                return;
            }
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let binding = format!("{namespace}/{}", meta.name.as_deref().unwrap());
            for holder in self.holders(subject, meta) {
                let project = project.map(ToOwned::to_owned);
                told.insert((binding.clone(), role.to_owned(), holder, project));
            }
        };
        for binding in &self.everywhere {
            let mut roles = self.roles.iter();
            let role = roles.find(|role| role.name() == binding.global_role_name);
            for name in role.iter().flat_map(|role| &role.inherited_cluster_roles) {
                give(&binding.metadata, &binding.subject, name, None);
            }
        }
        for binding in &self.in_clusters {
            let there = binding.namespace() == cluster && binding.cluster_name == cluster;
            if there {
                give(
                    &binding.metadata,
                    &binding.subject,
                    &binding.role_template_name,
                    None,
                );
            }
        }
        let mut clusters = self.clusters.iter();
        let found = clusters.find(|found| found.name() == cluster);
        let of_members = found.map(|it| it.spec.default_cluster_role_for_project_members.as_str());
        for binding in &self.in_projects {
            let (of, name) = binding.project().unwrap();
            let mut projects = self.projects.iter();
            let there = projects.any(|it| it.namespace() == cluster && it.name() == name.as_str());
            if of.as_str() != cluster || name.as_str() != binding.namespace() || !there {
                continue;
            }
            let (meta, subject) = (&binding.metadata, &binding.subject);
            give(
                meta,
                subject,
                &binding.role_template_name,
                Some(name.as_str()),
            );
            give(meta, subject, of_members.unwrap_or_default(), None);
        }
        told
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn clusters_are_told_what_the_objects_say_and_who_waits_is_woken(
        writes in prop::collection::vec((0..OBJECTS, any::<u64>(), 0..5u8), 20..80),
    ) {
        let (mut access, mut world) = (Access::default(), World::new());
        for (which, chance, how) in writes {
            let clusters = PLACES.map(|(cluster, _)| cluster);
            let before = clusters.map(|cluster| format!("{:?}", access.rights(cluster)));
            let waiting = clusters.map(|cluster| access.changes_in(cluster));
            let (key, value) = chosen(which, chance);
            if how == 0 {
                world.remove(&key);
                access.set(&key, None);
            } else {
                access.set(&key, Some(&entry(&key, &value)));
                world.insert(key, value);
            }
            for ((cluster, before), waiting) in clusters.into_iter().zip(before).zip(waiting) {
                if format!("{:?}", access.rights(cluster)) != before {
                    prop_assert!(waiting.has_changed().unwrap(), "{} sleeps", cluster);
                }
            }
        }
        let by_hand = ByHand::new(&world);
        for (cluster, _) in PLACES {
            prop_assert_eq!(told(&access, cluster), by_hand.told(cluster));
            let found = access.rights(cluster);
            let administrators: BTreeSet<_> = found.administrators.into_iter().collect();
            prop_assert_eq!(administrators, by_hand.administrators());
            for right in &found.bound {
                for role in &found.roles[&right.role].with {
                    prop_assert!(found.roles.contains_key(role), "{} of {:?}", role, right);
                }
            }
        }
    }
}

#[test]
fn a_binding_wakes_its_own_cluster_alone() {
    let binding = |cluster: &str| {
        let fields = json!({"clusterName": cluster, "roleTemplateName": "t-0"});
        object::<ClusterRoleTemplateBinding>(cluster, "b-1", bound("u-0", fields))
    };
    let mut access = with([user("u-0")]);
    let waiting = PLACES.map(|(cluster, _)| access.changes_in(cluster));
    let woken = || waiting.each_ref().map(|one| one.has_changed().unwrap());
    let (key, value) = binding("c-1");
    access.set(&key, Some(&entry(&key, &value)));
    assert_eq!(woken(), [false, true]);
    // Somebody who logs in changes nothing.
    let (key, mut value) = user("u-0");
    value["metadata"]["annotations"] = json!({"lastLogin": "now"});
    access.set(&key, Some(&entry(&key, &value)));
    assert_eq!(woken(), [false, true]);
    let fields = bound("u-0", json!({"globalRoleName": "user"}));
    let (key, value) = object::<GlobalRoleBinding>("", "grb-1", fields);
    access.set(&key, Some(&entry(&key, &value)));
    assert_eq!(woken(), [false, true]);
}
