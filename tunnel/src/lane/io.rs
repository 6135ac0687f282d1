//! A [`Lane`] as a byte stream, for a multiplexer that runs over one.

use super::{Lane, Over};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many frames may leave together. More save little, and the first of them waits for the last.
const FLUSHES_TOGETHER: u32 = 32;

/// See the [module](self).
pub(crate) struct LaneIo {
    lane: Lane,
    /// How often the multiplexer wanted what it had written to be on its way, and it is not.
    flushes: u32,
}

impl LaneIo {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, flushes: 0 }
    }
}

impl From<Over> for io::Error {
    fn from(_: Over) -> Self {
        io::ErrorKind::ConnectionAborted.into()
    }
}

impl AsyncRead for LaneIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = self.lane.poll(cx);
        let read = self.lane.read(buf.initialize_unfilled());
        buf.advance(read);
        if read > 0 {
            return Poll::Ready(Ok(()));
        }
        polled?;
        if self.lane.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.flushes) > 0 {
            self.lane.seal();
            self.lane.poll(cx)?;
        }
        // Acknowledgements and pongs do not wait for the multiplexer's next flush.
        let _ = self.lane.poll_flush(cx);
        Poll::Pending
    }
}

impl AsyncWrite for LaneIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..2 {
            if self.lane.room() > 0 {
                let written = self.lane.write(bytes);
                if written > 0 {
                    return Poll::Ready(Ok(written));
                }
            }
            self.lane.poll(cx)?;
        }
        if self.lane.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What was written so far may be what the peer waits for before it acknowledges.
        self.lane.seal();
        let _ = self.lane.poll_flush(cx);
        Poll::Pending
    }

    /// A multiplexer flushes behind each of its frames. They leave together: when it has nothing
    /// more to write and reads to the end of what is there, as it does in every poll, or when that
    /// takes long.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lane.has_unsent() {
            self.flushes += 1;
            if self.flushes < FLUSHES_TOGETHER {
                return Poll::Pending;
            }
            self.flushes = 0;
            self.lane.seal();
            self.lane.poll(cx)?;
        }
        ready!(self.lane.poll_flush(cx));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lane.poll_close(cx).map(Ok)
    }
}
