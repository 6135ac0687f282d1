//! What somebody holds in clusters and projects, and what they are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiserver::rbac::Rule;
use apiserver::serve::User;
use lariat_api::{GlobalRole, Kind as _, RoleContext};

use super::{Access, Template};

/// Where rules are held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In all clusters.
    EveryCluster,
    /// In one.
    Cluster(&'a str),
    /// In a project.
    Project(&'a str),
}

impl<'a> Place<'a> {
    /// As people are told of it.
    pub(crate) fn shown(self) -> &'a str {
        match self {
            Self::EveryCluster => "every cluster",
            Self::Cluster(name) | Self::Project(name) => name,
        }
    }
}

/// What somebody is in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Somebody with a role there.
    Member,
    /// Somebody who owns it.
    Owner,
}

/// The roles that somebody has in a cluster: where, which, and what each allows.
#[derive(Debug, Default)]
pub(crate) struct Held(BTreeMap<(String, String), Arc<[Rule]>>);

impl Held {
    fn add(&mut self, place: &str, role: &str, rules: &Arc<[Rule]>) {
        let key = (place.to_owned(), role.to_owned());
        self.0.insert(key, Arc::clone(rules));
    }

    /// Whether nothing is missing now of what these roles allowed.
    pub(crate) fn are_left_in(&self, now: &Self) -> bool {
        self.0.iter().all(|(key, before)| {
            let now = now.0.get(key);
            now.is_some_and(|now| {
                Arc::ptr_eq(before, now) || before.iter().all(|rule| now.contains(rule))
            })
        })
    }
}

impl Access {
    /// The roles in a cluster, and in its projects, of a user who is in some groups.
    pub(crate) fn roles_in(&self, cluster: &str, user: &str, groups: &[String]) -> Held {
        let mut found = Held::default();
        for (given, _) in self.given(user, groups) {
            for (_, name, role) in self.globals(&given.everywhere) {
                // What it inherits is what counts in clusters; itself, where it opens all of them. A template
                // may have its name.
                found.add(GlobalRole::PLURAL, name, &Arc::default());
                for name in &role.inherited {
                    if let Some(template) = self.template(name) {
                        found.add("", name, &template.rules);
                    }
                }
            }
            let Some(within) = given.clusters.get(cluster) else {
                continue;
            };
            for (_, name, template) in self.templates_of(&within.roles, RoleContext::Cluster) {
                found.add(cluster, name, &template.rules);
            }
            for (project, roles) in &within.projects {
                for (_, name, template) in self.templates_of(roles, RoleContext::Project) {
                    found.add(project, name, &template.rules);
                }
            }
        }
        found
    }

    /// All that a user may do in the clusters or the project, by roles for clusters and projects.
    pub(crate) fn held(&self, user: &User, place: Place<'_>) -> Vec<Rule> {
        let (cluster, project) = match place {
            Place::EveryCluster => (None, None),
            Place::Cluster(cluster) => (Some(cluster), None),
            Place::Project(project) => (self.cluster_of(project), Some(project)),
        };
        let mut held = Vec::new();
        for (given, _) in self.given(&user.name, &user.groups) {
            for (_, _, role) in self.globals(&given.everywhere) {
                held.extend(
                    self.inherited(role)
                        .flat_map(|template| template.rules.iter()),
                );
            }
            let within = cluster.and_then(|cluster| given.clusters.get(cluster));
            let Some(within) = within else { continue };
            let roles = self.templates_of(&within.roles, RoleContext::Cluster);
            held.extend(roles.flat_map(|(_, _, template)| template.rules.iter()));
            let roles = project.and_then(|project| within.projects.get(project));
            let roles = roles.into_iter();
            let roles = roles.flat_map(|roles| self.templates_of(roles, RoleContext::Project));
            held.extend(roles.flat_map(|(_, _, template)| template.rules.iter()));
        }
        held.into_iter().cloned().collect()
    }

    /// Where a user is given roles for clusters and projects.
    pub(crate) fn places<'a>(&'a self, user: &'a User) -> Vec<Place<'a>> {
        let mut places = vec![Place::EveryCluster];
        for (given, _) in self.given(&user.name, &user.groups) {
            for (cluster, within) in &given.clusters {
                places.push(Place::Cluster(cluster));
                places.extend(
                    within
                        .projects
                        .keys()
                        .map(|project| Place::Project(project)),
                );
            }
        }
        places
    }

    /// Whether a role that a user has in a cluster, or in a project of it, demands that the user's
    /// sessions are recorded. It does so in the whole cluster: who may choose where to begin would
    /// choose where nobody looks.
    pub(crate) fn recorded(&self, user: &User, cluster: &str) -> bool {
        self.given(&user.name, &user.groups).any(|(given, _)| {
            let mut everywhere = self.globals(&given.everywhere);
            if everywhere.any(|(_, _, role)| self.inherited(role).any(|one| one.recorded)) {
                return true;
            }
            let Some(within) = given.clusters.get(cluster) else {
                return false;
            };
            let mut in_all = self.templates_of(&within.roles, RoleContext::Cluster);
            let of_projects = within.projects.values();
            let mut in_some =
                of_projects.flat_map(|roles| self.templates_of(roles, RoleContext::Project));
            in_all.any(|(_, _, one)| one.recorded) || in_some.any(|(_, _, one)| one.recorded)
        })
    }

    /// Whether somebody has a role in a cluster or project: a user, or one who never was here and whom a
    /// login provider knows by that name and in those groups.
    pub(crate) fn is_member_somewhere(
        &self,
        user: Option<&str>,
        principal: &str,
        groups: &[String],
    ) -> bool {
        let known = self.given(user.unwrap_or_default(), groups);
        let known = known.map(|(given, _)| given);
        let mut all = known.chain(self.bound.principals.get(principal));
        all.any(|given| !given.clusters.is_empty())
    }

    /// What a user is in a cluster by roles in all of it; `None` if nothing.
    pub(crate) fn standing(&self, user: &User, cluster: &str) -> Option<Standing> {
        let mut standing = None;
        let mut has = |template: &Template| {
            let owner = template.owns_cluster.then_some(Standing::Owner);
            standing = standing.max(owner.or(Some(Standing::Member)));
        };
        for (given, _) in self.given(&user.name, &user.groups) {
            for (_, _, role) in self.globals(&given.everywhere) {
                self.inherited(role).for_each(&mut has);
            }
            if let Some(within) = given.clusters.get(cluster) {
                let roles = self.templates_of(&within.roles, RoleContext::Cluster);
                roles.for_each(|(_, _, template)| has(template));
            }
        }
        standing
    }
}
