//! Watches: requests whose answers end only when somebody ends them.

use http_body::{Body, Frame};
use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Whether the query of a request to a Kubernetes API server asks for a watch: of several values the
/// first counts, and all but `0` and `false` mean yes (`Convert_Slice_string_To_bool` in apimachinery's
/// `pkg/runtime/conversion.go`).
#[must_use]
pub fn is_watch(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "watch")
        .is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
}

/// The body of a watch, until `end` is cancelled. It ends in order then, which a client takes as
/// the call to watch again; of a body that breaks off people see an error.
pub fn end_watch_when<B>(body: B, end: CancellationToken) -> EndingWatch<B> {
    EndingWatch {
        body,
        end: Box::pin(end.cancelled_owned()),
    }
}

/// See [`end_watch_when`].
pub struct EndingWatch<B> {
    body: B,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<B: Body + Unpin> Body for EndingWatch<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
