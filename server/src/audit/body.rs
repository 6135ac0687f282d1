//! Bodies in the audit log.

use std::pin::Pin;
use std::task::{Context, Poll};

use apiserver::body::Document;
use apiserver::{builtin, protobuf};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use lariat_api::{AuthConfig, ClusterRegistrationToken, GROUP, Kind as _, Token, User};
use serde_json::Value;

use super::{Audit, ObjectReference};
use crate::edge::{Body, BoxError};

/// Longest body that is recorded, in bytes.
const LONGEST: usize = 512 * 1024;

/// Whether objects hold what nobody may read in a log.
pub(super) fn is_secret(object: &ObjectReference) -> bool {
    match (object.api_group.as_str(), object.resource.as_str()) {
        ("authentication.k8s.io", "tokenreviews") => true,
        ("", "serviceaccounts") => object.subresource == "token",
        (GROUP, resource) => {
            let secret = [
                AuthConfig::PLURAL,
                User::PLURAL,
                Token::PLURAL,
                ClusterRegistrationToken::PLURAL,
            ];
            secret.contains(&resource)
        }
        sealed => builtin::secret().any(|secret| secret == sealed),
    }
}

/// A body as JSON; `None` if it is too long or nothing that can be shown as such.
pub(super) fn object_in(body: &[u8]) -> Option<Value> {
    if body.len() > LONGEST {
        return None;
    }
    // Patches have types of their own, and YAML is what is neither JSON nor protobuf.
    let json = serde_json::from_slice(body).ok();
    json.or_else(|| protobuf::read(body))
        .or_else(|| Some(Document::from_yaml(body).ok()?.value))
}

/// Drops what server-side apply has recorded, from an object or the items of a list.
pub(super) fn omit_managed_fields(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    let items = object.get_mut("items").and_then(Value::as_array_mut);
    items.into_iter().flatten().for_each(omit_managed_fields);
}

/// The body of an answer that is recorded when it has been sent.
pub(crate) struct Captured {
    body: Body,
    /// What was sent, unless it is too long.
    seen: Option<Vec<u8>>,
    audit: Audit,
}

impl Captured {
    /// Records the body of an answer.
    pub(crate) fn new(body: Body, audit: Audit) -> Self {
        Self {
            body,
            seen: Some(Vec::new()),
            audit,
        }
    }
}

impl http_body::Body for Captured {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Some(mut seen) = self.seen.take()
            && seen.len() + data.len() <= LONGEST
        {
            seen.extend_from_slice(data);
            self.seen = Some(seen);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        let seen = self.seen.take();
        let object = seen.and_then(|seen| object_in(&seen));
        self.audit.set_response_object(object);
    }
}
