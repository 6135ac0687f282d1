//! What may be asked with a token that is good for reading only.

use apiserver::request::Target;
use http::header::UPGRADE;
use http::{Method, Request};
use lariat_api::ClusterId;

use super::route::Route;
use crate::authz::Action;
use crate::norman;

/// API groups of Kubernetes whose POSTs only ask a question.
const QUESTIONS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Whether reading is all that a request does, here or in a cluster. Asking who somebody is and what they may do is
/// reading, and the token may end itself. `chosen` is the cluster chosen by the TLS server name.
pub(super) fn is_all<B>(request: &Request<B>, chosen: Option<&ClusterId>) -> bool {
    let (method, uri) = (request.method(), request.uri());
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let upgrades = request.headers().contains_key(UPGRADE);
    match Route::parse(target, chosen) {
        Ok(Route::Cluster { rest, .. }) => of_kubernetes(method, rest, upgrades),
        Ok(Route::Management) => of_kubernetes(method, target, upgrades),
        Ok(Route::Norman {
            segments,
            public: false,
        }) if method == Method::POST => norman::is_logout(&segments, uri.query()),
        Ok(_) => reads(method),
        Err(_) => false,
    }
}

/// The same of a request to an API server of Kubernetes.
fn of_kubernetes(method: &Method, path_and_query: &str, upgrades: bool) -> bool {
    let action = Action::parse(method, path_and_query);
    if is_ambiguous(path_and_query) || action.acts() {
        return false;
    }
    // What carries bytes both ways and is no watch and no log acts, whatever a cluster calls it: consoles of
    // virtual machines, for example.
    if upgrades && !action.is_long_running() {
        return false;
    }
    reads(method) || (method == Method::POST && asks(&action.target))
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn asks(target: &Target) -> bool {
    matches!(target, Target::Resource { group, name: None, .. }
        if QUESTIONS.contains(&group.as_str()))
}

/// Whether an API server could see another object in a path than is seen here: it decodes the path before it looks
/// for slashes, and drops no empty segments.
fn is_ambiguous(path_and_query: &str) -> bool {
    let (path, _) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    path.contains("//") || path.to_ascii_lowercase().contains("%2f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IN_CLUSTER: &str = "/k8s/clusters/c-1";

    /// Requests to an API server of Kubernetes that are allowed: method, path, and whether it asks for an upgrade.
    const READING: [&str; 20] = [
        "GET /api",
        "GET /apis/apps/v1",
        "OPTIONS /apis",
        "GET /api/v1/pods?limit=5",
        "HEAD /api/v1/namespaces/a/pods/b",
        "GET /api/v1/namespaces/a/secrets/b",
        "GET /api/v1/namespaces/a/pods/b/status",
        "GET /api/v1/namespaces/a/pods/b?x=%2F//exec",
        "GET /api/v1/namespaces/proxy/pods/exec",
        "GET /apis/apps/v1/namespaces/a/deployments/proxy",
        "GET /api/v1/pods?watch=true",
        "GET /api/v1/pods?watch=true upgrade",
        "GET /api/v1/watch/pods upgrade",
        "GET /api/v1/namespaces/a/pods/b/log?follow=true",
        "GET /api/v1/namespaces/a/pods/b/log?follow=true upgrade",
        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "POST /apis/authorization.k8s.io/v1/namespaces/a/localsubjectaccessreviews",
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews",
        "POST /apis/authentication.k8s.io/v1/tokenreviews",
    ];

    /// Those that are not.
    const ACTING: [&str; 33] = [
        "PUT /apis/authentication.k8s.io/v1/selfsubjectreviews/x",
        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews upgrade",
        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x/y",
        "POST /apis/authorization.k8s.io",
        "POST /apis/example.org/v1/authorization.k8s.io",
        "POST /apis/rbac.authorization.k8s.io/v1/clusterroles",
        "POST /api/v1/namespaces/a/serviceaccounts/b/token",
        "POST /api/v1/namespaces/a/pods",
        "POST /api/v1/namespaces/a/pods?dryRun=All",
        "POST /api/v1/namespaces/a/pods/b/eviction",
        "PUT /api/v1/namespaces/a/pods/b",
        "PATCH /apis/apps/v1/namespaces/a/deployments/b/scale",
        "DELETE /api/v1/namespaces/a/pods/b",
        "DELETE /api/v1/namespaces/a/pods",
        "CONNECT /api/v1/namespaces/a/pods",
        "TRACE /api/v1/namespaces/a/pods",
        "get /api/v1/namespaces/a/pods",
        "POST /api",
        "GET /api/v1/namespaces/a/pods/b/exec?command=sh upgrade",
        "GET /api/v1/namespaces/a/pods/b/exec?command=sh&watch=true",
        "GET /api/v1/namespaces/a/pods/b/ex%65c upgrade",
        "GET /api/v1/namespaces/a/pods/b/attach upgrade",
        "GET /api/v1/namespaces/a/pods/b/portforward upgrade",
        "GET /api/v1/namespaces/a/pods/b:80/proxy/",
        "GET /api/v1/namespaces/a/services/b/proxy/restart",
        "GET /api/v1/nodes/n/proxy/configz",
        "OPTIONS /api/v1/nodes/n/proxy/run",
        "HEAD /api/v1/watch/nodes/n/proxy",
        "GET /api/v1/nodes/n%2Fproxy/run",
        "GET /api/v1/namespaces//pods/b/exec upgrade",
        "GET /apis/subresources.kubevirt.io/v1/namespaces/a/machines/b/console upgrade",
        "GET /api/v1/namespaces/a/pods upgrade",
        "GET /api/v1/namespaces/a/pods/b?watch=true upgrade",
    ];

    fn allowed(method: &str, path: &str, upgrades: bool, chosen: Option<&ClusterId>) -> bool {
        let request = Request::builder().method(method).uri(path);
        let request = if upgrades {
            request.header("upgrade", "websocket")
        } else {
            request
        };
        is_all(&request.body(()).unwrap(), chosen)
    }

    /// Method, path, and whether it asks for an upgrade.
    fn parts(line: &str) -> (&str, &str, bool) {
        let (method, rest) = line.split_once(' ').unwrap();
        match rest.strip_suffix(" upgrade") {
            Some(path) => (method, path, true),
            None => (method, rest, false),
        }
    }

    #[test]
    fn an_api_server_is_read_and_asked_and_nothing_else() {
        let chosen = "c-1".parse().unwrap();
        let reading = READING.map(|line| (line, true));
        let acting = ACTING.map(|line| (line, false));
        for (line, expected) in reading.into_iter().chain(acting) {
            let (method, path, upgrades) = parts(line);
            let beneath = format!("{IN_CLUSTER}{path}");
            for found in [
                allowed(method, path, upgrades, None),
                allowed(method, &beneath, upgrades, None),
                allowed(method, path, upgrades, Some(&chosen)),
            ] {
                assert_eq!(found, expected, "{line}");
            }
        }
    }

    #[test]
    fn the_other_face_is_read_as_well_and_a_token_ends_itself() {
        for (line, expected) in [
            ("GET /v3/clusters", true),
            ("GET /v3/subscribe?resourceTypes=cluster upgrade", true),
            ("GET /v3/tokens?action=logout", true),
            ("GET /metrics", true),
            ("POST /metrics", false),
            ("POST /v3/tokens?action=logout", true),
            ("POST /v3/Token?x=y&action=logoutAll", true),
            ("PUT /v3/tokens?action=logout", false),
            ("DELETE /v3/tokens/token-1", false),
            ("POST /v3/tokens", false),
            ("POST /v3/tokens?x=logout", false),
            ("POST /v3/tokens?action=x&action=logout", false),
            ("POST /v3/tokens/token-1?action=logout", false),
            ("POST /v3/clusters/c-1/tokens?action=logout", false),
            ("POST /v3-public/tokens?action=logout", false),
            ("POST /v3/users?action=logout", false),
            ("POST /v3/users?action=changepassword", false),
            ("POST /v3/clusters/c-1?action=generateKubeconfig", false),
            ("POST /v3/deviceLogins/AAAA-AAAA?action=approve", false),
            ("PATCH /v3/clusters/c-1", false),
            ("GET /v3/../tokens", false),
        ] {
            let (method, path, upgrades) = parts(line);
            let found = allowed(method, path, upgrades, None);
            assert_eq!(found, expected, "{line}");
        }
        // With a cluster chosen by name, every path is one of that.
        let chosen = "c-1".parse().unwrap();
        let logout = "/v3/tokens?action=logout";
        assert!(!allowed("POST", logout, false, Some(&chosen)));
    }

    proptest! {
        #[test]
        fn what_acts_is_refused_however_it_is_written(
            method in "GET|HEAD|OPTIONS|POST",
            before in "(/|//|/watch/)(namespaces/a/)?",
            kind in "pods|services|nodes",
            slash in "/|//|%2f|%2F",
            act in "exec|attach|portforward|proxy|pr%6fxy|%65xec",
            after in "(/x)?",
            upgrades in any::<bool>(),
        ) {
            let path = format!("{IN_CLUSTER}/api/v1{before}{kind}/n{slash}{act}{after}");
            prop_assert!(!allowed(&method, &path, upgrades, None), "{path}");
        }

        #[test]
        fn other_methods_change_something(
            method in "POST|PUT|PATCH|DELETE|CONNECT|[A-Z]{3,7}",
            rest in "[/a-z0-9]{0,20}",
        ) {
            prop_assume!(!matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS"));
            let path = format!("{IN_CLUSTER}/api/v1/namespaces/a/pods/{rest}");
            prop_assert!(!allowed(&method, &path, false, None), "{path}");
        }
    }
}
