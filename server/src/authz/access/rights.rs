//! What people may do in a cluster, as the cluster itself is to know it.

use std::collections::BTreeMap;

use apiserver::serve::ResourceAttributes;
use lariat_api::{Cluster, GROUP, Kind as _, PolicyRule, RoleContext};

use super::bound::{Bound, BoundIn, Given, Whom};
use super::{ADMIN, Access, Global, InCluster};

/// All that people are given in a cluster and in its projects.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// Who administers the server, and so every cluster.
    pub(crate) administrators: Vec<Holder>,
    /// What is bound.
    pub(crate) bound: Vec<Right>,
    /// The templates that are bound and those that they inherit, by name.
    pub(crate) roles: BTreeMap<String, Role>,
    /// The projects.
    pub(crate) projects: BTreeMap<String, InCluster>,
    /// Whether namespaces of one project are closed to others.
    pub(crate) isolated: bool,
}

/// A role that somebody has.
#[derive(Debug)]
pub(crate) struct Right {
    /// Namespace and name of the binding; that of a GlobalRoleBinding has no namespace.
    pub(crate) binding: (String, String),
    /// Name of the template.
    pub(crate) role: String,
    pub(crate) holder: Holder,
    /// The only project in which it is given.
    pub(crate) project: Option<String>,
}

/// Who has a right, under the name by which clusters know them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A user, by id.
    User(String),
    /// A group of a login provider.
    Group(String),
}

/// A template, and all that comes with it.
#[derive(Debug)]
pub(crate) struct Role {
    /// Whether it stands for a ClusterRole that is there already.
    pub(crate) external: bool,
    /// What it allows itself.
    pub(crate) rules: Vec<PolicyRule>,
    /// Names of the templates that somebody gets with it, itself included.
    pub(crate) with: Vec<String>,
}

impl Access {
    /// What people are given in a cluster.
    pub(crate) fn rights(&self, cluster: &str) -> Rights {
        let mut rights = Rights::default();
        for (name, role) in &self.roles {
            for bound in self.everywhere_by(name, role) {
                for holder in self.holders(bound) {
                    if name == ADMIN && role.builtin {
                        rights.administrators.push(holder.clone());
                    }
                    for template in &role.inherited {
                        self.give(&mut rights, bound, template, holder.clone(), None);
                    }
                }
            }
        }
        let said = self.clusters.get(cluster);
        let of_members = said.map_or("", |said| said.of_members.as_str());
        rights.isolated = said.is_some_and(|said| said.isolated);
        for name in self.projects_in.get(cluster).into_iter().flatten() {
            if let Some(project) = self.projects.get(name) {
                rights.projects.insert(name.clone(), project.clone());
            }
        }
        for bound in self.bound.in_cluster(cluster) {
            for holder in self.holders(bound) {
                match &bound.place {
                    BoundIn::Everything => {}
                    BoundIn::Cluster(_) => {
                        self.give(&mut rights, bound, &bound.role, holder, None);
                    }
                    BoundIn::Project { project, .. } => {
                        if self.cluster_of(project) != Some(cluster) {
                            continue;
                        }
                        self.give(&mut rights, bound, of_members, holder.clone(), None);
                        self.give(&mut rights, bound, &bound.role, holder, Some(project));
                    }
                }
            }
        }
        rights.administrators.sort_unstable();
        rights.administrators.dedup();
        rights
    }

    /// The bindings of a GlobalRole, if that says anything about clusters.
    fn everywhere_by<'a>(
        &'a self,
        name: &'a str,
        role: &'a Global,
    ) -> impl Iterator<Item = &'a Bound> {
        let reaches = reaches_clusters(name, role).then(|| self.bound.of_global_role(name));
        reaches.into_iter().flatten()
    }

    /// Adds a right, if there is such a template for that place.
    fn give(
        &self,
        rights: &mut Rights,
        bound: &Bound,
        role: &str,
        holder: Holder,
        project: Option<&str>,
    ) {
        let place = match project {
            Some(_) => RoleContext::Project,
            None => RoleContext::Cluster,
        };
        let with = self.templates.with_inherited(role);
        if with
            .first()
            .is_none_or(|template| template.context != place)
        {
            return;
        }
        for template in with {
            if !rights.roles.contains_key(template.name()) {
                let own = self.templates.with_inherited(template.name());
                let role = Role {
                    external: template.external,
                    rules: template.rules.clone(),
                    with: own.iter().map(|one| one.name().to_owned()).collect(),
                };
                rights.roles.insert(template.name().to_owned(), role);
            }
        }
        rights.bound.push(Right {
            binding: (bound.namespace.clone(), bound.name.clone()),
            role: role.to_owned(),
            holder,
            project: project.map(ToOwned::to_owned),
        });
    }

    /// To whom something is bound, by the names of clusters: a user who is known by a login provider's
    /// name is there once they have logged in.
    fn holders(&self, bound: &Bound) -> Vec<Holder> {
        match &bound.to {
            Whom::User { id, uid } => {
                let person = self.people.get(id);
                let same = person.is_some_and(|person| person.uid == *uid);
                same.then(|| Holder::User(id.clone())).into_iter().collect()
            }
            Whom::Principal(name) => {
                let users = self.by_principal.get(name).into_iter().flatten();
                users.map(|id| Holder::User(id.clone())).collect()
            }
            Whom::Group(name) => vec![Holder::Group(name.clone())],
        }
    }

    /// Wakes whoever waits for the clusters that a binding is about.
    pub(super) fn wake_for_binding(&self, key: &str) {
        let Some(bound) = self.bound.get(key) else {
            return;
        };
        match &bound.place {
            BoundIn::Cluster(cluster) | BoundIn::Project { cluster, .. } => {
                self.waiting.wake(cluster);
            }
            BoundIn::Everything => {
                let role = self.roles.get(&bound.role);
                if role.is_some_and(|role| reaches_clusters(&bound.role, role)) {
                    self.waiting.wake_all();
                }
            }
        }
    }

    /// The same for all that is bound to somebody.
    pub(super) fn wake_for_given(&self, given: Option<&Given>) {
        let Some(given) = given else { return };
        let mut everywhere = self.globals(&given.everywhere);
        if everywhere.any(|(_, name, role)| reaches_clusters(name, role)) {
            return self.waiting.wake_all();
        }
        for cluster in given.clusters.keys() {
            self.waiting.wake(cluster);
        }
    }
}

/// Whether a GlobalRole gives something in clusters, be it to get there.
pub(super) fn reaches_clusters(name: &str, role: &Global) -> bool {
    let get = ResourceAttributes {
        verb: "get",
        group: GROUP,
        resource: Cluster::PLURAL,
        subresource: "",
        namespace: "",
        name: "",
    };
    let opens = || role.rules.iter().any(|rule| rule.is_about(&get));
    (name == ADMIN && role.builtin) || !role.inherited.is_empty() || opens()
}
