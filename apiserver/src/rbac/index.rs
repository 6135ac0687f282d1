//! Roles and bindings, found by those to whom they are bound.

use super::Rule;
use super::object::{Binding, Known, Role, RoleRef};
use crate::serve::User;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All roles and bindings.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By namespace; the empty one has the ClusterRoles and their bindings.
    scopes: HashMap<String, Scope>,
}

#[derive(Debug, Default)]
struct Scope {
    roles: BTreeMap<String, Role>,
    bindings: BTreeMap<String, Binding>,
    /// Names of bindings by the user, or by the group, that they are for.
    of_users: HashMap<String, BTreeSet<String>>,
    of_groups: HashMap<String, BTreeSet<String>>,
}

/// What a binding gives to somebody.
pub(super) struct Grant<'a> {
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    /// The rules; why there are none if the role is not there.
    pub(super) rules: Result<&'a [Rule], String>,
}

impl Index {
    /// A role is as given, or gone.
    pub(super) fn set_role(&mut self, namespace: &str, name: &str, role: Option<Role>) {
        let roles = &mut self.scope(namespace).roles;
        match role {
            Some(role) => drop(roles.insert(name.to_owned(), role)),
            None => drop(roles.remove(name)),
        }
        self.drop_empty(namespace);
    }

    /// A binding is as given, or gone.
    pub(super) fn set_binding(&mut self, namespace: &str, name: &str, binding: Option<Binding>) {
        let scope = self.scope(namespace);
        if let Some(before) = scope.bindings.remove(name) {
            for known in before.known(namespace) {
                let (of, subject) = scope.of(known);
                if let Some(names) = of.get_mut(&subject) {
                    names.remove(name);
                    if names.is_empty() {
                        of.remove(&subject);
                    }
                }
            }
        }
        if let Some(binding) = binding {
            for known in binding.known(namespace) {
                let (of, subject) = scope.of(known);
                of.entry(subject).or_default().insert(name.to_owned());
            }
            scope.bindings.insert(name.to_owned(), binding);
        }
        self.drop_empty(namespace);
    }

    /// What is given to a user: everywhere, and in a namespace unless that is empty.
    pub(super) fn grants<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = Grant<'a>> {
        let places = [""]
            .into_iter()
            .chain(Some(namespace).filter(|namespace| !namespace.is_empty()));
        let scopes = places.filter_map(|place| Some((place, self.scopes.get(place)?)));
        scopes.flat_map(move |(namespace, scope)| {
            let names = scope.names_for(user).into_iter();
            names.filter_map(move |name| {
                let binding = scope.bindings.get(name)?;
                let rules = self.rules_of(&binding.role_ref, namespace);
                Some(Grant {
                    namespace,
                    name,
                    binding,
                    rules,
                })
            })
        })
    }

    /// The rules of the role that a binding in a namespace means.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], String> {
        let (place, what) = match role.kind.as_str() {
            "Role" => (namespace, "role"),
            "ClusterRole" => ("", "clusterrole"),
            other => return Err(format!("unsupported role reference kind: {other:?}")),
        };
        let scope = self.scopes.get(place);
        let found = scope.and_then(|scope| scope.roles.get(&role.name));
        let missing = || format!("{what}.{} {:?} not found", super::GROUP, role.name);
        found.map(|role| role.rules.as_slice()).ok_or_else(missing)
    }

    /// The ClusterRoles whose rules are not those of the roles that they select, with these.
    pub(super) fn stale(&self) -> Vec<(String, Vec<Rule>)> {
        let Some(scope) = self.scopes.get("") else {
            return Vec::new();
        };
        let aggregated = scope.roles.iter().filter(|(_, role)| role.is_aggregated());
        let wanted = aggregated.map(|(name, role)| (name, role, scope.selected(name, role)));
        wanted
            .filter(|(_, role, wanted)| role.rules != *wanted)
            .map(|(name, _, wanted)| (name.clone(), wanted))
            .collect()
    }

    /// The namespaces in which something is given to a user that is not given everywhere.
    pub(super) fn namespaces<'a>(&'a self, user: &User) -> impl Iterator<Item = &'a str> {
        let named = self.scopes.iter().filter(|(name, _)| !name.is_empty());
        let given = named.filter(|(_, scope)| !scope.names_for(user).is_empty());
        given.map(|(name, _)| name.as_str())
    }

    fn scope(&mut self, namespace: &str) -> &mut Scope {
        self.scopes.entry(namespace.to_owned()).or_default()
    }

    fn drop_empty(&mut self, namespace: &str) {
        let empty = |scope: &Scope| scope.roles.is_empty() && scope.bindings.is_empty();
        if self.scopes.get(namespace).is_some_and(empty) {
            self.scopes.remove(namespace);
        }
    }
}

impl Scope {
    fn of(&mut self, known: Known) -> (&mut HashMap<String, BTreeSet<String>>, String) {
        match known {
            Known::User(name) => (&mut self.of_users, name),
            Known::Group(name) => (&mut self.of_groups, name),
        }
    }

    fn names_for(&self, user: &User) -> BTreeSet<&str> {
        let groups = user.groups.iter();
        let of_groups = groups.filter_map(|group| self.of_groups.get(group));
        let found = self.of_users.get(&user.name).into_iter().chain(of_groups);
        found.flatten().map(String::as_str).collect()
    }

    /// The rules of all roles that a role selects, in the order of the selectors and of their names,
    /// each rule once.
    fn selected(&self, name: &str, role: &Role) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for selector in role.selectors() {
            let others = self.roles.iter().filter(|(other, _)| *other != name);
            for (_, other) in others.filter(|(_, other)| other.is_meant(&selector)) {
                for rule in &other.rules {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
        rules
    }
}

impl Binding {
    fn known(&self, namespace: &str) -> Vec<Known> {
        let subjects = self.subjects.iter();
        subjects
            .filter_map(|subject| subject.known(namespace))
            .collect()
    }
}

impl Grant<'_> {
    /// Why a user is allowed what a rule of this grant allows.
    pub(super) fn reason(&self, user: &User) -> String {
        let is = |known: Known| match known {
            Known::User(name) => name == user.name,
            Known::Group(name) => user.groups.contains(&name),
        };
        let mut subjects = self.binding.subjects.iter();
        let subject = subjects.find(|subject| subject.known(self.namespace).is_some_and(is));
        let subject = subject.map_or_else(String::new, |subject| subject.shown(self.namespace));
        let (kind, name) = match self.namespace {
            "" => ("ClusterRoleBinding", self.name.to_owned()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        let role = &self.binding.role_ref;
        format!(
            "RBAC: allowed by {kind} {name:?} of {} {:?} to {subject}",
            role.kind, role.name
        )
    }
}
