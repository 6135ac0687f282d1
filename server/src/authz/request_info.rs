//! What a request to a Kubernetes API server does, from its method and path. The rules are those
//! of kube-apiserver (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use http::Method;

/// What a request does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// A verb of Kubernetes, or the method in lower case for paths that are no resources.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural of the kind; empty for paths that are no resources.
    pub resource: String,
    /// Subresource, for example `exec`.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The path, for paths that are no resources.
    pub path: String,
}

impl RequestInfo {
    /// Parses. `path_and_query` begins with a slash.
    #[must_use]
    pub fn parse(method: &Method, path_and_query: &str) -> Self {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let segments: Vec<_> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _version, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _version, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                return Self {
                    verb: plain_verb(method),
                    path: path.to_owned(),
                    ..Self::default()
                };
            }
        };
        let mut info = Self {
            group: group.to_owned(),
            ..Self::default()
        };
        let rest = match rest {
            // A namespace's own subresources are not resources in that namespace.
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
            {
                info.namespace = decoded(namespace);
                rest
            }
            _ => rest,
        };
        info.resource = rest
            .first()
            .map_or_else(String::new, |resource| decoded(resource));
        info.name = rest.get(1).map_or_else(String::new, |name| decoded(name));
        info.subresource = rest.get(2).map_or_else(String::new, |sub| decoded(sub));
        info.verb = resource_verb(method, &info, query);
        info
    }

    /// Resource and subresource as people write them, for example `pods/exec`; the path for what
    /// is no resource.
    #[must_use]
    pub fn resource_name(&self) -> String {
        match (self.resource.as_str(), self.subresource.as_str()) {
            ("", _) => self.path.clone(),
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        }
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "other",
    }
}

fn resource_verb(method: &Method, info: &RequestInfo, query: &str) -> &'static str {
    // Over WebSocket these are GET requests, and still they act.
    let acts = matches!(
        info.subresource.as_str(),
        "exec" | "attach" | "portforward" | "proxy"
    );
    if acts {
        return "create";
    }
    let one = !info.name.is_empty();
    match (method.as_str(), one) {
        ("GET" | "HEAD", _) if watches(query) => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}

fn watches(query: &str) -> bool {
    query.split('&').any(|pair| {
        let value = pair.strip_prefix("watch").unwrap_or("=0");
        !matches!(value, "=0" | "=false") && (value.is_empty() || value.starts_with('='))
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

    fn summary(method: &str, path: &str) -> String {
        let info = RequestInfo::parse(&method.parse().unwrap(), path);
        let place = [&info.group, &info.namespace, &info.name]
            .map(String::as_str)
            .join("|");
        format!("{} {} {place}", info.verb, info.resource_name())
    }

    #[test]
    fn requests_are_read_as_kube_apiserver_reads_them() {
        for (method, path, expected) in [
            ("GET", "/api/v1/pods?limit=5", "list pods ||"),
            ("GET", "/api/v1/pods?watch=true", "watch pods ||"),
            (
                "GET",
                "/api/v1/pods?watch=false&watchable=1",
                "list pods ||",
            ),
            ("GET", "/api/v1/namespaces/a/pods/b", "get pods |a|b"),
            (
                "GET",
                "/api/v1/namespaces/a/pods/b/log",
                "get pods/log |a|b",
            ),
            ("GET", "/api/v1/namespaces/a", "get namespaces ||a"),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize",
                "update namespaces/finalize ||a",
            ),
            (
                "POST",
                "/apis/apps/v1/namespaces/a/deployments",
                "create deployments apps|a|",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods",
                "deletecollection pods |a|",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch deployments/scale apps|a|b",
            ),
            ("GET", "/apis/apps/v1", "get /apis/apps/v1 ||"),
            ("GET", "/version", "get /version ||"),
            ("POST", "/", "post / ||"),
        ] {
            assert_eq!(summary(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_acts_in_a_cluster_is_create_whatever_the_method() {
        for path in [
            "pods/b/exec",
            "pods/b/attach",
            "pods/b/portforward",
            "pods/b/proxy/x",
        ] {
            for method in ["GET", "POST"] {
                let path = format!("/api/v1/namespaces/a/{path}?watch=true");
                let info = RequestInfo::parse(&method.parse().unwrap(), &path);
                assert_eq!(info.verb, "create", "{method} {path}");
            }
        }
        let info = RequestInfo::parse(&Method::GET, "/api/v1/nodes/n/pr%6fxy/exec/x");
        assert_eq!((info.verb, info.subresource.as_str()), ("create", "proxy"));
    }

    proptest! {
        #[test]
        fn nothing_panics(path: String) {
            let _ = RequestInfo::parse(&Method::GET, &path);
        }
    }
}
