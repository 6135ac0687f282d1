//! Sessions in containers that must be recorded: which they are, and what else such users may not do,
//! because nobody would see it. Everybody else's requests only pass [`demanded`].
//!
//! Everything here fails closed: a session that cannot be recorded does not begin, one that cannot be
//! recorded any longer ends, and nothing goes over the connection that is not in the recording.

mod recorder;
mod request;
mod session;

use apiserver::error::ApiError;
use http::Method;
use http::header::{HeaderMap, UPGRADE};
use lariat_api::Cluster;

use crate::authn::Identity;
use crate::authz::{self, Action, Denied};
use crate::recordings::Outcome;
use crate::state::App;
use apiserver::request::Target;

pub(super) use request::Asked;
pub(super) use session::Recording;

/// What a request does that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter<'a> {
    /// It is of no interest.
    None,
    /// A session in a container.
    Session(Container<'a>),
    /// It asks the kubelet to do something, which can be to run a command.
    Kubelet,
    /// It becomes a connection over which anything may go.
    Connection,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Container<'a> {
    /// `exec` or `attach`.
    action: &'a str,
    namespace: &'a str,
    pod: &'a str,
}

/// Whether a request must be recorded, and what is to be known for it. Takes out of its headers what
/// cannot be recorded.
///
/// # Errors
/// When it must be and cannot be, or is a way around it.
pub(super) fn demanded(
    app: &App,
    who: &Identity,
    cluster: &Cluster,
    action: &Action,
    method: &Method,
    headers: &mut HeaderMap,
    query: &str,
) -> Result<Option<Asked>, ApiError> {
    let matter = Matter::of(action, method, headers);
    if matter == Matter::None || !authz::must_be_recorded(app, who, cluster) {
        return Ok(None);
    }
    let asked = match matter {
        Matter::None => return Ok(None),
        Matter::Session(container) => {
            let settings = cluster.spec.session_recording.as_ref();
            let input = settings.is_some_and(|settings| settings.input);
            Asked::read(container, headers, query, input)
        }
        Matter::Kubelet => Err(refused("a node is not told what to do past its API server")),
        Matter::Connection => Err(refused(
            "a connection through a proxy or to an API of its own cannot be",
        )),
    };
    if asked.is_err() {
        app.recordings.count(Outcome::Refused);
    }
    asked.map(Some)
}

impl<'a> Matter<'a> {
    fn of(action: &'a Action, method: &Method, headers: &HeaderMap) -> Self {
        let upgrades = headers.contains_key(UPGRADE);
        let Target::Resource {
            group,
            version,
            namespace,
            resource,
            name,
            subresource,
            deeper,
            watch: _,
        } = &action.target
        else {
            return if upgrades {
                Self::Connection
            } else {
                Self::None
            };
        };
        let what = (
            group.as_str(),
            version.as_str(),
            resource.as_str(),
            subresource.as_deref().unwrap_or_default(),
        );
        match (what, namespace, name) {
            (("", "v1", "pods", action @ ("exec" | "attach")), Some(namespace), Some(pod))
                if upgrades && !deeper =>
            {
                Self::Session(Container {
                    action,
                    namespace,
                    pod,
                })
            }
            // Bytes of a program that listens, not of a person who types.
            (("", "v1", "pods", "portforward"), Some(_), Some(_)) if !deeper => Self::None,
            _ if upgrades => Self::Connection,
            // `/run` of a kubelet is a POST, and no connection.
            (("", _, "nodes", "proxy"), ..) if !matches!(*method, Method::GET | Method::HEAD) => {
                Self::Kubelet
            }
            _ => Self::None,
        }
    }
}

/// 403: it must be recorded, and cannot be.
fn refused(why: &str) -> ApiError {
    Denied(format!(
        "your sessions in this cluster must be recorded: {why}"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matter(method: &Method, path: &str, upgrade: Option<&'static str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(upgrade) = upgrade {
            headers.insert(UPGRADE, upgrade.parse().unwrap());
        }
        let action = Action::parse(method, path);
        match Matter::of(&action, method, &headers) {
            Matter::Session(of) => format!("{} {}/{}", of.action, of.namespace, of.pod),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn sessions_and_ways_around_them_are_told_from_the_rest() {
        let pod = "/api/v1/namespaces/a/pods/b";
        let socket = Some("websocket");
        for (method, path, upgrade, expected) in [
            ("GET", format!("{pod}/exec?command=sh"), socket, "exec a/b"),
            (
                "POST",
                format!("{pod}/attach"),
                Some("SPDY/3.1"),
                "attach a/b",
            ),
            ("GET", format!("{pod}/%65xec"), socket, "exec a/b"),
            ("POST", format!("{pod}/exec"), None, "None"),
            (
                "POST",
                format!("{pod}/portforward"),
                Some("SPDY/3.1"),
                "None",
            ),
            ("GET", format!("{pod}/proxy/shell"), socket, "Connection"),
            ("GET", format!("{pod}/proxy/page"), None, "None"),
            (
                "GET",
                "/api/v1/namespaces/a/services/b/proxy/".into(),
                socket,
                "Connection",
            ),
            (
                "GET",
                "/api/v1/nodes/n/proxy/exec/a/b/c".into(),
                socket,
                "Connection",
            ),
            (
                "POST",
                "/api/v1/nodes/n/proxy/run/a/b/c?cmd=id".into(),
                None,
                "Kubelet",
            ),
            (
                "POST",
                "/api/v1/nodes/n:10250/proxy/run/a/b/c".into(),
                None,
                "Kubelet",
            ),
            ("GET", "/api/v1/nodes/n/proxy/metrics".into(), None, "None"),
            (
                "GET",
                "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/b/console"
                    .into(),
                socket,
                "Connection",
            ),
            (
                "GET",
                "/apis/example.org/v1/namespaces/a/pods/b/exec".into(),
                socket,
                "Connection",
            ),
            ("GET", format!("{pod}/exec/more"), socket, "Connection"),
            ("GET", "/anything".into(), socket, "Connection"),
            ("DELETE", pod.into(), None, "None"),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(matter(&method, &path, upgrade), expected, "{method} {path}");
        }
    }
}
