//! The rules of a policy, and the decision over one request.

use http::{HeaderMap, HeaderName, Method, request};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Paths that the server may ask in the agent's own name: is the API server there and which one.
const OWN_PATHS: [&str; 3] = ["/livez", "/readyz", "/version"];

/// Reserved groups that everybody may be in.
const HARMLESS_GROUPS: [&str; 1] = ["system:authenticated"];

/// Subresources that act, whatever the method.
const ACTING: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

/// API groups whose POSTs only ask a question.
const QUESTIONS: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

/// First path segments that are not about objects.
const DISCOVERY: [&str; 5] = ["version", "openapi", "healthz", "livez", "readyz"];

/// What the server may ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    /// In whose name.
    #[serde(default)]
    impersonate: Impersonate,
    /// Whether anything may be changed. Default: no.
    #[serde(default)]
    access: Access,
    /// Namespaces that may be reached; with anything but `*`, no objects outside of namespaces.
    #[serde(default)]
    namespaces: Vec<Pattern>,
    /// Node operations that may run here.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "read so that a policy for node agents is not an error here"
    )]
    node_operations: Vec<String>,
    /// `host:port` that the server may have dialled.
    #[serde(default)]
    #[expect(dead_code, reason = "no raw dials are served yet: all are denied")]
    dial_targets: Vec<String>,
    /// Where the agent's own objects are.
    #[serde(skip)]
    own_namespace: String,
    /// Why everything is denied, if it is.
    #[serde(skip)]
    denies: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonate {
    #[serde(default)]
    users: Vec<Pattern>,
    #[serde(default)]
    groups: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Access {
    #[default]
    ReadOnly,
    ReadWrite,
}

/// A name, or a beginning followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
enum Pattern {
    Exactly(String),
    Beginning(String),
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(beginning.to_owned()),
            None => Self::Exactly(text),
        }
    }
}

impl Pattern {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Beginning(beginning) => name.starts_with(beginning.as_str()),
        }
    }
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no usable policy.
    #[error("everything is denied: {0}")]
    Everything(String),
    /// The request speaks in the agent's own name.
    #[error("the request names no user to impersonate")]
    NoUser,
    /// More than one user, or a header that this agent does not know.
    #[error("the request's impersonation headers are ambiguous: {0}")]
    Ambiguous(String),
    /// A user outside the policy.
    #[error("user {0:?} may not be impersonated")]
    User(String),
    /// A group outside the policy, or a reserved one.
    #[error("group {0:?} may not be impersonated")]
    Group(String),
    /// A change, and the policy is read-only.
    #[error("only reading is allowed")]
    ReadOnly,
    /// A namespace outside the policy.
    #[error("namespace {0:?} may not be reached")]
    Namespace(String),
    /// Something outside of namespaces, and not all are allowed.
    #[error("only single namespaces may be reached")]
    OutsideNamespaces,
    /// A change of the policy itself, or any use of the agent's key.
    #[error("{0} {1:?} is the agent's own and is not reached through the tunnel")]
    Own(&'static str, String),
    /// A path that means different things to different readers.
    #[error("the path is ambiguous")]
    Path,
}

impl Policy {
    /// Reads a policy. Unknown keys are errors: a rule that is misspelt must not be ignored.
    /// `own_namespace` is where the agent keeps its key and this policy.
    pub fn parse(text: &str, own_namespace: &str) -> Result<Self, serde_saphyr::Error> {
        let mut policy: Self = serde_saphyr::from_str(text)?;
        own_namespace.clone_into(&mut policy.own_namespace);
        Ok(policy)
    }

    /// Denies everything.
    pub fn denying(reason: &str) -> Self {
        Self {
            impersonate: Impersonate::default(),
            access: Access::ReadOnly,
            namespaces: Vec::new(),
            node_operations: Vec::new(),
            dial_targets: Vec::new(),
            own_namespace: String::new(),
            denies: Some(reason.to_owned()),
        }
    }

    /// Decides over a request to the API server.
    pub fn check(&self, request: &request::Parts) -> Result<(), Denied> {
        let path = request.uri.path();
        let reads = reads(&request.method);
        if reads && OWN_PATHS.contains(&path) && !has_impersonation(&request.headers) {
            return Ok(());
        }
        if let Some(reason) = &self.denies {
            return Err(Denied::Everything(reason.clone()));
        }
        self.check_identity(&request.headers)?;
        let segments = segments(path)?;
        self.check_own(&request.method, &segments)?;
        self.check_access(reads, &segments)?;
        self.check_namespace(&segments)
    }

    fn check_identity(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let mut user = None;
        for (name, value) in headers {
            let Some(what) = impersonation(name) else {
                continue;
            };
            // kube-apiserver takes names in UTF-8, and HTTP any bytes.
            let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
                return Err(Denied::Ambiguous(name.to_string()));
            };
            match what {
                "-user" if user.is_none() => user = Some(value),
                "-group" => self.check_group(value)?,
                "-uid" => {}
                extra if extra.starts_with("-extra-") => {}
                _ => return Err(Denied::Ambiguous(name.to_string())),
            }
        }
        let user = user.filter(|user| !user.is_empty()).ok_or(Denied::NoUser)?;
        // The cluster's own components; a policy has no way to mean them.
        if user.starts_with("system:") || !covered(&self.impersonate.users, user) {
            return Err(Denied::User(user.to_owned()));
        }
        Ok(())
    }

    /// Reserved groups are never impersonated, whatever the policy says: they hold the cluster's
    /// own components and, with `system:masters`, everything.
    fn check_group(&self, group: &str) -> Result<(), Denied> {
        let harmless = HARMLESS_GROUPS.contains(&group);
        let reserved = group.starts_with("system:") && !harmless;
        if reserved || !(harmless || covered(&self.impersonate.groups, group)) {
            return Err(Denied::Group(group.to_owned()));
        }
        Ok(())
    }

    /// The server does not change what bounds it, nor ask for the agent's key. (Whoever administers
    /// the cluster through the tunnel can list all Secrets; RBAC decides over that.)
    fn check_own(&self, method: &Method, segments: &[String]) -> Result<(), Denied> {
        // `/api/v1/watch/…` is an old way to watch the same.
        let below = match segments {
            [api, _, watch, below @ ..] if api == "api" && watch == "watch" => below,
            [api, _, below @ ..] if api == "api" => below,
            _ => return Ok(()),
        };
        let [namespaces, namespace, resource, rest @ ..] = below else {
            return Ok(());
        };
        if namespaces != "namespaces" || *namespace != self.own_namespace {
            return Ok(());
        }
        let reads = reads(method);
        let (kind, own, open) = match resource.as_str() {
            "configmaps" => ("ConfigMap", super::CONFIG_MAP, reads),
            "secrets" => ("Secret", crate::credentials::SECRET, false),
            _ => return Ok(()),
        };
        let touched = match rest.first() {
            Some(name) => name == own && !open,
            None => method == Method::DELETE,
        };
        if touched {
            return Err(Denied::Own(kind, own.to_owned()));
        }
        Ok(())
    }

    fn check_access(&self, reads: bool, segments: &[String]) -> Result<(), Denied> {
        if self.access == Access::ReadWrite {
            return Ok(());
        }
        let acts = segments
            .iter()
            .skip(2)
            .any(|segment| ACTING.contains(&segment.as_str()));
        let asks = matches!(segments, [apis, group, ..]
            if apis == "apis" && QUESTIONS.contains(&group.as_str()));
        if acts || !(reads || asks) {
            return Err(Denied::ReadOnly);
        }
        Ok(())
    }

    fn check_namespace(&self, segments: &[String]) -> Result<(), Denied> {
        if covered(&self.namespaces, "") {
            return Ok(());
        }
        let below = match segments {
            [] => return Ok(()),
            [api, _, rest @ ..] if api == "api" => rest,
            [apis, group, _, rest @ ..] if apis == "apis" => {
                if QUESTIONS.contains(&group.as_str()) {
                    return Ok(());
                }
                rest
            }
            [api] | [api, _] if api == "api" || api == "apis" => return Ok(()),
            [first, ..] if DISCOVERY.contains(&first.as_str()) => return Ok(()),
            _ => return Err(Denied::OutsideNamespaces),
        };
        match below {
            [] => Ok(()),
            [namespaces, name, ..] if namespaces == "namespaces" => {
                if covered(&self.namespaces, name) {
                    Ok(())
                } else {
                    Err(Denied::Namespace(name.clone()))
                }
            }
            _ => Err(Denied::OutsideNamespaces),
        }
    }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn covered(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.covers(name))
}

/// The end of such a header's name. What somebody on the way could take for one, as `impersonate_user`, counts.
fn impersonation(name: &HeaderName) -> Option<&str> {
    name.as_str().strip_prefix("impersonate")
}

fn has_impersonation(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| impersonation(name).is_some())
}

/// The path as the API server will understand it: decoded once. What would decode to another path
/// is refused.
fn segments(path: &str) -> Result<Vec<String>, Denied> {
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Denied::Path)?;
        if segment == "." || segment == ".." || segment.contains('/') {
            return Err(Denied::Path);
        }
        segments.push(segment.into_owned());
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;
