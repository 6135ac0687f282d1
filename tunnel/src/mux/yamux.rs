//! yamux behind the [`Mux`] trait.

use super::{Mux, MuxError, MuxIo, MuxStream};
use crate::lane::LaneIo;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};
use tokio_util::{
    compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _},
    sync::{CancellationToken, WaitForCancellationFutureOwned},
};
use tunnel_proto::{mux::Side, stream::Class};

/// Streams of both directions together. Opening one more would kill the whole connection, so
/// sessions stay far below it by their own count (`session::MOST_STREAMS` per direction).
const STREAMS: usize = 2048;

/// What every stream may have unread from the start, as yamux fixes it.
const FIRST_WINDOW: usize = 256 * 1024;

/// What the windows of all streams may grow by together: 1 Gbit/s at 100 ms. More is only queue.
const GROWTH: usize = 16 * 1024 * 1024;

/// What may be on its way: it does not grow, as what is unread behind a window might.
pub(super) const REPLAY: usize = 4 * 1024 * 1024;

/// Most bytes that one read takes: four frames.
const MOST_READ: usize = 64 * 1024;

/// What yamux puts into a frame, of which it makes one for each write.
const FRAME: usize = 16 * 1024;

/// A piece up to this long is put together with what follows it.
const GATHERED: usize = 4 * 1024;

pub(super) struct Yamux {
    connection: yamux::Connection<Compat<LaneIo>>,
    asked: mpsc::Receiver<oneshot::Sender<MuxStream>>,
    waiting: Option<oneshot::Sender<MuxStream>>,
    over: CancellationToken,
}

impl Yamux {
    pub(super) fn new(
        io: LaneIo,
        side: Side,
        asked: mpsc::Receiver<oneshot::Sender<MuxStream>>,
        over: CancellationToken,
        growth: usize,
    ) -> Self {
        let mode = match side {
            Side::Agent => yamux::Mode::Client,
            Side::Server => yamux::Mode::Server,
        };
        Self {
            connection: yamux::Connection::new(io.compat(), config(growth), mode),
            asked,
            waiting: None,
            over,
        }
    }

    fn poll_opens(&mut self, cx: &mut Context<'_>) -> Result<(), MuxError> {
        loop {
            if self.waiting.as_ref().is_none_or(oneshot::Sender::is_closed) {
                match self.asked.poll_recv(cx) {
                    Poll::Ready(Some(request)) => self.waiting = Some(request),
                    Poll::Ready(None) | Poll::Pending => return Ok(()),
                }
            }
            let Poll::Ready(stream) = self.connection.poll_new_outbound(cx) else {
                return Ok(());
            };
            let stream = boxed(stream.map_err(to_error)?, &self.over);
            if let Some(request) = self.waiting.take() {
                // An opener that has gone away drops the stream, which resets it.
                let _ = request.send(stream);
            }
        }
    }
}

/// `growth` is what the windows of all streams may grow by together, as far as memory goes.
fn config(growth: usize) -> yamux::Config {
    let mut config = yamux::Config::default();
    // The window first: the other setter asserts that it covers the streams.
    config.set_max_connection_receive_window(Some(STREAMS * FIRST_WINDOW + growth.min(GROWTH)));
    config.set_max_num_streams(STREAMS);
    // The split of sends stays at its default of 16 KiB: a smaller one costs three quarters of the
    // throughput and latency as well, a larger one gains nothing.
    config
}

impl Mux for Yamux {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MuxStream>, MuxError>> {
        self.poll_opens(cx)?;
        let over = &self.over;
        self.connection.poll_next_inbound(cx).map(|next| {
            next.transpose()
                .map(|stream| stream.map(|stream| boxed(stream, over)))
                .map_err(to_error)
        })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>> {
        self.connection.poll_close(cx).map_err(to_error)
    }
}

/// A stream of yamux; its class changes nothing. Readers and writers wake when the session is
/// over: yamux leaves them asleep.
struct YamuxStream {
    stream: Compat<yamux::Stream>,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl YamuxStream {
    fn poll_over(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.over.as_mut().poll(cx).is_ready() {
            let over = io::Error::new(io::ErrorKind::ConnectionAborted, "session is over");
            return Err(over);
        }
        Ok(())
    }
}

impl MuxIo for YamuxStream {
    fn set_class(&self, _: Class) {}
}

impl AsyncRead for YamuxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What is below sets all the room it is offered to zero, each time.
        let room = buf.remaining().min(MOST_READ);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.advance(read);
        // What has come is read, though the session is over.
        if read == 0 {
            self.poll_over(cx)?;
        }
        polled
    }
}

impl AsyncWrite for YamuxStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_over(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Short pieces go together into one frame.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        let first = filled.next().map_or(&[][..], |piece| piece);
        if first.len() > GATHERED {
            return self.poll_write(cx, first);
        }
        let Some(second) = filled.next() else {
            return self.poll_write(cx, first);
        };
        let mut together = Vec::with_capacity(FRAME);
        together.extend_from_slice(first);
        for piece in std::iter::once(second).chain(filled) {
            let room = FRAME - together.len();
            together.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        self.poll_write(cx, &together)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_over(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_over(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn boxed(stream: yamux::Stream, over: &CancellationToken) -> MuxStream {
    Box::new(YamuxStream {
        stream: stream.compat(),
        over: Box::pin(over.clone().cancelled_owned()),
    })
}

fn to_error(error: yamux::ConnectionError) -> MuxError {
    match error {
        yamux::ConnectionError::Io(_) | yamux::ConnectionError::Closed => MuxError::Ended,
        other => MuxError::Protocol(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MOST_STREAMS;

    #[test]
    fn the_settings_are_ones_that_yamux_accepts() {
        // Y8: the setter panics if the window does not cover the streams.
        let _ = (config(0), config(usize::MAX));
    }

    #[test]
    fn sessions_stay_below_what_would_kill_the_connection() {
        // Y1: the limit counts both directions, and one stream too many ends all of them.
        const { assert!(2 * MOST_STREAMS as usize + 256 <= STREAMS) };
    }

    #[test]
    fn windows_grow_by_a_small_budget() {
        // Y6: more is only queue on a shared connection; Y11: what a hostile peer can pin.
        const { assert!(GROWTH <= 16 * 1024 * 1024) };
        const { assert!(STREAMS * FIRST_WINDOW + GROWTH <= 528 * 1024 * 1024) };
    }
}
