//! Traces of the server's requests: a span from their arrival until the answer is sent.

use crate::kube_proxy::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use telemetry::{Span, Traces};
use tower::BoxError;

/// Begins the span of a request: a part of the server's trace.
pub fn begin<B>(traces: &Traces, request: &Request<B>) -> Span {
    // The server sends on whatever method a client has sent, and the API server refuses what it does not know.
    let span = traces.request(request.headers(), || "agent request".into());
    if span.is_recorded() {
        span.set("http.request.method", request.method().as_str());
        span.set("url.path", request.uri().path());
    }
    span
}

/// The body of an answer, until whose end the span goes on.
pub fn until_sent(body: Body, span: Span) -> Body {
    if span.is_recorded() {
        Held { body, _span: span }.boxed_unsync()
    } else {
        body
    }
}

struct Held {
    body: Body,
    _span: Span,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
