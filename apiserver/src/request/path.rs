//! Method and path.

use super::options::asks_to_watch;
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
        /// Whether the path goes on below the subresource, as it does for proxies.
        deeper: bool,
        /// Whether it is a path of the older form for watches, such as `/api/v1/watch/pods`.
        watch: bool,
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
    fn of(method: &Method, has_name: bool, watch: bool) -> Option<Self> {
        Some(match (method.as_str(), has_name) {
            ("GET" | "HEAD", true) => Self::Get,
            ("GET" | "HEAD", false) if watch => Self::Watch,
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

    /// What a request does with a resource. `None`: the method means nothing there, or the path is no
    /// resource.
    #[must_use]
    pub fn verb(&self, method: &Method, query: &str) -> Option<Verb> {
        match self {
            Self::Resource { watch: true, .. } => {
                (*method == Method::GET || *method == Method::HEAD).then_some(Verb::Watch)
            }
            Self::Resource { name, .. } => Verb::of(method, name.is_some(), asks_to_watch(query)),
            Self::Path(_) => None,
        }
    }
}

/// As people write it, for example `pods/exec`; the path of what is no resource.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Resource {
                resource,
                subresource: Some(subresource),
                ..
            } => write!(f, "{resource}/{subresource}"),
            Self::Resource { resource, .. } => f.write_str(resource),
        }
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // The subresources of a namespace itself are not resources in it.
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
        {
            (Some(*namespace), rest)
        }
        rest => (None, rest),
    };
    let (resource, name, subresource, deeper) = match rest {
        [resource] => (resource, None, None, false),
        [resource, name] => (resource, Some(*name), None, false),
        [resource, name, sub, deeper @ ..] => {
            (resource, Some(*name), Some(*sub), !deeper.is_empty())
        }
        [] => return None,
    };
    Some(Target::Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        resource: (*resource).to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
        deeper,
        watch,
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
                deeper,
                watch,
            } => {
                let optional = [namespace, Some(resource), name, subresource];
                let optional = optional.map(|part| part.unwrap_or_else(|| "-".into()));
                let more = [(deeper, " …"), (watch, " watch")];
                let more = more.map(|(holds, word)| if holds { word } else { "" });
                format!("{group} {version} {}{}", optional.join(" "), more.concat())
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
            ("/api/v1/a/b/c/d", " v1 - a b c …"),
            ("/api/v1/watch/pods", " v1 - pods - - watch"),
            ("/api/v1/watch/namespaces/a/pods/b", " v1 a pods b - watch"),
            ("/version", "/version"),
        ] {
            assert_eq!(summary(path), expected, "{path}");
        }
    }

    #[test]
    fn requests_are_read_as_kube_apiserver_reads_them() {
        for (method, path, query, expected) in [
            ("GET", "/api/v1/pods", "limit=5", "list pods"),
            ("GET", "/api/v1/pods", "watch=true", "watch pods"),
            ("GET", "/api/v1/pods", "watch", "watch pods"),
            ("GET", "/api/v1/pods", "watch=0&watch=1", "list pods"),
            (
                "GET",
                "/api/v1/pods",
                "watch=False&watchable=1",
                "list pods",
            ),
            ("GET", "/api/v1/namespaces/a/pods/b", "watch=1", "get pods"),
            ("GET", "/api/v1/watch/pods", "", "watch pods"),
            ("GET", "/api/v1/namespaces/a/pods/b/log", "", "get pods/log"),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "",
                "update namespaces/finalize",
            ),
            (
                "POST",
                "/apis/apps/v1/namespaces/a/deployments",
                "",
                "create deployments",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods",
                "",
                "deletecollection pods",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "",
                "patch deployments/scale",
            ),
            ("PUT", "/api/v1/pods", "", "- pods"),
            ("POST", "/api/v1/watch/pods", "", "- pods"),
            ("GET", "/apis/apps/v1", "", "- /apis/apps/v1"),
        ] {
            let target = Target::parse(path);
            let verb = target.verb(&method.parse().unwrap(), query);
            let verb = verb.map_or("-", Verb::as_str);
            assert_eq!(
                format!("{verb} {target}"),
                expected,
                "{method} {path}?{query}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(path: String) {
            let _ = Target::parse(&path);
        }
    }
}
