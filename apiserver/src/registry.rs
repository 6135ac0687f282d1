//! What is served: resources with their versions, described by data.

use crate::admission::Hooks;
use crate::names;
use crate::object::{Object, ObjectError};
use crate::schema::{self, Extent, Schema};
use crate::table::Printer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

/// A resource: one kind of objects, in one or more versions.
#[derive(Clone, Debug)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// In URLs, for example `clusters`.
    pub plural: String,
    /// For example `cluster`.
    pub singular: String,
    /// For example `Cluster`.
    pub kind: String,
    /// For example `ClusterList`.
    pub list_kind: String,
    /// What kubectl takes instead of the plural.
    pub short_names: Vec<String>,
    /// Groups of resources, for example `all`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether a user defined it.
    pub defined: bool,
    /// Whether it is one of Kubernetes' own: its name in OpenAPI is that of its Go type, and it takes
    /// strategic merge patches.
    pub built_in: bool,
    /// Whether its objects hold what nobody may read who holds the store: they are sealed in it.
    pub secret: bool,
    /// How objects may be named.
    pub naming: Naming,
    /// The versions that are served, the preferred one first.
    pub versions: Vec<Arc<Version>>,
    /// The version in which objects are stored.
    pub storage: String,
    /// What happens when objects are written.
    pub hooks: Arc<dyn Hooks>,
}

/// A version of a resource.
#[derive(Debug)]
pub struct Version {
    /// For example `v1`.
    pub name: String,
    /// What its objects hold.
    pub schema: Arc<Schema>,
    /// What `kubectl get` prints beside the name.
    pub printer: Printer,
    /// Whether `status` is written through a subresource of its own.
    pub status: bool,
    /// Where the `scale` subresource finds its numbers.
    pub scale: Option<Scale>,
    /// Fields that field selectors may name besides name and namespace, for example
    /// `spec.nodeName`.
    pub selectable: Vec<String>,
    /// What clients are warned with.
    pub deprecation: Option<String>,
    /// Whether objects may have been stored under another schema.
    pub evolved: bool,
}

/// A column of `kubectl get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// For example `int32`.
    pub format: String,
    /// For people.
    pub description: String,
    /// Columns above 0 are shown with `-o wide` only.
    pub priority: i32,
    /// JSONPath of the value, for example `.spec.displayName`.
    pub path: String,
}

/// Where the `scale` subresource finds its numbers: JSONPaths without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The wanted number, under `.spec`.
    pub spec_replicas: String,
    /// The found number, under `.status`.
    pub status_replicas: String,
    /// The selector as text, under `.status` or `.spec`.
    pub selector: Option<String>,
}

/// How objects of a resource may be named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// See [`names::subdomain`].
    #[default]
    Subdomain,
    /// See [`names::dns_label`].
    Label,
    /// See [`names::path_segment`].
    PathSegment,
}

/// The resources that are served, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    resources: BTreeMap<(String, String), Arc<Resource>>,
}

impl Version {
    /// A stored object as one of this version: without the fields that the schema does not have any
    /// more, and with its defaults.
    pub(crate) fn fit(&self, api_version: &str, mut object: Object) -> Result<Object, ObjectError> {
        let fields = object.fields_mut();
        fields.insert("apiVersion".into(), api_version.into());
        if !self.evolved {
            return Ok(object);
        }
        let mut value = object.into_value();
        schema::prune(&self.schema, &mut value, Extent::Resource);
        schema::set_defaults(&self.schema, &mut value);
        Object::new(value)
    }
}

/// A registry that changes while it is served. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<RwLock<Arc<Registry>>>);

impl Served {
    /// Begins with that registry.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(registry))))
    }

    /// What is served now.
    #[must_use]
    pub fn now(&self) -> Arc<Registry> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is served.
    pub fn change(&self, change: impl FnOnce(&mut Registry)) {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut served));
    }
}

impl Naming {
    /// Checks a name.
    ///
    /// # Errors
    /// What the name must be.
    pub fn check(self, name: &str) -> Result<(), String> {
        match self {
            Self::Subdomain => names::subdomain(name),
            Self::Label => names::dns_label(name),
            Self::PathSegment => names::path_segment(name),
        }
    }
}

impl Resource {
    /// `apiVersion` of its objects in a version.
    #[must_use]
    pub fn api_version(&self, version: &str) -> String {
        match self.group.as_str() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// The path of an object in a version. `namespace` is empty for kinds without.
    #[must_use]
    pub fn path(&self, version: &str, namespace: &str, name: &str) -> String {
        let root = match self.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let place = match namespace {
            "" => String::new(),
            namespace => format!("/namespaces/{namespace}"),
        };
        format!("{root}{place}/{}/{name}", self.plural)
    }

    /// The fields that selectors may name in any of its versions.
    #[must_use]
    pub fn selectable(&self) -> Vec<String> {
        let fields = self.versions.iter().flat_map(|version| &version.selectable);
        let fields: BTreeSet<_> = fields.cloned().collect();
        fields.into_iter().collect()
    }

    /// The name in OpenAPI of the type of a kind of this resource, its own or that of its lists: as of
    /// the Go type for a built-in kind, with the group from its end to its beginning for others.
    #[must_use]
    pub fn type_name(&self, version: &str, kind: &str) -> String {
        let mut parts: Vec<_> = self.group.split('.').collect();
        let package = match (self.built_in, parts[0]) {
            (true, "apiextensions") => {
                "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions".into()
            }
            (true, "") => "io.k8s.api.core".into(),
            (true, first) => format!("io.k8s.api.{first}"),
            (false, _) => {
                parts.reverse();
                parts.join(".")
            }
        };
        format!("{package}.{version}.{kind}")
    }

    /// A version that is served.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.name == name)
    }
}

impl Registry {
    /// Adds a resource, or replaces the one of the same group and plural.
    pub fn insert(&mut self, resource: Resource) {
        let key = (resource.group.clone(), resource.plural.clone());
        self.resources.insert(key, Arc::new(resource));
    }

    /// Stops serving a resource.
    pub fn remove(&mut self, group: &str, plural: &str) {
        self.resources
            .remove(&(group.to_owned(), plural.to_owned()));
    }

    /// The resource with that plural in a group.
    #[must_use]
    pub fn get(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.get(&(group.to_owned(), plural.to_owned()))
    }

    /// All resources, by group and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// Groups with the versions that are served of them, the preferred one first. A version is
    /// preferred as Kubernetes orders them: `v2`, `v1`, `v1beta1`, `v1alpha1`, anything else.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for resource in self.iter() {
            let versions = groups.entry(resource.group.clone()).or_default();
            for version in &resource.versions {
                if !versions.contains(&version.name) {
                    versions.push(version.name.clone());
                }
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_cached_key(|version| std::cmp::Reverse(rank(version)));
        }
        groups
    }
}

/// Stability, major and minor number of a version; names of another form come last.
pub(crate) fn rank(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let other = || (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else {
        return other();
    };
    let end = rest
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let Ok(major) = major.parse() else {
        return other();
    };
    let numbered = |stability: u8, minor: &str| match minor.parse() {
        Ok(minor) => (stability, major, minor, std::cmp::Reverse(String::new())),
        Err(_) => other(),
    };
    match rest {
        "" => (3, major, 0, std::cmp::Reverse(String::new())),
        rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
            (Some(minor), _) => numbered(2, minor),
            (_, Some(minor)) => numbered(1, minor),
            _ => other(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_stability() {
        let mut versions = [
            "foo1",
            "v1alpha2",
            "v1",
            "v10",
            "v2beta1",
            "v11alpha2",
            "foo10",
            "v2",
        ];
        versions.sort_by_cached_key(|version| std::cmp::Reverse(rank(version)));
        let expected = [
            "v10",
            "v2",
            "v1",
            "v2beta1",
            "v11alpha2",
            "v1alpha2",
            "foo1",
            "foo10",
        ];
        assert_eq!(versions, expected);
    }
}
