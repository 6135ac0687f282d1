//! What somebody is given, as rules in the places of the management API.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use apiserver::rbac::{ANY_NAME, Found, Rule};
use apiserver::serve::{Attributes, User};
use lariat_api::{
    Cluster, ClusterRoleTemplateBinding, ClusterTunnel, GROUP, GlobalRole, GlobalRoleBinding, Kind,
    Preference, Project, ProjectRoleTemplateBinding, RoleContext, RoleTemplate, Setting, Token,
};

use super::bound::{Given, GivenIn, Roles};
use super::{Access, Global, Template, To};

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 3] = ["update", "patch", "delete"];

/// What the namespace of a request is.
enum Namespace<'a> {
    OfCluster,
    OfProject { cluster: &'a str },
    Other,
}

/// Which objects of a kind are asked about.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// All: it is not said what is asked, or about which.
    Any,
    /// The kind as such.
    Kind,
    Named(&'a str),
    No,
}

impl Access {
    /// What a user is given everywhere, and in a namespace unless that is empty. See
    /// [`Derived::grants`](apiserver::rbac::Derived::grants).
    pub(crate) fn grants(
        &self,
        user: &User,
        namespace: &str,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        if self.people.contains_key(&user.name) && concerns_own(asked) {
            found(&own(&user.name, namespace), &Oneself(&user.name))?;
        }
        for (given, to) in self.given(&user.name, &user.groups) {
            self.everywhere(given, to, namespace, asked, found)?;
            match Asked::of::<Cluster>(asked) {
                Asked::Any => {
                    for (cluster, within) in &given.clusters {
                        self.reach(cluster, within, to, found)?;
                    }
                }
                Asked::Named(cluster) => {
                    if let Some(within) = given.clusters.get(cluster) {
                        self.reach(cluster, within, to, found)?;
                    }
                }
                Asked::Kind | Asked::No => {}
            }
            match self.namespace(namespace) {
                Namespace::OfCluster => {
                    if let Some(within) = given.clusters.get(namespace) {
                        self.in_cluster(namespace, within, to, asked, found)?;
                    }
                }
                Namespace::OfProject { cluster } => {
                    if let Some(within) = given.clusters.get(cluster) {
                        self.in_project(cluster, namespace, within, to, found)?;
                    }
                }
                Namespace::Other => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// The namespaces in which a user may be given something.
    pub(crate) fn namespaces(&self, user: &User) -> Vec<String> {
        let mut namespaces = BTreeSet::new();
        if self.people.contains_key(&user.name) {
            namespaces.insert(&user.name);
        }
        for (given, _) in self.given(&user.name, &user.groups) {
            for (_, _, role) in self.globals(&given.everywhere) {
                namespaces.extend(role.namespaced.keys());
                if self.inherited(role).next().is_some() {
                    namespaces.extend(self.clusters.keys().chain(self.projects.keys()));
                }
            }
            namespaces.extend(given.clusters.keys());
            let all = self.projects.iter();
            let reached = all.filter(|(_, place)| given.clusters.contains_key(&place.cluster));
            namespaces.extend(reached.map(|(project, _)| project));
        }
        namespaces.into_iter().cloned().collect()
    }

    /// What GlobalRoles give: their rules, and in all clusters what they inherit.
    fn everywhere(
        &self,
        given: &Given,
        to: To<'_>,
        namespace: &str,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        for (binding, name, role) in self.globals(&given.everywhere) {
            let by = By {
                binding: (GlobalRoleBinding::KIND, binding, ""),
                role: (GlobalRole::KIND, name),
                to,
            };
            found(&role.rules, &by)?;
            if !namespace.is_empty()
                && let Some(rules) = role.namespaced.get(namespace)
            {
                found(rules, &by)?;
            }
            for template in self.inherited(role) {
                if !matches!(Asked::of::<Cluster>(asked), Asked::No) {
                    found(&cluster("", template.owns_cluster), &by)?;
                }
                match self.namespace(namespace) {
                    Namespace::OfCluster => found(&template.in_cluster, &by)?,
                    Namespace::OfProject { .. } => found(&template.in_project, &by)?,
                    Namespace::Other => {}
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The Cluster itself, for whoever has a role in it or in a project of it.
    fn reach(
        &self,
        cluster: &str,
        within: &GivenIn,
        to: To<'_>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        for (binding, role, template) in self.templates_of(&within.roles, RoleContext::Cluster) {
            let by = By::in_cluster(binding, cluster, role, to);
            found(&self::cluster(cluster, template.owns_cluster), &by)?;
        }
        for (project, roles) in self.projects_of(cluster, within) {
            for (binding, role, _) in self.templates_of(roles, RoleContext::Project) {
                let by = By::in_project(binding, project, role, to);
                found(&self::cluster(cluster, false), &by)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// What lives in the namespace of a cluster, for who has a role there; and the Project itself, for who
    /// has one in it.
    fn in_cluster(
        &self,
        cluster: &str,
        within: &GivenIn,
        to: To<'_>,
        asked: Option<&Attributes<'_>>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        for (binding, role, template) in self.templates_of(&within.roles, RoleContext::Cluster) {
            let by = By::in_cluster(binding, cluster, role, to);
            found(&template.in_cluster, &by)?;
        }
        let asked = Asked::of::<Project>(asked);
        for (project, roles) in self.projects_of(cluster, within) {
            let is_asked = match asked {
                Asked::Any => true,
                Asked::Named(name) => name == project,
                Asked::Kind | Asked::No => false,
            };
            if !is_asked {
                continue;
            }
            for (binding, role, template) in self.templates_of(roles, RoleContext::Project) {
                let by = By::in_project(binding, project, role, to);
                found(&[object::<Project>(project, template.owns_project)], &by)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// What lives in the namespace of a project, for who has a role in it or in its cluster.
    fn in_project(
        &self,
        cluster: &str,
        project: &str,
        within: &GivenIn,
        to: To<'_>,
        found: &mut Found<'_>,
    ) -> ControlFlow<()> {
        for (binding, role, template) in self.templates_of(&within.roles, RoleContext::Cluster) {
            let by = By::in_cluster(binding, cluster, role, to);
            found(&template.in_project, &by)?;
        }
        let Some(roles) = within.projects.get(project) else {
            return ControlFlow::Continue(());
        };
        for (binding, role, template) in self.templates_of(roles, RoleContext::Project) {
            let by = By::in_project(binding, project, role, to);
            found(&template.in_project, &by)?;
        }
        ControlFlow::Continue(())
    }

    fn namespace(&self, name: &str) -> Namespace<'_> {
        if self.clusters.contains_key(name) {
            return Namespace::OfCluster;
        }
        match self.cluster_of(name) {
            Some(cluster) => Namespace::OfProject { cluster },
            None => Namespace::Other,
        }
    }

    /// The GlobalRoles that are there, with the bindings that give them and their names.
    pub(super) fn globals<'a>(
        &'a self,
        roles: &'a Roles,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Global)> {
        roles.iter().filter_map(move |(binding, role)| {
            Some((binding.as_str(), role.as_str(), self.roles.get(role)?))
        })
    }

    /// The templates that a GlobalRole gives in every cluster.
    pub(super) fn inherited<'a>(&'a self, role: &'a Global) -> impl Iterator<Item = &'a Template> {
        let names = role.inherited.iter();
        let templates = names.filter_map(move |name| self.template(name));
        templates.filter(|template| template.context == RoleContext::Cluster)
    }

    /// The templates that are there and are for that place, with the bindings that give them and their
    /// names.
    pub(super) fn templates_of<'a>(
        &'a self,
        roles: &'a Roles,
        context: RoleContext,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Template)> {
        let there = roles.iter().filter_map(move |(binding, role)| {
            Some((binding.as_str(), role.as_str(), self.template(role)?))
        });
        there.filter(move |(_, _, template)| template.context == context)
    }

    /// The projects that are still in the cluster.
    fn projects_of<'a>(
        &'a self,
        cluster: &'a str,
        within: &'a GivenIn,
    ) -> impl Iterator<Item = (&'a str, &'a Roles)> {
        let projects = within.projects.iter();
        let there = projects.filter(move |(project, _)| self.cluster_of(project) == Some(cluster));
        there.map(|(project, roles)| (project.as_str(), roles))
    }
}

impl<'a> Asked<'a> {
    fn of<K: Kind>(asked: Option<&Attributes<'a>>) -> Self {
        match asked {
            None => Self::Any,
            Some(Attributes::Resource(what))
                if (what.group, what.resource) == (GROUP, K::PLURAL)
                    && matches!(what.subresource, "" | ClusterTunnel::SUBRESOURCE) =>
            {
                match what.name {
                    "" => Self::Kind,
                    ANY_NAME => Self::Any,
                    name => Self::Named(name),
                }
            }
            Some(_) => Self::No,
        }
    }
}

/// Reading an object itself, or what its owner does with it. All objects of the kind if it has no name.
fn object<K: Kind>(name: &str, owned: bool) -> Rule {
    let own = WRITE.iter().copied().chain(["own"]);
    let verbs = READ.iter().copied().chain(own.filter(|_| owned));
    let names = Some(name).filter(|name| !name.is_empty());
    Rule {
        resource_names: names.into_iter().map(ToOwned::to_owned).collect(),
        ..rule::<K>(verbs)
    }
}

/// Reading a Cluster and how its tunnel is doing, with the requests that somebody has sent through it; for its owner,
/// those of everybody.
fn cluster(name: &str, owned: bool) -> [Rule; 2] {
    let verbs = ["get"]
        .into_iter()
        .chain(["list"].into_iter().filter(|_| owned));
    let tunnel = Rule {
        verbs: verbs.map(ToOwned::to_owned).collect(),
        resources: vec![format!(
            "{}/{}",
            Cluster::PLURAL,
            ClusterTunnel::SUBRESOURCE
        )],
        ..object::<Cluster>(name, false)
    };
    [object::<Cluster>(name, owned), tunnel]
}

fn rule<'a, K: Kind>(verbs: impl IntoIterator<Item = &'a str>) -> Rule {
    Rule {
        verbs: verbs.into_iter().map(ToOwned::to_owned).collect(),
        api_groups: vec![GROUP.to_owned()],
        resources: vec![K::PLURAL.to_owned()],
        ..Rule::default()
    }
}

/// What every user may do, as it concerns nobody else.
fn own(user: &str, namespace: &str) -> Vec<Rule> {
    let mut rules = vec![
        object::<lariat_api::User>(user, false),
        rule::<Setting>(READ),
        rule::<Token>(["create"]),
    ];
    if namespace == user {
        let rest = ["create", "deletecollection"];
        rules.push(rule::<Preference>(
            READ.into_iter().chain(WRITE).chain(rest),
        ));
    }
    rules
}

fn concerns_own(asked: Option<&Attributes<'_>>) -> bool {
    match asked {
        None => true,
        Some(Attributes::Resource(what)) => what.group == GROUP,
        Some(Attributes::Path { .. }) => false,
    }
}

/// By what somebody is given something.
struct By<'a> {
    /// Kind, name and namespace.
    binding: (&'static str, &'a str, &'a str),
    /// Kind and name.
    role: (&'static str, &'a str),
    to: To<'a>,
}

impl<'a> By<'a> {
    fn in_cluster(binding: &'a str, cluster: &'a str, role: &'a str, to: To<'a>) -> Self {
        Self {
            binding: (ClusterRoleTemplateBinding::KIND, binding, cluster),
            role: (RoleTemplate::KIND, role),
            to,
        }
    }

    fn in_project(binding: &'a str, project: &'a str, role: &'a str, to: To<'a>) -> Self {
        Self {
            binding: (ProjectRoleTemplateBinding::KIND, binding, project),
            role: (RoleTemplate::KIND, role),
            to,
        }
    }
}

impl fmt::Display for By<'_> {
    /// As Kubernetes names what a RoleBinding gives.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((kind, name, namespace), To(whom, to)) = (self.binding, self.to);
        let slash = if namespace.is_empty() { "" } else { "/" };
        let name = format!("{name}{slash}{namespace}");
        let (role_kind, role) = self.role;
        write!(
            f,
            "{kind} {name:?} of {role_kind} {role:?} to {whom} {to:?}"
        )
    }
}

/// Somebody who is given what concerns nobody else.
struct Oneself<'a>(&'a str);

impl fmt::Display for Oneself<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "being User {:?}", self.0)
    }
}
