//! What a cluster shall have: the roles and bindings of Kubernetes that say there what is said in the
//! management API.
//!
//! A RoleTemplate becomes a ClusterRole of its name, and each of those that it inherits one of theirs;
//! who is given it is bound to all of them, so that one that stands for a ClusterRole of the cluster allows
//! what that allows there. In a project the binding is in each of its namespaces. Kubernetes gives nothing
//! outside of namespaces by that: what a role of projects may read there is in a ClusterRole besides.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject,
};
use kube::core::ObjectMeta;
use lariat_api::{Kind as _, Project};

use super::mirror::Key;
use super::names;
use crate::authz::{Holder, Right, Rights, Role};

const RBAC: &str = "rbac.authorization.k8s.io";

/// What roles of projects may give outside of namespaces, and no more than to read it.
const OUTSIDE: [(&str, &str); 6] = [
    ("", "persistentvolumes"),
    ("apiregistration.k8s.io", "apiservices"),
    ("catalog.cattle.io", "clusterrepos"),
    ("metrics.k8s.io", "nodes"),
    ("storage.k8s.io", "storageclasses"),
    ("ui.cattle.io", "navlinks"),
];

/// How API servers ask whether a group may be impersonated, by API group and verb: before constrained impersonation, and
/// with it. To know the one and not the other does no harm: the right to impersonate users is what differs.
const IMPERSONATION: [(&str, &str); 2] = [
    ("", "impersonate"),
    ("authentication.k8s.io", "impersonate:user-info"),
];

const READ: [&str; 3] = ["get", "list", "watch"];

/// What a cluster shall have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) roles: BTreeMap<Key, ClusterRole>,
    pub(super) cluster_bindings: BTreeMap<Key, ClusterRoleBinding>,
    pub(super) bindings: BTreeMap<Key, RoleBinding>,
    /// Groups of login providers in whose name the agent has to ask.
    pub(super) groups: BTreeSet<String>,
}

impl Wanted {
    /// What a cluster shall have in which people have these rights, and in which projects have these
    /// namespaces. ClusterRoles that are `taken` belong to somebody else as long as they cannot be made:
    /// nobody is bound to them. Members of projects make namespaces only where it is `checked` in which
    /// project.
    pub(super) fn new(
        rights: &Rights,
        namespaces: &BTreeMap<String, Vec<String>>,
        taken: &BTreeSet<String>,
        checked: bool,
    ) -> Self {
        let mut wanted = Self::default();
        for holder in &rights.administrators {
            let name = names::administrator(holder);
            wanted.bind("cluster-admin", holder, &name, None);
        }
        for right in &rights.bound {
            let (namespace, name) = &right.binding;
            let owner = names::owner(namespace, name);
            let with = rights.roles.get(&right.role);
            for role in with.iter().flat_map(|role| &role.with) {
                let Some(written) = rights.roles.get(role) else {
                    continue;
                };
                // Who has a template of that name has not the agent's rights.
                if role == names::GROUPS {
                    continue;
                }
                if !written.external {
                    wanted.role(role, role, lowered(&written.rules));
                    if taken.contains(role) {
                        continue;
                    }
                }
                let Some(project) = &right.project else {
                    let name = names::cluster_binding(role, &right.holder);
                    wanted.bind(role, &right.holder, &name, Some(&owner));
                    continue;
                };
                for namespace in namespaces.get(project).into_iter().flatten() {
                    wanted.bind_in(namespace, role, &right.holder, &owner);
                }
                if checked && makes_namespaces(written) {
                    wanted.let_make_namespaces(project, right, rights, taken, &owner);
                }
                let promoted = names::promoted(role);
                // A template of that name says something else.
                if rights.roles.contains_key(&promoted) {
                    continue;
                }
                let outside = outside(written);
                if !outside.is_empty() {
                    wanted.role(&promoted, role, outside);
                    if taken.contains(&promoted) {
                        continue;
                    }
                    let name = names::cluster_binding(&promoted, &right.holder);
                    wanted.bind(&promoted, &right.holder, &name, Some(&owner));
                }
            }
        }
        wanted.let_agent_ask(taken);
        wanted
    }

    /// To make a namespace is a matter of the whole cluster. The cluster's admission policy asks for the verb
    /// on the project.
    fn let_make_namespaces(
        &mut self,
        project: &str,
        right: &Right,
        rights: &Rights,
        taken: &BTreeSet<String>,
        owner: &str,
    ) {
        let name = names::edits(project);
        if rights.roles.contains_key(&name) {
            return;
        }
        let rule = |group: &str, resource: &str, verb: &str| PolicyRule {
            verbs: vec![verb.to_owned()],
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            ..PolicyRule::default()
        };
        let manage = PolicyRule {
            resource_names: Some(vec![project.to_owned()]),
            ..rule(lariat_api::GROUP, Project::PLURAL, "manage-namespaces")
        };
        let rules = vec![rule("", "namespaces", "create"), manage];
        self.role(&name, &right.role, rules);
        if !taken.contains(&name) {
            let binding = names::cluster_binding(&name, &right.holder);
            self.bind(&name, &right.holder, &binding, Some(owner));
        }
    }

    fn role(&mut self, name: &str, template: &str, rules: Vec<PolicyRule>) {
        let key = Key::whole(name);
        self.roles.entry(key).or_insert_with(|| ClusterRole {
            metadata: ObjectMeta {
                annotations: Some([(names::TEMPLATE.to_owned(), template.to_owned())].into()),
                ..meta(name, None)
            },
            rules: Some(rules),
            ..ClusterRole::default()
        });
    }

    fn bind(&mut self, role: &str, holder: &Holder, name: &str, owner: Option<&str>) {
        self.note(holder);
        let metadata = meta(name, owner);
        let made = || ClusterRoleBinding {
            metadata,
            role_ref: role_ref(role),
            subjects: Some(vec![subject(holder)]),
        };
        let key = Key::whole(name);
        // Who is given a role twice is bound once: the first binding is named as the cause.
        self.cluster_bindings.entry(key).or_insert_with(made);
    }

    fn bind_in(&mut self, namespace: &str, role: &str, holder: &Holder, owner: &str) {
        self.note(holder);
        let name = names::binding(namespace, role, holder);
        let metadata = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            ..meta(&name, Some(owner))
        };
        let made = || RoleBinding {
            metadata,
            role_ref: role_ref(role),
            subjects: Some(vec![subject(holder)]),
        };
        let key = Key::within(namespace, &name);
        self.bindings.entry(key).or_insert_with(made);
    }

    fn note(&mut self, holder: &Holder) {
        if let Holder::Group(name) = holder {
            self.groups.insert(name.clone());
        }
    }

    /// RBAC has no pattern for names, and all groups are more than an agent may have: it gets those that
    /// are bound in its cluster.
    fn let_agent_ask(&mut self, taken: &BTreeSet<String>) {
        if self.groups.is_empty() {
            return;
        }
        let role = ClusterRole {
            metadata: meta(names::GROUPS, None),
            rules: Some(vec![PolicyRule {
                api_groups: Some(IMPERSONATION.map(|(group, _)| group.to_owned()).into()),
                resources: Some(vec!["groups".to_owned()]),
                resource_names: Some(self.groups.iter().cloned().collect()),
                verbs: IMPERSONATION.map(|(_, verb)| verb.to_owned()).into(),
                ..PolicyRule::default()
            }]),
            ..ClusterRole::default()
        };
        let (namespace, name) = names::AGENT;
        let binding = ClusterRoleBinding {
            metadata: meta(names::GROUPS, None),
            role_ref: role_ref(names::GROUPS),
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: name.to_owned(),
                namespace: Some(namespace.to_owned()),
                api_group: None,
            }]),
        };
        let key = Key::whole(names::GROUPS);
        self.roles.insert(key.clone(), role);
        if !taken.contains(names::GROUPS) {
            self.cluster_bindings.insert(key, binding);
        }
    }
}

fn meta(name: &str, owner: Option<&str>) -> ObjectMeta {
    let managed = (names::MANAGED.to_owned(), "true".to_owned());
    let owner = owner.map(|owner| (names::OWNER.to_owned(), owner.to_owned()));
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([managed].into_iter().chain(owner).collect()),
        ..ObjectMeta::default()
    }
}

fn role_ref(role: &str) -> RoleRef {
    RoleRef {
        api_group: Some(RBAC.to_owned()),
        kind: "ClusterRole".to_owned(),
        name: role.to_owned(),
    }
}

fn subject(holder: &Holder) -> Subject {
    Subject {
        api_group: Some(RBAC.to_owned()),
        kind: names::kind(holder).to_owned(),
        name: names::name(holder).to_owned(),
        namespace: None,
    }
}

/// Rules for Kubernetes, which knows verbs and resources in lower case alone.
fn lowered(rules: &[lariat_api::PolicyRule]) -> Vec<PolicyRule> {
    let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
    let some = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
    let written = rules.iter().map(|rule| PolicyRule {
        verbs: lower(&rule.verbs),
        api_groups: some(rule.api_groups.clone()),
        resources: some(lower(&rule.resources)),
        resource_names: some(rule.resource_names.clone()),
        non_resource_urls: some(rule.non_resource_urls.clone()),
    });
    written.collect()
}

/// Whether a role of projects lets its holders make namespaces.
fn makes_namespaces(role: &Role) -> bool {
    let has = |names: &[String], name: &str| {
        let mut names = names.iter();
        names.any(|one| one == "*" || one.eq_ignore_ascii_case(name))
    };
    role.rules.iter().any(|rule| {
        let all = rule.resource_names.is_empty() && has(&rule.verbs, "create");
        all && has(&rule.api_groups, "") && has(&rule.resources, "namespaces")
    })
}

/// What a role of projects gives outside of namespaces.
fn outside(role: &Role) -> Vec<PolicyRule> {
    let has = |names: &[String], name: &str| {
        let mut names = names.iter();
        names.any(|one| one == "*" || one.eq_ignore_ascii_case(name))
    };
    let mut rules = Vec::new();
    for rule in &role.rules {
        let verbs = READ.iter().filter(|verb| has(&rule.verbs, verb));
        let verbs: Vec<String> = verbs.map(ToString::to_string).collect();
        let meant = OUTSIDE.iter().filter(|(group, resource)| {
            has(&rule.api_groups, group) && has(&rule.resources, resource)
        });
        for (group, resource) in meant {
            if !verbs.is_empty() {
                let names = Some(rule.resource_names.clone());
                rules.push(PolicyRule {
                    verbs: verbs.clone(),
                    api_groups: Some(vec![(*group).to_owned()]),
                    resources: Some(vec![(*resource).to_owned()]),
                    resource_names: names.filter(|names| !names.is_empty()),
                    ..PolicyRule::default()
                });
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests;
