//! Who has been given what: roles, bindings and projects, found by those to whom they are bound.
//! [`Directory`] keeps it true to the store.
//!
//! A role for clusters or projects says what people may do *there*. Of that, the management API takes
//! only what concerns the few kinds that live in the namespaces of clusters and projects: a rule for
//! all resources opens no Secret here.

mod bound;
mod grants;
mod held;
mod projects;
mod rights;
mod template;
mod waiting;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use apiserver::keys;
use apiserver::rbac::{Derived, Found, Rule};
use apiserver::serve::{Attributes, User};
use kube::core::ObjectMeta;
use lariat_api::{
    Cluster, ClusterRoleTemplateBinding, GROUP, GlobalRole, GlobalRoleBinding, Kind, Project,
    ProjectRoleTemplateBinding, RoleTemplate, UserAttribute, VERSION,
};
use store::Entry;
use tokio::sync::watch;

use crate::authn::Directory;
use crate::stored::{kind_of, readable};
use bound::{Bound, Everybody, Given};
pub(crate) use held::{Held, Place, Standing};
pub(crate) use projects::{InCluster, Limited, Purpose};
pub(crate) use rights::{Holder, Right, Rights, Role};
use template::Templates;
pub(crate) use template::{Template, own_rules, rules};
use waiting::Waiting;

/// The GlobalRole whose holders administer the server.
pub(crate) const ADMIN: &str = "admin";

/// The kinds whose objects say who may do what.
pub(crate) fn prefixes() -> [String; 7] {
    use crate::stored::prefix;
    [
        prefix::<GlobalRole>(),
        prefix::<GlobalRoleBinding>(),
        prefix::<RoleTemplate>(),
        prefix::<ClusterRoleTemplateBinding>(),
        prefix::<ProjectRoleTemplateBinding>(),
        prefix::<Project>(),
        prefix::<UserAttribute>(),
    ]
}

/// Who has been given what.
#[derive(Debug, Default)]
pub(crate) struct Access {
    people: HashMap<String, Person>,
    /// Ids of users, by the names that login providers have for them.
    by_principal: HashMap<String, BTreeSet<String>>,
    /// By the ids of the users of whom they are.
    attributes: HashMap<String, Attribute>,
    clusters: HashMap<String, InManagement>,
    projects: HashMap<String, InCluster>,
    /// The names of those in each cluster.
    projects_in: HashMap<String, BTreeSet<String>>,
    roles: HashMap<String, Global>,
    templates: Templates,
    bound: Everybody,
    waiting: Waiting,
    /// How often somebody may do more or less than before.
    changes: u64,
    /// How often a role that was there says something else.
    rewritten: u64,
}

/// A user.
#[derive(Debug, PartialEq, Eq)]
struct Person {
    /// Bindings are for this: a user who is made again under an old id is somebody else.
    uid: String,
    principals: Vec<String>,
}

/// What login providers say of a user.
#[derive(Debug, PartialEq)]
struct Attribute {
    uid: String,
    groups: Arc<[String]>,
}

/// What a Cluster says of its projects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct InManagement {
    /// The template that members of projects get in the cluster. Empty: none.
    of_members: String,
    /// Whether namespaces of one project are closed to others.
    isolated: bool,
}

/// A GlobalRole.
#[derive(Debug, PartialEq)]
struct Global {
    rules: Vec<Rule>,
    namespaced: HashMap<String, Vec<Rule>>,
    /// Names of templates that are given in every cluster.
    inherited: Vec<String>,
    builtin: bool,
    new_user_default: bool,
}

impl Access {
    /// Takes in an object of the kinds of [`prefixes`], a user or a cluster, or that it is gone. Others
    /// are none of its business. Returns whether it was one of them.
    pub(crate) fn set(&mut self, key: &str, entry: Option<&Entry>) -> bool {
        let Some((plural, below)) = kind_of(key) else {
            return false;
        };
        let (_, name) = keys::split(below);
        let change = match plural {
            lariat_api::User::PLURAL => self.set_person(name, entry),
            UserAttribute::PLURAL => put(&mut self.attributes, name, entry, Attribute::new),
            GlobalRole::PLURAL => self.set_role(name, entry),
            Project::PLURAL => self.set_project(name, entry),
            Cluster::PLURAL => self.set_cluster(name, entry),
            RoleTemplate::PLURAL => {
                let change = self.templates.set(name, entry.and_then(readable));
                self.rewritten += u64::from(change == Change::Other);
                self.waiting.wake_all();
                change
            }
            GlobalRoleBinding::PLURAL => {
                let bound = entry
                    .and_then(readable)
                    .as_ref()
                    .and_then(Bound::everywhere);
                self.set_binding(key, bound)
            }
            ClusterRoleTemplateBinding::PLURAL => {
                let bound = entry
                    .and_then(readable)
                    .as_ref()
                    .and_then(Bound::in_cluster);
                self.set_binding(key, bound)
            }
            ProjectRoleTemplateBinding::PLURAL => {
                let bound = entry
                    .and_then(readable)
                    .as_ref()
                    .and_then(Bound::in_project);
                self.set_binding(key, bound)
            }
            _ => return false,
        };
        self.changes += u64::from(change != Change::None);
        true
    }

    /// Something else has changed that a cluster is to be told of.
    pub(crate) fn changed_in(&self, cluster: &str) {
        self.waiting.wake(cluster);
    }

    /// Wakes whenever what people may do in a cluster may have changed.
    pub(crate) fn changes_in(&self, cluster: &str) -> watch::Receiver<()> {
        self.waiting.at(cluster)
    }

    fn set_binding(&mut self, key: &str, bound: Option<Bound>) -> Change {
        self.wake_for_binding(key);
        let change = self.bound.set(key, bound);
        self.wake_for_binding(key);
        change
    }

    fn set_person(&mut self, id: &str, entry: Option<&Entry>) -> Change {
        let person = entry.and_then(readable).and_then(Person::new);
        let before = self.people.remove(id);
        for name in before.iter().flat_map(|before| &before.principals) {
            if let Some(users) = self.by_principal.get_mut(name) {
                users.remove(id);
                if users.is_empty() {
                    self.by_principal.remove(name);
                }
            }
        }
        for name in person.iter().flat_map(|person| &person.principals) {
            let users = self.by_principal.entry(name.clone()).or_default();
            users.insert(id.to_owned());
        }
        let change = Change::between(before.as_ref(), person.as_ref());
        if change != Change::None {
            for person in before.iter().chain(&person) {
                self.wake_for_given(self.bound.users.get(&person.uid));
                for name in &person.principals {
                    self.wake_for_given(self.bound.principals.get(name));
                }
            }
        }
        if let Some(person) = person {
            self.people.insert(id.to_owned(), person);
        }
        change
    }

    fn set_role(&mut self, name: &str, entry: Option<&Entry>) -> Change {
        let reaches = |access: &Self| {
            let role = access.roles.get(name);
            role.is_some_and(|role| rights::reaches_clusters(name, role))
        };
        let before = reaches(self);
        let change = put(&mut self.roles, name, entry, Global::new);
        self.rewritten += u64::from(change == Change::Other);
        if before || reaches(self) {
            self.waiting.wake_all();
        }
        change
    }

    fn set_project(&mut self, name: &str, entry: Option<&Entry>) -> Change {
        let project = entry.and_then(readable).and_then(InCluster::new);
        let before = self.projects.get(name).map(|before| &before.cluster);
        // What its namespaces may take is none of this.
        let change = Change::between(before, project.as_ref().map(|project| &project.cluster));
        if let Some(before) = self.projects.remove(name) {
            self.waiting.wake(&before.cluster);
            if let Some(names) = self.projects_in.get_mut(&before.cluster) {
                names.remove(name);
                if names.is_empty() {
                    self.projects_in.remove(&before.cluster);
                }
            }
        }
        if let Some(project) = project {
            self.waiting.wake(&project.cluster);
            let names = self.projects_in.entry(project.cluster.clone());
            names.or_default().insert(name.to_owned());
            self.projects.insert(name.to_owned(), project);
        }
        change
    }

    fn set_cluster(&mut self, name: &str, entry: Option<&Entry>) -> Change {
        let cluster: Option<Cluster> = entry.and_then(readable);
        let said = cluster.map(|cluster| InManagement {
            of_members: cluster.spec.default_cluster_role_for_project_members,
            isolated: cluster.spec.enable_network_policy,
        });
        // One that does not parse is there all the same.
        let said = entry.map(|_| said.unwrap_or_default());
        let before = match said.clone() {
            Some(said) => self.clusters.insert(name.to_owned(), said),
            None => self.clusters.remove(name),
        };
        let change = Change::between(before.as_ref(), said.as_ref());
        if change != Change::None {
            self.waiting.wake(name);
        }
        change
    }

    /// A number that is another whenever somebody may do more or less than before.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// All that is given to a user who is in some groups. Who has lost something of it may do less.
    pub(crate) fn holdings(&self, user: &str, groups: &[String]) -> HashSet<Holding> {
        let mut held = HashSet::new();
        let mut add = |place: &str, binding: &str, role: &str| {
            held.insert(Holding {
                place: place.to_owned(),
                binding: binding.to_owned(),
                role: role.to_owned(),
                rewritten: self.rewritten,
            });
        };
        for (given, _) in self.given(user, groups) {
            for (binding, role) in &given.everywhere {
                add("", binding, role);
            }
            for (cluster, within) in &given.clusters {
                for (binding, role) in &within.roles {
                    add(cluster, binding, role);
                }
                for (project, roles) in &within.projects {
                    for (binding, role) in roles {
                        add(project, binding, role);
                    }
                }
            }
        }
        held
    }

    /// Something has changed that concerns every cluster.
    pub(crate) fn wake_all(&self) {
        self.waiting.wake_all();
    }

    /// A template with all that it inherits.
    pub(crate) fn template(&self, name: &str) -> Option<&Template> {
        self.templates.get(name)
    }

    /// The roles that new users get.
    pub(crate) fn roles_of_new_users(&self) -> Vec<String> {
        let roles = self.roles.iter().filter(|(_, role)| role.new_user_default);
        let mut names: Vec<_> = roles.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// The groups of a user at login providers.
    pub(crate) fn groups_of(&self, user: &str) -> Arc<[String]> {
        let groups = self.people.get(user).and_then(|person| {
            let attribute = self.attributes.get(user)?;
            (attribute.uid == person.uid).then(|| Arc::clone(&attribute.groups))
        });
        groups.unwrap_or_default()
    }

    /// Whether a user who is in some groups administers the server.
    pub(crate) fn is_administrator(&self, user: &str, groups: &[String]) -> bool {
        let admin = self.roles.get(ADMIN).is_some_and(|role| role.builtin);
        admin && self.given(user, groups).any(|(given, _)| given.has(ADMIN))
    }

    /// All projects, with their clusters.
    pub(crate) fn projects(&self) -> impl Iterator<Item = (&str, &str)> {
        let projects = self.projects.iter();
        projects.map(|(project, place)| (project.as_str(), place.cluster.as_str()))
    }

    /// The cluster of a project.
    pub(crate) fn cluster_of(&self, project: &str) -> Option<&str> {
        Some(&self.projects.get(project)?.cluster)
    }

    /// Whether a project is for what its cluster itself needs.
    pub(crate) fn is_system(&self, project: &str) -> bool {
        let project = self.projects.get(project);
        project.is_some_and(|project| project.purpose == Purpose::System)
    }

    /// What is bound to a user who is in some groups, each with the one to whom it is.
    fn given<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
    ) -> impl Iterator<Item = (&'a Given, To<'a>)> {
        let person = self.people.get(user);
        let own = person.and_then(|person| self.bound.users.get(&person.uid));
        let own = own.map(|given| (given, To("User", user)));
        let principals = person.into_iter().flat_map(|person| &person.principals);
        let principals = principals
            .filter_map(move |name| Some((self.bound.principals.get(name)?, To("User", name))));
        let groups = groups.iter();
        let groups =
            groups.filter_map(move |name| Some((self.bound.groups.get(name)?, To("Group", name))));
        own.into_iter().chain(principals).chain(groups)
    }
}

/// Kind and name of the one to whom something is bound.
#[derive(Clone, Copy, Debug)]
struct To<'a>(&'static str, &'a str);

impl Derived for Directory {
    fn grants(
        &self,
        user: &User,
        namespace: &str,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    ) {
        self.access(
            |access| match access.grants(user, namespace, asked, found) {
                ControlFlow::Continue(()) | ControlFlow::Break(()) => {}
            },
        );
    }

    fn namespaces(&self, user: &User) -> Vec<String> {
        self.access(|access| access.namespaces(user))
    }
}

/// Something that is given to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holding {
    place: String,
    binding: String,
    role: String,
    rewritten: u64,
}

/// What becomes of what is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing.
    None,
    /// It is known now.
    New,
    /// It is another, or gone.
    Other,
}

impl Change {
    fn between<T: PartialEq>(before: Option<&T>, now: Option<&T>) -> Self {
        match (before, now) {
            (None, Some(_)) => Self::New,
            (before, now) if before == now => Self::None,
            _ => Self::Other,
        }
    }
}

/// Puts what is made of an object under its name, or takes it away.
fn put<K: Kind, T: PartialEq>(
    map: &mut HashMap<String, T>,
    name: &str,
    entry: Option<&Entry>,
    new: fn(K) -> Option<T>,
) -> Change {
    let made = entry.and_then(readable).and_then(new);
    let change = Change::between(map.get(name), made.as_ref());
    match made {
        Some(made) => drop(map.insert(name.to_owned(), made)),
        None => drop(map.remove(name)),
    }
    change
}

impl Person {
    fn new(user: lariat_api::User) -> Option<Self> {
        Some(Self {
            uid: user.metadata.uid?,
            principals: user.principal_ids,
        })
    }
}

impl Attribute {
    fn new(attribute: UserAttribute) -> Option<Self> {
        let uid = owner(&attribute.metadata, attribute.name())?;
        let groups = attribute.group_principals.into_values();
        let groups = groups.flat_map(|groups| groups.items);
        let ids = groups.map(|group| group.id);
        Some(Self {
            uid,
            // Whatever a provider says, nobody gets into a group of this server or of Kubernetes.
            groups: ids.filter(|id| id.contains("://")).collect(),
        })
    }
}

impl Global {
    fn new(role: GlobalRole) -> Option<Self> {
        let namespaced = role.namespaced_rules.iter();
        let namespaced = namespaced.map(|(namespace, allowed)| (namespace.clone(), rules(allowed)));
        Some(Self {
            namespaced: namespaced.collect(),
            rules: rules(&role.rules),
            inherited: role.inherited_cluster_roles,
            builtin: role.builtin,
            new_user_default: role.new_user_default,
        })
    }
}

/// The uid of a user who owns an object, as the server wrote it down when that was made.
fn owner(meta: &ObjectMeta, user: &str) -> Option<String> {
    let mut owners = meta.owner_references.iter().flatten();
    let found = owners.find(|owner| {
        let ours = owner.api_version == format!("{GROUP}/{VERSION}");
        ours && owner.kind == lariat_api::User::KIND && owner.name == user
    });
    found
        .map(|owner| owner.uid.clone())
        .filter(|uid| !uid.is_empty())
}

#[cfg(test)]
mod tests;
