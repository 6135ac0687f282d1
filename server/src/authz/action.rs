//! What a request does, as its audit line and its refusal name it.

use apiserver::request::{Target, Verb};
use http::Method;

/// What a request to a Kubernetes API server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// A verb of Kubernetes, or the method in lower case where there is none.
    pub verb: &'static str,
    /// With what.
    pub target: Target,
}

impl Action {
    /// Parses. `path_and_query` begins with a slash.
    #[must_use]
    pub fn parse(method: &Method, path_and_query: &str) -> Self {
        let (path, query) = path_and_query
            .split_once('?')
            .unwrap_or((path_and_query, ""));
        let target = Target::parse(path);
        let verb = if acts(&target) {
            Verb::Create.as_str()
        } else {
            let verb = target.verb(method, query);
            verb.map_or_else(|| plain_verb(method), Verb::as_str)
        };
        Self { verb, target }
    }

    /// The part of an object that it is about; empty where it is about a whole one.
    #[must_use]
    pub fn subresource(&self) -> &str {
        subresource(&self.target)
    }

    /// Whether it acts, be it by a method that elsewhere only reads.
    #[must_use]
    pub fn acts(&self) -> bool {
        acts(&self.target)
    }

    /// Whether the answer goes on until somebody ends it.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.verb == Verb::Watch.as_str()
    }

    /// Whether the answer may go on for long: a watch, a log, or what is carried in both directions.
    #[must_use]
    pub fn is_long_running(&self) -> bool {
        self.is_watch() || self.acts() || subresource(&self.target) == "log"
    }
}

/// Over WebSocket these are GET requests, and still they act.
fn acts(target: &Target) -> bool {
    matches!(
        subresource(target),
        "exec" | "attach" | "portforward" | "proxy"
    )
}

fn subresource(target: &Target) -> &str {
    match target {
        Target::Resource { subresource, .. } => subresource.as_deref().unwrap_or_default(),
        Target::Path(_) => "",
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn action(method: &str, path: &str) -> String {
        let action = Action::parse(&method.parse().unwrap(), path);
        format!("{} {}", action.verb, action.target)
    }

    #[test]
    fn what_acts_in_a_cluster_is_create_whatever_the_method() {
        for path in ["exec", "attach", "portforward", "proxy"] {
            for method in ["GET", "POST"] {
                let full = format!("/api/v1/namespaces/a/pods/b/{path}?watch=true");
                assert_eq!(action(method, &full), format!("create pods/{path}"));
            }
        }
        assert_eq!(
            action("GET", "/api/v1/nodes/n/pr%6fxy/exec/x"),
            "create nodes/proxy"
        );
    }

    #[test]
    fn watches_logs_and_what_acts_may_go_on_for_long() {
        for (path, expected) in [
            ("/api/v1/pods?watch=1", true),
            ("/api/v1/namespaces/a/pods/b/log", true),
            ("/api/v1/namespaces/a/pods/b/exec", true),
            ("/api/v1/namespaces/a/pods/b/status", false),
            ("/api/v1/namespaces/a/configmaps/log", false),
            ("/version", false),
        ] {
            let action = Action::parse(&Method::GET, path);
            assert_eq!(action.is_long_running(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_resource_is_named_by_method_and_path() {
        assert_eq!(action("GET", "/version?x"), "get /version");
        assert_eq!(action("POST", "/"), "post /");
        assert_eq!(action("GET", "/api/v1/pods?watch=1"), "watch pods");
    }

    proptest! {
        /// The tunnel cannot ask the library: an agent has none.
        #[test]
        fn the_tunnel_knows_the_same_watches(query in "(&?(watch|w%61tch|Watch|x)(=(0|1|true|False|%30)?)?){0,3}") {
            let asked = apiserver::request::asks_to_watch(&query);
            prop_assert_eq!(tunnel::http::is_watch(&query), asked);
        }

        #[test]
        fn nothing_panics(path: String) {
            let _ = Action::parse(&Method::GET, &path);
        }
    }
}
