//! What becomes known of a request while it is answered: for its audit event and for metrics.

use super::Call;
use crate::body::media_type;
use crate::metrics;
use crate::request::Verb;
use bytes::Bytes;
use http::HeaderMap;

/// What became known of a request. It is in the extensions of the answer.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// What was decided, if anything was.
    pub decision: Option<Decided>,
    /// The body of the request, as far as it was read.
    pub sent: Option<Bytes>,
    /// What policies have to say for the audit log.
    pub annotations: Vec<(String, String)>,
    /// How it is counted.
    pub(super) labels: metrics::Request,
    pub(super) dry_run: bool,
}

/// Whether a request may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Whether it may.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

impl Trail {
    pub(super) fn of_path(method: &http::Method, path: &str) -> Self {
        Self {
            labels: metrics::Request::for_path(method, path),
            ..Self::default()
        }
    }

    /// The request is for a resource that is served.
    pub(super) fn follow(&mut self, call: &Call, headers: &HeaderMap) {
        let verb = match call.verb {
            Verb::Get => "GET",
            Verb::List => "LIST",
            Verb::Watch => "WATCH",
            Verb::Create => "POST",
            Verb::Update => "PUT",
            Verb::Patch if media_type(headers) == crate::patch::APPLY_PATCH => "APPLY",
            Verb::Patch => "PATCH",
            Verb::Delete | Verb::DeleteCollection => "DELETE",
        };
        let scope = match (&call.name, &call.namespace) {
            (Some(_), _) => "resource",
            _ if call.verb == Verb::Create => "resource",
            (None, Some(_)) => "namespace",
            (None, None) => "cluster",
        };
        self.labels = metrics::Request {
            group: call.resource.group.clone(),
            version: call.version.name.clone(),
            resource: call.resource.plural.clone(),
            subresource: call.subresource.clone().unwrap_or_default(),
            ..metrics::Request::for_resource(verb, scope)
        };
        self.dry_run = call.query.contains("dryRun=All");
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self.labels.verb, "GET" | "LIST")
    }
}
