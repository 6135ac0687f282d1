//! Method and path.

use http::Method;

/// What the path of a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A resource, or one object of it.
    Resource {
        /// API group; empty for the core group.
        group: String,
        /// Its version.
        version: String,
        /// Namespace, where the path names one.
        namespace: Option<String>,
        /// Plural name.
        resource: String,
        /// Name of the object; none for the collection.
        name: Option<String>,
        /// For example `status`.
        subresource: Option<String>,
    },
    /// Anything else, for example `/version` or `/apis/example.org`.
    Path(String),
}

/// What a request does, as authorisation and audit call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the verbs of Kubernetes")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb of a request for a resource. `None`: the method means nothing there.
    #[must_use]
    pub fn of(method: &Method, has_name: bool, watch: bool) -> Option<Self> {
        Some(match (method.as_str(), has_name) {
            ("GET" | "HEAD", _) if watch => Self::Watch,
            ("GET" | "HEAD", true) => Self::Get,
            ("GET" | "HEAD", false) => Self::List,
            ("POST", _) => Self::Create,
            ("PUT", true) => Self::Update,
            ("PATCH", true) => Self::Patch,
            ("DELETE", true) => Self::Delete,
            ("DELETE", false) => Self::DeleteCollection,
            _ => return None,
        })
    }

    /// Its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Target {
    /// Parses a path that begins with a slash.
    #[must_use]
    pub fn parse(path: &str) -> Self {
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let resource = match segments.as_slice() {
            ["api", version, rest @ ..] => resource("", version, rest),
            ["apis", group, version, rest @ ..] => resource(group, version, rest),
            _ => None,
        };
        resource.unwrap_or_else(|| Self::Path(path.to_owned()))
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, rest) = match rest {
        // The subresources of a namespace itself are not resources in it.
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
        {
            (Some(*namespace), rest)
        }
        rest => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (resource, None, None),
        [resource, name] => (resource, Some(*name), None),
        [resource, name, subresource] => (resource, Some(*name), Some(*subresource)),
        _ => return None,
    };
    Some(Target::Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        resource: (*resource).to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(path: &str) -> String {
        match Target::parse(path) {
            Target::Resource {
                group,
                version,
                namespace,
                resource,
                name,
                subresource,
            } => {
                let optional = [namespace, Some(resource), name, subresource];
                let optional = optional.map(|part| part.unwrap_or_else(|| "-".into()));
                format!("{group} {version} {}", optional.join(" "))
            }
            Target::Path(path) => path,
        }
    }

    #[test]
    fn paths_name_resources() {
        for (path, expected) in [
            ("/api/v1/nodes", " v1 - nodes - -"),
            ("/api/v1/namespaces/a", " v1 - namespaces a -"),
            ("/api/v1/namespaces/a/status", " v1 - namespaces a status"),
            ("/api/v1/namespaces/a/secrets/b", " v1 a secrets b -"),
            ("/apis/g.io/v3/things/x/scale", "g.io v3 - things x scale"),
            ("/apis/g.io/v3/namespaces/n/things", "g.io v3 n things - -"),
            ("/apis/g.io/v3/things/a%2Fb", "g.io v3 - things a/b -"),
            ("/apis/g.io/v3", "/apis/g.io/v3"),
            ("/api/v1/a/b/c/d", "/api/v1/a/b/c/d"),
            ("/version", "/version"),
        ] {
            assert_eq!(summary(path), expected, "{path}");
        }
    }

    #[test]
    fn methods_are_verbs() {
        let of = |method: &str, name, watch| Verb::of(&method.parse().unwrap(), name, watch);
        assert_eq!(of("GET", false, false), Some(Verb::List));
        assert_eq!(of("GET", false, true), Some(Verb::Watch));
        assert_eq!(of("DELETE", false, false), Some(Verb::DeleteCollection));
        assert_eq!(of("PUT", false, false), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(path: String) {
            let _ = Target::parse(&path);
        }
    }
}
