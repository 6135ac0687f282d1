//! Bodies of answers.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Pieces of a long answer are sent together up to so many bytes.
const CHUNK: usize = 64 * 1024;

/// The body of an answer. It never fails; a watch that cannot go on ends.
pub struct Body {
    inner: Inner,
    sent: u64,
    /// Told how many bytes were sent when the body is done with.
    when_sent: Option<Box<dyn FnOnce(u64) + Send>>,
    /// Lives as long as the body.
    held: Option<Box<dyn Send>>,
}

enum Inner {
    Whole(Option<Bytes>),
    /// Written while it is sent.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
    Lines(Pin<Box<dyn futures::Stream<Item = Bytes> + Send>>),
}

impl Body {
    /// One piece.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Inner::Whole(Some(bytes.into())).into()
    }

    /// Pieces that are there, and are put together while they are sent.
    pub fn pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        Inner::Pieces(Box::new(pieces)).into()
    }

    /// Lines that come when they come.
    pub fn lines(lines: impl futures::Stream<Item = Bytes> + Send + 'static) -> Self {
        Inner::Lines(Box::pin(lines)).into()
    }

    /// The same, with something that is dropped with it.
    pub(super) fn holding(mut self, held: Option<impl Send + 'static>) -> Self {
        self.held = held.map(|held| Box::new(held) as Box<dyn Send>);
        self
    }

    /// Somebody is told how many bytes were sent when it is done with.
    pub(super) fn when_sent(&mut self, told: impl FnOnce(u64) + Send + 'static) {
        self.when_sent = Some(Box::new(told));
    }
}

impl From<Inner> for Body {
    fn from(inner: Inner) -> Self {
        Self {
            inner,
            sent: 0,
            when_sent: None,
            held: None,
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(told) = self.when_sent.take() {
            told(self.sent);
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let form = match &self.inner {
            Inner::Whole(_) => "Whole",
            Inner::Pieces(_) => "Pieces",
            Inner::Lines(_) => "Lines",
        };
        write!(f, "Body::{form}")
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.inner {
            Inner::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            Inner::Pieces(pieces) => chunk(pieces),
            Inner::Lines(lines) => std::task::ready!(lines.as_mut().poll_next(context)),
        };
        self.sent += next.as_ref().map_or(0, Bytes::len) as u64;
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Pieces(_) | Inner::Lines(_) => http_body::SizeHint::default(),
        }
    }
}

fn chunk(pieces: &mut dyn Iterator<Item = Bytes>) -> Option<Bytes> {
    let first = pieces.next()?;
    if first.len() >= CHUNK {
        return Some(first);
    }
    let mut chunk = BytesMut::with_capacity(CHUNK);
    chunk.put(first);
    while chunk.len() < CHUNK {
        match pieces.next() {
            Some(piece) => chunk.put(piece),
            None => break,
        }
    }
    Some(chunk.freeze())
}
