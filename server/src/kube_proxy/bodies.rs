//! Bodies on their way through: counted, and cut when the access to them ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;

use crate::audit::Audit;
use crate::authz::Ongoing;
use crate::edge::BoxError;

/// The body of a request towards a cluster.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// A request without a body.
pub(crate) fn no_body() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The client's body, counted.
pub(super) fn request(body: Incoming, audit: Audit) -> RequestBody {
    if body.is_end_stream() {
        return no_body();
    }
    body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            audit.add_received(data.len() as u64);
        }
        frame
    })
    .boxed_unsync()
}

/// The cluster's body. It breaks off when the user's access ends, or when the server stops and
/// the time to drain is over: followed logs would go on for ever.
pub(super) fn response<B: HttpBody>(body: B, ongoing: Arc<Ongoing>) -> WhileAllowed<B> {
    // Most bodies are there at once and have no use for a way to be cut.
    let short = body.size_hint().exact().is_some();
    let ended: Option<Ended> = (!short).then(|| {
        let ended: Ended = Box::pin(async move {
            let cut = ongoing.app.cut.clone();
            tokio::select! {
                () = ongoing.until_ended() => "access to the cluster has ended",
                () = cut.cancelled() => "the server is stopping",
            }
        });
        ended
    });
    WhileAllowed { body, ended }
}

type Ended = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// A body that somebody may read for as long as they have access.
pub(super) struct WhileAllowed<B> {
    body: B,
    ended: Option<Ended>,
}

impl<B> HttpBody for WhileAllowed<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(ended) = &mut self.ended
            && let Poll::Ready(why) = ended.as_mut().poll(context)
        {
            return Poll::Ready(Some(Err(why.into())));
        }
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
