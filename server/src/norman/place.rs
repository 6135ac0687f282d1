//! What a path of this face names.

use std::fmt;

use apiserver::registry::Registry;
use lariat_api::{ClusterId, ProjectId};
use percent_encoding::percent_decode_str;

use super::kinds::{Home, Type};

/// Part of what to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    All,
    /// What belongs to a cluster.
    Cluster(ClusterId),
    /// What belongs to a project.
    Project(ClusterId, ProjectId),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// What there is.
    Root,
    /// Types.
    Schemas,
    /// A type.
    Schema(String),
    /// Changes as they happen.
    Subscribe,
    /// Objects of a type.
    Collection(Type),
    /// An object, by its id.
    Object(Type, String),
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nothing;

impl Scope {
    /// The id of its cluster.
    pub(super) fn cluster(&self) -> Option<&ClusterId> {
        match self {
            Self::All => None,
            Self::Cluster(id) | Self::Project(id, _) => Some(id),
        }
    }

    fn cluster_of(id: &str) -> Result<Self, Nothing> {
        Ok(Self::Cluster(id.parse().map_err(|_| Nothing)?))
    }

    pub(super) fn project_of(id: &str) -> Result<Self, Nothing> {
        let (cluster, project) = id.split_once(':').ok_or(Nothing)?;
        let cluster = cluster.parse().map_err(|_| Nothing)?;
        Ok(Self::Project(
            cluster,
            project.parse().map_err(|_| Nothing)?,
        ))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Cluster(id) => id.fmt(f),
            Self::Project(cluster, project) => write!(f, "{cluster}:{project}"),
        }
    }
}

/// Reads the segments of a path after `/v3`.
pub(super) fn parse(segments: &[&str], registry: &Registry) -> Result<(Scope, Place), Nothing> {
    let segments: Vec<String> = segments
        .iter()
        .map(|segment| decoded(segment))
        .collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (scope, rest) = match segments.as_slice() {
        // An object of its own as well, where nothing follows.
        [parent, id, rest @ ..] if !rest.is_empty() => match parent.to_lowercase().as_str() {
            "cluster" | "clusters" => (Scope::cluster_of(id)?, rest),
            "project" | "projects" => (Scope::project_of(id)?, rest),
            _ => (Scope::All, segments.as_slice()),
        },
        all => (Scope::All, all),
    };
    let find = |name: &str| {
        let found = Type::find(registry, name).ok_or(Nothing)?;
        let inside = found.home == Home::Inside;
        (!inside || scope != Scope::All)
            .then_some(found)
            .ok_or(Nothing)
    };
    let place = match rest {
        [] => Place::Root,
        ["schemas" | "schema"] => Place::Schemas,
        ["schemas" | "schema", id] => Place::Schema((*id).to_owned()),
        ["subscribe"] => Place::Subscribe,
        [name] => Place::Collection(find(name)?),
        [name, id] => Place::Object(find(name)?, (*id).to_owned()),
        _ => return Err(Nothing),
    };
    Ok((scope, place))
}

/// A segment as it is meant. One that holds a slash or a control character names nothing.
fn decoded(segment: &str) -> Result<String, Nothing> {
    let decoded = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Nothing)?;
    let plain = !decoded.contains(['/', '\\']) && !decoded.contains(char::is_control);
    plain.then(|| decoded.into_owned()).ok_or(Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (scope, place) = parse(&segments, &Registry::default()).ok()?;
        let place = match place {
            Place::Root => "root".to_owned(),
            Place::Schemas => "schemas".to_owned(),
            Place::Schema(id) => format!("schema {id}"),
            Place::Subscribe => "subscribe".to_owned(),
            Place::Collection(of) => of.plural,
            Place::Object(of, id) => format!("{} {id}", of.id),
        };
        Some(format!("{place} [{scope}]"))
    }

    #[test]
    fn paths_name_collections_objects_and_their_scope() {
        for (path, expected) in [
            ("", "root []"),
            ("schemas/Cluster", "schema Cluster []"),
            ("nodes", "nodes []"),
            ("NODE/c-1%3An", "node c-1:n []"),
            ("clusters/c-1/namespaces", "namespaces [c-1]"),
            ("cluster/c-1/namespaces/default", "namespace default [c-1]"),
            ("project/c-1:p-2/namespaces", "namespaces [c-1:p-2]"),
            ("cluster/c-1/schemas", "schemas [c-1]"),
        ] {
            assert_eq!(read(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_names_nothing() {
        for path in [
            "nothings",
            "namespaces",
            "clusters/C_1/namespaces",
            "projects/c-1/namespaces",
            "clusters/c-1/namespaces/a%2Fb",
            "clusters/c-1/namespaces/a%00",
            "clusters/c-1/namespaces/a/b",
            "nodes/%ff",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
