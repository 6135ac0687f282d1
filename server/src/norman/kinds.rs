//! The types of this face: the kinds of the management API, and what clients of Rancher expect beside them of
//! a connected cluster.

use std::sync::Arc;

use apiserver::registry::{Registry, Resource};
use apiserver::schema::{Kind as Shape, Schema};
use lariat_api::{GROUP, Kind as _, Preference, VERSION};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::field::{self, Described};
use super::{namespaces, nodes, resource};

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b':');

/// A type of this face.
#[derive(Clone, Debug)]
pub(super) struct Type {
    /// The kind in camel case, for example `clusterRoleTemplateBinding`.
    pub(super) id: String,
    /// Its plural in camel case. In URLs it is in lower case.
    pub(super) plural: String,
    /// Where its objects are.
    pub(super) home: Home,
    /// The plural of the kind.
    pub(super) resource: String,
    source: Source,
}

/// Where the objects of a type are, and by that what their ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// On the server: `NAME`.
    Server,
    /// In the namespace of a cluster: `CLUSTER:NAME`.
    Cluster,
    /// In the namespace of a project: `PROJECT:NAME`.
    Project,
    /// In the namespace of who asks: `NAME`.
    Own,
    /// In a connected cluster: `NAME` in the context of the cluster.
    Inside,
    /// In a connected cluster: `CLUSTER:NAME`.
    InsideOf,
}

#[derive(Clone, Debug)]
enum Source {
    /// A kind of the management API.
    Kind { kind: String, schema: Arc<Schema> },
    /// A kind of a connected cluster.
    Core {
        kind: &'static str,
        described: fn() -> Described,
    },
}

impl Type {
    /// All types.
    pub(super) fn all(registry: &Registry) -> Vec<Self> {
        let kinds = registry.iter().filter_map(Self::of);
        kinds.chain([Self::namespace(), Self::node()]).collect()
    }

    /// The type of that id or plural, whatever the case of its letters.
    pub(super) fn find(registry: &Registry, name: &str) -> Option<Self> {
        let mut all = Self::all(registry).into_iter();
        all.find(|one| one.id.eq_ignore_ascii_case(name) || one.plural.eq_ignore_ascii_case(name))
    }

    fn of(resource: &Arc<Resource>) -> Option<Self> {
        let version = resource.version(VERSION)?;
        if resource.group != GROUP || resource.defined {
            return None;
        }
        let home = match resource.namespaced {
            false => Home::Server,
            true if resource.plural == Preference::PLURAL => Home::Own,
            true if has(&version.schema, "projectName") => Home::Project,
            true => Home::Cluster,
        };
        let id = lower_first(&resource.kind);
        Some(Self {
            plural: plural(&id, &resource.plural),
            id,
            home,
            resource: resource.plural.clone(),
            source: Source::Kind {
                kind: resource.kind.clone(),
                schema: Arc::clone(&version.schema),
            },
        })
    }

    fn namespace() -> Self {
        Self {
            id: "namespace".to_owned(),
            plural: "namespaces".to_owned(),
            home: Home::Inside,
            resource: "namespaces".to_owned(),
            source: Source::Core {
                kind: "Namespace",
                described: namespaces::described,
            },
        }
    }

    fn node() -> Self {
        Self {
            id: "node".to_owned(),
            plural: "nodes".to_owned(),
            home: Home::InsideOf,
            resource: "nodes".to_owned(),
            source: Source::Core {
                kind: "Node",
                described: nodes::described,
            },
        }
    }

    /// Its fields.
    pub(super) fn described(&self) -> Described {
        match &self.source {
            Source::Kind { schema, .. } => {
                let mut described = field::described(&self.id, schema);
                for (name, field) in resource::computed(&self.id) {
                    described.fields.entry(name).or_insert(field);
                }
                let parent = match self.home {
                    Home::Cluster => "clusterId",
                    Home::Project => "projectId",
                    _ => "",
                };
                if let Some(parent) = described.fields.get_mut(parent) {
                    parent.required = true;
                }
                described
            }
            Source::Core { described, .. } => described(),
        }
    }

    /// `apiVersion` and `kind` of its objects.
    pub(super) fn kind(&self) -> (String, &str) {
        match &self.source {
            Source::Kind { kind, .. } => (format!("{GROUP}/{VERSION}"), kind),
            Source::Core { kind, .. } => ("v1".to_owned(), kind),
        }
    }

    /// Whether its objects are in the clusters themselves.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self.home, Home::Inside | Home::InsideOf)
    }

    /// The path of an object in its API, or of all in a namespace, or of all.
    pub(super) fn path(&self, namespace: &str, name: &str) -> String {
        let mut path = match self.is_inside() {
            true => "/api/v1".to_owned(),
            false => format!("/apis/{GROUP}/{VERSION}"),
        };
        if !namespace.is_empty() {
            path += "/namespaces/";
            path.extend(utf8_percent_encode(namespace, PLAIN));
        }
        path += "/";
        path += &self.resource;
        if !name.is_empty() {
            path += "/";
            path.extend(utf8_percent_encode(name, PLAIN));
        }
        path
    }

    /// Whether its objects have a field of that name, of those that clients write.
    pub(super) fn has(&self, field: &str) -> bool {
        match &self.source {
            Source::Kind { schema, .. } => has(schema, field),
            Source::Core { .. } => false,
        }
    }
}

fn has(schema: &Schema, field: &str) -> bool {
    let own = |schema: &Schema| match &schema.kind {
        Shape::Object { properties, .. } => properties.contains_key(field),
        _ => false,
    };
    own(schema) || schema.field("spec").is_some_and(own)
}

fn lower_first(kind: &str) -> String {
    let mut letters = kind.chars();
    let first = letters.next().into_iter();
    first.flat_map(char::to_lowercase).chain(letters).collect()
}

/// The plural in camel case: as far as it is the same word, it is written as the id is.
fn plural(id: &str, plural: &str) -> String {
    let same = id.bytes().zip(plural.bytes());
    let same = same.take_while(|(id, plural)| id.eq_ignore_ascii_case(plural));
    let same = same.count();
    format!("{}{}", &id[..same], &plural[same..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_written_as_their_ids() {
        for (id, of_kind, expected) in [
            (
                "clusterRoleTemplateBinding",
                "clusterroletemplatebindings",
                "clusterRoleTemplateBindings",
            ),
            (
                "podSecurityPolicy",
                "podsecuritypolicies",
                "podSecurityPolicies",
            ),
            ("project", "projects", "projects"),
        ] {
            assert_eq!(plural(id, of_kind), expected);
        }
        assert_eq!(lower_first("AuthConfig"), "authConfig");
    }

    #[test]
    fn no_name_climbs_out_of_its_path() {
        let path = Type::namespace().path("", "../secrets?x=%2f#");
        assert_eq!(path, "/api/v1/namespaces/..%2Fsecrets%3Fx%3D%252f%23");
    }
}
