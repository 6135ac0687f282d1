//! One agent's relationship with one server: streams in both directions over one link.
//!
//! A session has two halves. The [`Session`] is a handle: open streams, wait for the peer's, say
//! that this side is leaving. The [`Driver`] is a future that moves the bytes; whoever got it from
//! the dialer or the acceptor runs it, and it resolves with the reason when the session is over.
//!
//! A session is live, draining or closed ([`Phase`]). Draining: nothing new is opened, what runs
//! goes on until the deadline. Every stream learns of the end at once, whatever it was doing.

mod driver;
mod inbound;
mod stream;

pub use crate::link_io::End;
pub use driver::Driver;
use driver::Inlet;
pub use inbound::{Inbound, Incoming, IncomingError};
pub use stream::{Stream, refusal_in};

use crate::{
    carrier::Carrier,
    link_io::{Board, LinkIo},
    mux::{MuxStream, Side, Yamux},
};
use futures::StreamExt as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tunnel_proto::{
    frame::CloseCode,
    link::{self, Link},
    stream::{OpenV1, StreamError, encode_open},
};

/// Streams that one side may have open at once, whatever the peer would take. The multiplexer's
/// own limit counts both directions and kills the connection, so this stays well below its half.
pub const MOST_STREAMS: u32 = 896;

/// Streams of the peer that wait for [`Session::accept`]; more are reset.
const ACCEPT_QUEUE: usize = 256;

/// How long to wait for room for a stream whose preamble names no deadline.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Streams are opened and served.
    Live,
    /// The peer or this side is leaving.
    Draining {
        /// When what is left will be cut.
        deadline: Instant,
        /// For a person.
        reason: String,
    },
    /// Over.
    Closed(End),
}

/// A handle on a session; clones are the same session. See the [module](self).
#[derive(Clone, Debug)]
pub struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: String,
    opens: mpsc::Sender<oneshot::Sender<MuxStream>>,
    accepted: Mutex<futures::channel::mpsc::Receiver<(MuxStream, OwnedSemaphorePermit)>>,
    streams: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    /// Cancelled when the session is over: every stream's reader and writer wakes.
    over: CancellationToken,
    /// Wakes the driver for an order.
    order: Arc<Notify>,
    board: Arc<Board>,
    opened: AtomicU64,
    most_streams: u32,
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The preamble cannot be sent.
    #[error("cannot encode the preamble")]
    Preamble(#[from] StreamError),
    /// As many streams are open as the peer takes, and none ended within the time given.
    #[error("all {0} streams of the session are in use")]
    TooManyStreams(u32),
    /// One side is leaving.
    #[error("session is draining")]
    Draining,
    /// The session is over.
    #[error("session is over")]
    Closed,
}

/// What a session is doing, for metrics and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Streams this side has open.
    pub open_streams: usize,
    /// Streams this side has opened since the session began.
    pub opened: u64,
    /// The last round trip of a ping, if there was one.
    pub round_trip: Option<Duration>,
}

/// What both ends agreed on in the hello.
pub(crate) struct Agreement {
    pub(crate) id: String,
    pub(crate) side: Side,
    pub(crate) heartbeat: Duration,
    /// Streams the peer takes.
    pub(crate) peer_streams: u32,
    /// Streams this side takes.
    pub(crate) own_streams: u32,
}

pub(crate) fn start(agreement: Agreement, carrier: Carrier) -> (Session, Driver) {
    let now = tokio::time::Instant::now().into_std();
    let mut link = Link::new(link::Config {
        quiet: agreement.heartbeat,
        ..link::Config::default()
    });
    // A fresh link accepts offset 0.
    let _ = link.attach(now, tunnel_proto::frame::Offset(0));
    let board = Arc::new(Board::default());
    let mux = Yamux::new(
        LinkIo::new(link, carrier, Arc::clone(&board)),
        agreement.side,
    );
    let (opens, open_requests) = mpsc::channel(64);
    // tokio's channel keeps room for 32, in every idle session.
    let (accept, accepted) = futures::channel::mpsc::channel(ACCEPT_QUEUE);
    let most_streams = agreement.peer_streams.min(MOST_STREAMS);
    let shared = Arc::new(Shared {
        id: agreement.id,
        opens,
        accepted: Mutex::new(accepted),
        streams: Arc::new(Semaphore::new(most_streams as usize)),
        phase: watch::Sender::new(Phase::Live),
        over: CancellationToken::new(),
        order: Arc::new(Notify::new()),
        board,
        opened: AtomicU64::new(0),
        most_streams,
    });
    // Twice what the peer was told: it may open the next stream before this side has noticed the
    // end of the one before.
    let inbound = Semaphore::new(2 * agreement.own_streams.min(MOST_STREAMS) as usize);
    let inbound = Inlet {
        queue: accept,
        room: Arc::new(inbound),
    };
    let driver = Driver::new(Box::new(mux), open_requests, inbound, &shared);
    (Session { shared }, driver)
}

impl Session {
    /// The id both ends know the session by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Opens a stream. Data may be written at once; whether the peer took the stream is known
    /// when the first byte is read ([`refusal_in`] finds a refusal in the error), or from
    /// [`Stream::confirmed`].
    ///
    /// Cancel safe: nothing stays open if the future is dropped.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; [`OpenError::TooManyStreams`] after [`OpenV1::deadline_ms`].
    pub async fn open(&self, open: &OpenV1) -> Result<Stream, OpenError> {
        let preamble = encode_open(open)?;
        match &*self.shared.phase.borrow() {
            Phase::Live => {}
            Phase::Draining { .. } => return Err(OpenError::Draining),
            Phase::Closed(_) => return Err(OpenError::Closed),
        }
        let patience = match open.deadline_ms {
            0 => OPEN_PATIENCE,
            given => Duration::from_millis(given.into()),
        };
        tokio::select! {
            biased;
            () = self.shared.over.cancelled() => Err(OpenError::Closed),
            opened = tokio::time::timeout(patience, self.open_mux_stream()) => {
                let (stream, permit) =
                    opened.map_err(|_| OpenError::TooManyStreams(self.shared.most_streams))??;
                self.shared.opened.fetch_add(1, Ordering::Relaxed);
                let over = self.shared.over.clone();
                Ok(Stream::opened(stream, preamble.freeze(), over, permit))
            }
        }
    }

    async fn open_mux_stream(&self) -> Result<(MuxStream, OwnedSemaphorePermit), OpenError> {
        let streams = Arc::clone(&self.shared.streams);
        let permit = streams
            .acquire_owned()
            .await
            .map_err(|_| OpenError::Closed)?;
        let (reply, stream) = oneshot::channel();
        self.shared
            .opens
            .send(reply)
            .await
            .map_err(|_| OpenError::Closed)?;
        let stream = stream.await.map_err(|_| OpenError::Closed)?;
        Ok((stream, permit))
    }

    /// The next stream that the peer opened; `None` when the session is over.
    pub async fn accept(&self) -> Option<Incoming> {
        let (stream, permit) = self.shared.accepted.lock().await.next().await?;
        Some(Incoming::new(stream, self.shared.over.clone(), permit))
    }

    /// How far the session is.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Cancelled when the session is over.
    #[must_use]
    pub fn over(&self) -> &CancellationToken {
        &self.shared.over
    }

    /// Tells the peer that this side leaves in `deadline`, and opens nothing new from now on.
    pub fn drain(&self, deadline: Duration, reason: &str) {
        self.shared.board.ask_drain(deadline, reason);
        let at = tokio::time::Instant::now().into_std() + deadline;
        self.shared.phase.send_if_modified(|phase| {
            let live = matches!(phase, Phase::Live);
            if live {
                *phase = Phase::Draining {
                    deadline: at,
                    reason: reason.to_owned(),
                };
            }
            live
        });
        self.shared.order.notify_one();
    }

    /// Ends the session: the peer is told why, streams are cut. The driver resolves soon after.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.shared.board.set_close(code, reason);
        let end = End::ClosedHere {
            code,
            reason: reason.to_owned(),
        };
        self.shared.finish(end);
        self.shared.order.notify_one();
    }

    /// Waits until no stream that this side opened is left. Meant for a session that is draining:
    /// while it is live, another stream may be opened at once.
    pub async fn idle(&self) {
        // An error means that the semaphore was closed, which nobody does.
        let _ = self
            .shared
            .streams
            .acquire_many(self.shared.most_streams)
            .await;
    }

    /// What the session is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let free = self.shared.streams.available_permits();
        Stats {
            open_streams: (self.shared.most_streams as usize).saturating_sub(free),
            opened: self.shared.opened.load(Ordering::Relaxed),
            round_trip: self.shared.board.round_trip(),
        }
    }
}

impl Shared {
    /// Enters [`Phase::Closed`], once; the first reason stays.
    fn finish(&self, end: End) {
        self.phase.send_if_modified(|phase| {
            if matches!(phase, Phase::Closed(_)) {
                return false;
            }
            *phase = Phase::Closed(end);
            true
        });
        // Readers of other streams stay asleep when yamux closes; this wakes them.
        self.over.cancel();
    }
}
