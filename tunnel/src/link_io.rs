//! A [`Link`] on its carrier, as the byte stream that a multiplexer runs over.
//!
//! Everything happens in the poll functions, in the one task that drives the session: nothing is
//! locked, and a blocked write never keeps a message from being read.

use crate::carrier::Carrier;
use bytes::Bytes;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tunnel_proto::{
    frame::CloseCode,
    link::{Event, Link, LinkError},
};

/// Received bytes that may wait for the multiplexer before the carrier is left unread.
const READ_AHEAD: usize = 128 * 1024;

/// The same while nothing can be written.
const READ_AHEAD_BLOCKED: usize = 8 * 1024 * 1024;

/// Written bytes that may wait for the carrier. Every one of them is latency for all streams.
const WRITE_AHEAD: usize = 64 * 1024;

/// How many frames may leave together. More save little, and the first of them waits for the last.
const FLUSHES_TOGETHER: u32 = 32;

/// How soon to look again at a link whose carrier takes nothing.
const STUCK: Duration = Duration::from_secs(1);

/// What the session's driver and its link tell each other.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<BoardState>,
}

#[derive(Debug, Default)]
struct BoardState {
    drain: Option<(Duration, String)>,
    close: Option<(CloseCode, String)>,
    events: Events,
    round_trip: Option<Duration>,
}

/// What happened to the link since the driver looked last.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The peer is leaving, until then, for this reason.
    pub(crate) draining: Option<(Instant, String)>,
    /// Why the link is over.
    pub(crate) end: Option<End>,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The peer ended it.
    #[error("closed by the peer ({code:?}): {reason}")]
    ClosedByPeer {
        /// For a program.
        code: CloseCode,
        /// For a person.
        reason: String,
    },
    /// The peer broke the rules.
    #[error("peer broke the protocol")]
    Protocol(#[source] LinkError),
    /// The multiplexer gave up on the peer.
    #[error("multiplexer failed: {0}")]
    Mux(String),
    /// Nothing was heard from the peer, not even the answer to a ping.
    #[error("peer is silent")]
    Silent,
    /// The connection broke.
    #[error("connection lost: {0}")]
    CarrierLost(String),
    /// This side ended it.
    #[error("closed here ({code:?}): {reason}")]
    ClosedHere {
        /// For a program.
        code: CloseCode,
        /// For a person.
        reason: String,
    },
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, BoardState> {
        // Plain assignments happen under the lock; a panic elsewhere leaves it in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ask_drain(&self, deadline: Duration, reason: &str) {
        self.lock().drain = Some((deadline, reason.to_owned()));
    }

    pub(crate) fn set_close(&self, code: CloseCode, reason: &str) {
        self.lock().close = Some((code, reason.to_owned()));
    }

    pub(crate) fn take_events(&self) -> Events {
        std::mem::take(&mut self.lock().events)
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.lock().round_trip
    }
}

pub(crate) struct LinkIo {
    link: Link,
    carrier: Carrier,
    board: Arc<Board>,
    timer: Pin<Box<Sleep>>,
    /// How often the multiplexer wanted what it had written to be on its way, and it is not.
    flushes: u32,
    /// Messages were handed to the carrier and not flushed.
    unflushed: bool,
    over: bool,
}

impl LinkIo {
    pub(crate) fn new(link: Link, carrier: Carrier, board: Arc<Board>) -> Self {
        Self {
            link,
            carrier,
            board,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            flushes: 0,
            unflushed: false,
            over: false,
        }
    }

    /// Lets the link do all it can now: orders, time, messages in, messages out.
    fn drive(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.over {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let now = now();
        let drain = self.board.lock().drain.take();
        if let Some((deadline, reason)) = drain {
            self.link.drain(deadline, &reason);
        }
        let result = self
            .receive(cx, now)
            .and_then(|()| self.send(cx, now))
            .and_then(|()| self.run_timer(cx, now))
            .and_then(|()| self.report());
        if let Err(end) = result {
            self.over = true;
            if let End::Protocol(error) = &end {
                self.accuse(cx, error);
            }
            self.board.lock().events.end = Some(end);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Tells a peer that broke the rules which one, if the carrier takes it at once.
    fn accuse(&mut self, cx: &mut Context<'_>, error: &LinkError) {
        if let Some(message) = self
            .link
            .abort(CloseCode::ProtocolError, &error.to_string())
            && self.carrier.start_send(message).is_ok()
        {
            let _ = self.carrier.poll_flush(cx);
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        while self.link.held() < self.read_ahead() && !self.link.is_closed() {
            let Poll::Ready(message) = self.carrier.poll_message(cx) else {
                break;
            };
            let message = message.map_err(lost)?;
            self.link
                .handle_message(now, message)
                .map_err(End::Protocol)?;
        }
        Ok(())
    }

    /// A multiplexer that cannot write may not read either. The acknowledgements that would let it
    /// write stand behind the data it does not read, so more of that is taken in then; the peer's
    /// replay buffer is smaller than this bound.
    fn read_ahead(&self) -> usize {
        let blocked = self.link.is_full() || self.link.unsent() >= WRITE_AHEAD;
        if blocked {
            READ_AHEAD_BLOCKED
        } else {
            READ_AHEAD
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        while let Poll::Ready(ready) = self.carrier.poll_ready(cx) {
            ready.map_err(lost)?;
            let Some(message) = self.link.poll_message(now) else {
                break;
            };
            self.start_send(message)?;
        }
        Ok(())
    }

    fn start_send(&mut self, message: Bytes) -> Result<(), End> {
        self.carrier.start_send(message).map_err(lost)?;
        self.unflushed = true;
        Ok(())
    }

    /// Lets time pass for the link, then sleeps until its next deadline. The timer is moved only
    /// to an earlier time: most deadlines are put off again and again, and a wake-up that comes
    /// too soon costs less.
    fn run_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        if self.link.poll_timeout().is_some_and(|at| at <= now) {
            self.link.handle_timeout(now);
            self.send(cx, now)?;
        }
        let Some(deadline) = self.link.poll_timeout() else {
            return Ok(());
        };
        // A deadline that stays in the past waits for the carrier to take a message.
        let wake = if deadline <= now {
            now + STUCK
        } else {
            deadline
        };
        if self.timer.is_elapsed() || wake < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(wake.into());
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn report(&mut self) -> Result<(), End> {
        let mut board = self.board.lock();
        board.round_trip = self.link.round_trip().or(board.round_trip);
        while let Some(event) = self.link.poll_event() {
            match event {
                Event::CarrierSilent => return Err(End::Silent),
                Event::Draining { deadline, reason } => {
                    board.events.draining = Some((deadline, reason));
                }
                Event::Closed { code, reason } => {
                    board.events.end = Some(End::ClosedByPeer { code, reason });
                }
            }
        }
        Ok(())
    }

    fn poll_flush_carrier(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(self.carrier.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for LinkIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let driven = self.drive(cx);
        let read = self.link.read(buf.initialize_unfilled());
        buf.advance(read);
        if read > 0 {
            return Poll::Ready(Ok(()));
        }
        driven?;
        if self.link.is_closed() {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.flushes) > 0 {
            self.link.flush();
            self.drive(cx)?;
        }
        // Acknowledgements and pongs do not wait for the multiplexer's next flush.
        if let Poll::Ready(flushed) = self.poll_flush_carrier(cx) {
            flushed?;
        }
        Poll::Pending
    }
}

impl AsyncWrite for LinkIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.link.unsent() >= WRITE_AHEAD {
            self.drive(cx)?;
        }
        if self.link.unsent() < WRITE_AHEAD {
            let written = self.link.write(bytes);
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
            self.drive(cx)?;
            let written = self.link.write(bytes);
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
        }
        if self.link.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What was written so far may be what the peer waits for before it acknowledges.
        self.link.flush();
        if let Poll::Ready(flushed) = self.poll_flush_carrier(cx) {
            flushed?;
        }
        Poll::Pending
    }

    /// A multiplexer flushes behind each of its frames. They leave together: when it has nothing
    /// more to write and reads to the end of what is there, as it does in every poll, or when that
    /// takes long.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.unsent() == 0 {
            return self.poll_flush_carrier(cx);
        }
        self.flushes += 1;
        if self.flushes < FLUSHES_TOGETHER {
            return Poll::Pending;
        }
        self.flushes = 0;
        self.link.flush();
        self.drive(cx)?;
        self.poll_flush_carrier(cx)
    }

    /// Says goodbye behind everything that was written, then closes the carrier.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let close = self.board.lock().close.take();
        if let Some((code, reason)) = close {
            self.link.close(code, &reason);
        }
        if !self.link.is_closed() {
            self.drive(cx)?;
            if !self.link.is_closed() {
                return Poll::Pending;
            }
        }
        ready!(self.poll_flush_carrier(cx))?;
        self.carrier.poll_close(cx)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn lost(error: io::Error) -> End {
    End::CarrierLost(error.to_string())
}
