//! A stream as its user sees it: bytes both ways, the answer to the preamble taken out.

use crate::mux::MuxStream;
use bytes::{Buf, Bytes};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tunnel_proto::stream::{
    Class, REFUSAL_HEADER, Refusal, RefusalReason, decode_refusal, decode_refusal_header,
    decode_status,
};

/// One stream of a session. Shut it down to end it in order; dropping it resets it.
pub struct Stream {
    inner: MuxStream,
    /// What is left of our preamble.
    preamble: Bytes,
    answer: Answer,
    _held: Held,
}

/// What a stream takes of its session, for as long as somebody holds it.
pub(super) struct Held {
    /// One of so many streams.
    pub(super) _room: OwnedSemaphorePermit,
    /// That its lane is in use. The interactive one always is.
    pub(super) _lane: Option<Arc<()>>,
}

/// How much of the peer's answer was read.
enum Answer {
    Status,
    Header(RefusalReason, Filling<REFUSAL_HEADER>),
    Body(RefusalReason, Vec<u8>, usize),
    Opened,
    Refused(Refusal),
}

struct Filling<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

/// The peer's refusal, if that is what `error` of a stream's read is about.
#[must_use]
pub fn refusal_in(error: &io::Error) -> Option<&Refusal> {
    error.get_ref()?.downcast_ref()
}

impl Stream {
    pub(super) fn opened(inner: MuxStream, preamble: Bytes, held: Held) -> Self {
        Self {
            inner,
            preamble,
            answer: Answer::Status,
            _held: held,
        }
    }

    pub(super) fn accepted(inner: MuxStream, held: Held) -> Self {
        Self {
            inner,
            preamble: Bytes::new(),
            answer: Answer::Opened,
            _held: held,
        }
    }

    /// Waits for the peer's answer.
    ///
    /// # Errors
    ///
    /// The refusal ([`refusal_in`] finds it), or the end of the stream.
    pub async fn confirmed(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            ready!(self.poll_preamble(cx))?;
            self.poll_answer(cx)
        })
        .await
    }

    /// Says what the stream is for from now on: both ends let it wait for its turn among others
    /// of that class.
    pub fn set_class(&self, class: Class) {
        self.inner.set_class(class);
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A reader that never writes still has to say what it wants.
        ready!(self.poll_preamble(cx))?;
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    /// Sends the preamble. It leaves with the first data where there is some, in one frame or two
    /// that share a message.
    fn poll_preamble(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.preamble.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.preamble))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.preamble.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.answer = match &mut self.answer {
                Answer::Opened => return Poll::Ready(Ok(())),
                Answer::Refused(refusal) => {
                    let refusal = refusal.clone();
                    let error = io::Error::new(io::ErrorKind::ConnectionRefused, refusal);
                    return Poll::Ready(Err(error));
                }
                Answer::Status => {
                    let mut status = [0];
                    ready!(poll_fill(&mut self.inner, cx, &mut status))?;
                    match decode_status(status[0]) {
                        None => Answer::Opened,
                        Some(reason) => Answer::Header(
                            reason,
                            Filling {
                                bytes: [0; REFUSAL_HEADER],
                                filled: 0,
                            },
                        ),
                    }
                }
                Answer::Header(reason, header) => {
                    while header.filled < REFUSAL_HEADER {
                        let rest = &mut header.bytes[header.filled..];
                        header.filled += ready!(poll_fill(&mut self.inner, cx, rest))?;
                    }
                    let len = decode_refusal_header(header.bytes).map_err(invalid)?;
                    Answer::Body(*reason, vec![0; len], 0)
                }
                Answer::Body(reason, body, filled) => {
                    while *filled < body.len() {
                        *filled += ready!(poll_fill(&mut self.inner, cx, &mut body[*filled..]))?;
                    }
                    Answer::Refused(decode_refusal(*reason, body).map_err(invalid)?)
                }
            };
        }
    }
}

/// Reads at least one byte.
fn poll_fill(
    stream: &mut MuxStream,
    cx: &mut Context<'_>,
    out: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(out);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    match buf.filled().len() {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        read => Poll::Ready(Ok(read)),
    }
}

fn invalid(error: tunnel_proto::stream::StreamError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_data(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_preamble(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_preamble(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_preamble(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_preamble(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
