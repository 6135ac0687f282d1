//! What is bound, and to whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::core::ObjectMeta;
use lariat_api::{
    ClusterRoleTemplateBinding, GlobalRoleBinding, Kind as _, ProjectRoleTemplateBinding, Subject,
    Who,
};

use super::{Change, owner};

/// Names of roles by the names of the bindings that give them.
pub(super) type Roles = BTreeMap<String, String>;

/// What is bound, by those to whom.
#[derive(Debug, Default)]
pub(super) struct Everybody {
    /// By the uid of the user.
    pub(super) users: HashMap<String, Given>,
    /// By the name that a login provider has for the user.
    pub(super) principals: HashMap<String, Given>,
    pub(super) groups: HashMap<String, Given>,
    /// All bindings, by their keys.
    bindings: HashMap<String, Bound>,
    /// Keys of those in each cluster and in its projects.
    in_clusters: HashMap<String, BTreeSet<String>>,
    /// Keys of those that give each GlobalRole.
    of_global_roles: HashMap<String, BTreeSet<String>>,
}

/// What is bound to somebody.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// GlobalRoles.
    pub(super) everywhere: Roles,
    pub(super) clusters: BTreeMap<String, GivenIn>,
}

/// What is bound to somebody in a cluster.
#[derive(Debug, Default)]
pub(super) struct GivenIn {
    /// RoleTemplates in all of it.
    pub(super) roles: Roles,
    /// RoleTemplates in its projects.
    pub(super) projects: BTreeMap<String, Roles>,
}

/// A binding.
#[derive(Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) to: Whom,
    pub(super) place: BoundIn,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) role: String,
}

#[derive(Debug, PartialEq)]
pub(super) enum Whom {
    User { id: String, uid: String },
    Principal(String),
    Group(String),
}

#[derive(Debug, PartialEq)]
pub(super) enum BoundIn {
    Everything,
    Cluster(String),
    Project { cluster: String, project: String },
}

impl Everybody {
    /// A binding is as given, or gives nothing any more.
    pub(super) fn set(&mut self, key: &str, bound: Option<Bound>) -> Change {
        let change = Change::between(self.bindings.get(key), bound.as_ref());
        if change == Change::None {
            return change;
        }
        if let Some(before) = self.bindings.remove(key) {
            self.take(&before);
            let (index, by) = self.index(&before);
            if let Some(keys) = index.get_mut(by) {
                keys.remove(key);
                if keys.is_empty() {
                    index.remove(by);
                }
            }
        }
        if let Some(bound) = bound {
            let given = match &bound.to {
                Whom::User { uid, .. } => self.users.entry(uid.clone()),
                Whom::Principal(name) => self.principals.entry(name.clone()),
                Whom::Group(name) => self.groups.entry(name.clone()),
            };
            let roles = given.or_default().roles(&bound.place);
            roles.insert(bound.name.clone(), bound.role.clone());
            let (index, by) = self.index(&bound);
            index
                .entry(by.to_owned())
                .or_default()
                .insert(key.to_owned());
            self.bindings.insert(key.to_owned(), bound);
        }
        change
    }

    /// The binding of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Bound> {
        self.bindings.get(key)
    }

    /// The bindings in a cluster and in its projects, ordered by their keys.
    pub(super) fn in_cluster(&self, cluster: &str) -> impl Iterator<Item = &Bound> {
        self.indexed(self.in_clusters.get(cluster))
    }

    /// The bindings that give a GlobalRole, ordered by their keys.
    pub(super) fn of_global_role(&self, role: &str) -> impl Iterator<Item = &Bound> {
        self.indexed(self.of_global_roles.get(role))
    }

    fn indexed<'a>(
        &'a self,
        keys: Option<&'a BTreeSet<String>>,
    ) -> impl Iterator<Item = &'a Bound> {
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| self.bindings.get(key))
    }

    /// The index in which a binding is, and under what.
    fn index<'a>(&mut self, bound: &'a Bound) -> (&mut HashMap<String, BTreeSet<String>>, &'a str) {
        match &bound.place {
            BoundIn::Everything => (&mut self.of_global_roles, &bound.role),
            BoundIn::Cluster(cluster) | BoundIn::Project { cluster, .. } => {
                (&mut self.in_clusters, cluster)
            }
        }
    }

    fn take(&mut self, bound: &Bound) {
        let (map, whom) = match &bound.to {
            Whom::User { uid, .. } => (&mut self.users, uid),
            Whom::Principal(name) => (&mut self.principals, name),
            Whom::Group(name) => (&mut self.groups, name),
        };
        if let Some(given) = map.get_mut(whom) {
            given.roles(&bound.place).remove(&bound.name);
            given.drop_empty(&bound.place);
            if given.everywhere.is_empty() && given.clusters.is_empty() {
                map.remove(whom);
            }
        }
    }
}

impl Given {
    /// Whether a GlobalRole is among it.
    pub(super) fn has(&self, role: &str) -> bool {
        self.everywhere.values().any(|given| given == role)
    }

    fn roles(&mut self, place: &BoundIn) -> &mut Roles {
        let clusters = &mut self.clusters;
        match place {
            BoundIn::Everything => &mut self.everywhere,
            BoundIn::Cluster(cluster) => &mut clusters.entry(cluster.clone()).or_default().roles,
            BoundIn::Project { cluster, project } => {
                let within = clusters.entry(cluster.clone()).or_default();
                within.projects.entry(project.clone()).or_default()
            }
        }
    }

    fn drop_empty(&mut self, place: &BoundIn) {
        let (BoundIn::Cluster(cluster) | BoundIn::Project { cluster, .. }) = place else {
            return;
        };
        if let Some(within) = self.clusters.get_mut(cluster) {
            within.projects.retain(|_, roles| !roles.is_empty());
            if within.roles.is_empty() && within.projects.is_empty() {
                self.clusters.remove(cluster);
            }
        }
    }
}

impl Bound {
    /// What a binding gives in the management API and in every cluster; `None` if nothing.
    pub(super) fn everywhere(binding: &GlobalRoleBinding) -> Option<Self> {
        let (meta, role) = (&binding.metadata, &binding.global_role_name);
        Self::new(meta, &binding.subject, BoundIn::Everything, role)
    }

    /// What a binding gives in a cluster.
    pub(super) fn in_cluster(binding: &ClusterRoleTemplateBinding) -> Option<Self> {
        let cluster = binding.cluster_name.clone();
        if cluster != binding.namespace() {
            return None;
        }
        let (meta, role) = (&binding.metadata, &binding.role_template_name);
        Self::new(meta, &binding.subject, BoundIn::Cluster(cluster), role)
    }

    /// What a binding gives in a project.
    pub(super) fn in_project(binding: &ProjectRoleTemplateBinding) -> Option<Self> {
        let (cluster, project) = binding.project()?;
        if project.as_str() != binding.namespace() {
            return None;
        }
        let place = BoundIn::Project {
            cluster: cluster.into(),
            project: project.into(),
        };
        let (meta, role) = (&binding.metadata, &binding.role_template_name);
        Self::new(meta, &binding.subject, place, role)
    }

    fn new(meta: &ObjectMeta, subject: &Subject, place: BoundIn, role: &str) -> Option<Self> {
        // What is being deleted is gone, whatever it waits for.
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let to = match subject.who()? {
            Who::User(id) => Whom::User {
                id: id.to_owned(),
                uid: owner(meta, id)?,
            },
            Who::Principal(name) => Whom::Principal(name.to_owned()),
            Who::Group(name) => Whom::Group(name.to_owned()),
        };
        Some(Self {
            to,
            place,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone()?,
            role: role.to_owned(),
        })
    }
}
