//! What accompanies a request through the server.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use lariat_api::ClusterId;
use telemetry::Span;

use super::body::{Body, BoxError};
use super::limits::ConnectionPermit;
use crate::audit::Audit;

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Address of the client.
    pub peer: SocketAddr,
    /// The cluster chosen by the TLS server name.
    pub cluster: Option<ClusterId>,
    /// What both ends of the TLS connection know and nobody between them.
    pub channel: Option<[u8; 32]>,
    /// Held for as long as the connection counts.
    pub(super) _permit: ConnectionPermit,
}

/// What accompanies a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Id of the request; in the answer's `Audit-Id`, in the audit line and in log events.
    pub id: Arc<str>,
    /// The connection. An upgraded connection counts for as long as this is held.
    pub connection: Arc<Connection>,
    /// The audit record. The line is written when the last clone is dropped.
    pub audit: Audit,
    /// Its span, which ends as the audit record does.
    pub trace: Span,
}

/// Counts the bytes of an answer and holds its audit record and its span until they are sent.
pub(super) struct Audited {
    body: Body,
    audit: Audit,
    /// The sending, a part of the request.
    sending: Span,
    sent: u64,
    _request: Span,
}

impl Audited {
    pub(super) fn new(body: Body, audit: Audit, request: Span) -> Self {
        Self {
            body,
            audit,
            sending: request.child("body"),
            sent: 0,
            _request: request,
        }
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        self.sending.set("http.response.body.size", self.sent);
    }
}

impl http_body::Body for Audited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.audit.add_sent(data.len() as u64);
                    self.sent += data.len() as u64;
                }
            }
            Poll::Ready(Some(Err(error))) => self.sending.fail(error),
            Poll::Ready(None) | Poll::Pending => {}
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
