//! One agent's relationship with one server: streams in both directions over one link.
//!
//! A session has two halves. The [`Session`] is a handle: open streams, wait for the peer's, say
//! that this side is leaving. The [`Driver`] is a future that moves the bytes; whoever got it from
//! the dialer or the acceptor runs it, and it resolves with the reason when the session is over.
//!
//! A session is live, draining or closed ([`Phase`]). Draining: nothing new is opened, what runs
//! goes on until the deadline. Every stream learns of the end at once, whatever it was doing.
//!
//! A session outlives its carriers: while there is none, streams wait, and go on where they were
//! when there is another one. [`Session::attached`] says which it is.

mod driver;
mod inbound;
mod keeper;
mod stream;

pub use crate::lane::{End, LaneStatus};
pub use driver::Driver;
use driver::Inlet;
pub use inbound::{Inbound, Incoming, IncomingError};
pub(crate) use keeper::{Again, Keeper, Redial, Redialled};
pub use stream::{Stream, refusal_in};
pub use tunnel_proto::mux::Stats as MuxStats;

use crate::{
    Memory,
    carrier::Carrier,
    dial::Connected,
    lane::{Control, Frozen, Lane},
    mux::{self, MuxError, MuxStream, Opener},
};
use futures::StreamExt as _;
use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tunnel_proto::{
    budget::{Budget, Grant},
    frame::{CloseCode, Offset},
    link::{self, Link},
    mux::Side,
    stream::{Class, OpenV1, StreamError, encode_open},
};

/// Streams that one side may have open at once, whatever the peer would take. The multiplexer's
/// own limit counts both directions and kills the connection, so this stays well below its half.
pub const MOST_STREAMS: u32 = 896;

/// Streams of the peer that wait for [`Session::accept`]; more are reset.
const ACCEPT_QUEUE: usize = 256;

/// What the windows of a session's streams may grow by together: 4 Gbit/s at 100 ms.
const SESSION_WINDOWS: usize = 64 * 1024 * 1024;

/// What a session may keep for replay beyond the replay bound.
const SESSION_REPLAY: usize = 64 * 1024 * 1024;

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
    mux: String,
    opener: Opener,
    control: Arc<Control>,
    accepted: Mutex<futures::channel::mpsc::Receiver<(MuxStream, OwnedSemaphorePermit)>>,
    streams: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    /// Cancelled when the session is over: every stream's reader and writer wakes.
    over: CancellationToken,
    /// Wakes the driver for an order.
    order: Arc<Notify>,
    opened: AtomicU64,
    most_streams: u32,
    windows: Arc<Budget>,
    replay: Arc<Budget>,
    /// The session that the server made of an attempt to go on with this one.
    successor: std::sync::Mutex<Option<Box<Connected>>>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Streams this side has open.
    pub open_streams: usize,
    /// Streams this side has opened since the session began.
    pub opened: u64,
    /// Its multiplexer, as the hello names it.
    pub mux: String,
    /// What the multiplexer is doing; yamux does not say.
    pub streams: Option<MuxStats>,
    /// The link and its carriers.
    pub lane: LaneStatus,
    /// What the windows of its streams have grown by.
    pub windows: Taken,
    /// What is kept for replay beyond what every session has.
    pub replay: Taken,
}

/// Memory that a session has taken, of what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that are taken.
    pub bytes: usize,
    /// Bytes that may be.
    pub most: usize,
}

impl Taken {
    fn of(budget: &Budget) -> Self {
        Self {
            bytes: budget.taken(),
            most: budget.total(),
        }
    }
}

/// What both ends agreed on in the hello.
pub(crate) struct Agreement {
    pub(crate) id: String,
    pub(crate) side: Side,
    pub(crate) mux: String,
    pub(crate) heartbeat: Duration,
    /// How long the session outlives its carrier.
    pub(crate) resume_window: Duration,
    /// Streams the peer takes.
    pub(crate) peer_streams: u32,
    /// Streams this side takes.
    pub(crate) own_streams: u32,
    pub(crate) memory: Memory,
}

/// Starts a session on its first carrier. `keeper` brings it another one, on the side that dials.
pub(crate) fn start(
    agreement: Agreement,
    carrier: Carrier,
    keeper: Option<Keeper>,
) -> (Session, Driver) {
    let link = Link::new(link::Config {
        quiet: agreement.heartbeat,
        replay_bound: mux::replay_bound(&agreement.mux),
        ..link::Config::default()
    });
    let control = Arc::new(Control::new());
    let replay = Budget::within(&agreement.memory.replay, SESSION_REPLAY);
    let windows = Budget::within(
        &agreement.memory.windows,
        SESSION_WINDOWS.min(agreement.memory.windows.total()),
    );
    let lane = Lane::new(
        link,
        carrier,
        agreement.resume_window,
        Grant::of(&replay),
        Arc::clone(&control),
    );
    let over = CancellationToken::new();
    let most_streams = agreement.peer_streams.min(MOST_STREAMS);
    let own_streams = agreement.own_streams.min(MOST_STREAMS) as usize;
    let agreed = mux::Agreed {
        mux: &agreement.mux,
        side: agreement.side,
        own_streams: most_streams as usize,
        peer_streams: own_streams,
        windows: Arc::clone(&windows),
    };
    let (opener, mux) = mux::start(&agreed, lane, &over);
    // tokio's channel keeps room for 32, in every idle session.
    let (accept, accepted) = futures::channel::mpsc::channel(ACCEPT_QUEUE);
    let shared = Arc::new(Shared {
        id: agreement.id,
        mux: agreement.mux,
        opener,
        control,
        accepted: Mutex::new(accepted),
        streams: Arc::new(Semaphore::new(most_streams as usize)),
        phase: watch::Sender::new(Phase::Live),
        over,
        order: Arc::new(Notify::new()),
        opened: AtomicU64::new(0),
        most_streams,
        windows,
        replay,
        successor: std::sync::Mutex::default(),
    });
    let inlet = Inlet {
        queue: accept,
        // Twice what the peer was told: it may open the next stream before this side has noticed
        // the end of the one before.
        room: Arc::new(Semaphore::new(2 * own_streams)),
    };
    let driver = Driver::new(mux, inlet, keeper, &shared);
    (Session { shared }, driver)
}

impl Session {
    /// The id both ends know the session by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Its multiplexer, as the hello names it.
    #[must_use]
    pub fn mux(&self) -> &str {
        &self.shared.mux
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
            opened = tokio::time::timeout(patience, self.open_mux_stream(open.class)) => {
                let (stream, permit) =
                    opened.map_err(|_| OpenError::TooManyStreams(self.shared.most_streams))??;
                self.shared.opened.fetch_add(1, Ordering::Relaxed);
                Ok(Stream::opened(stream, preamble.freeze(), permit))
            }
        }
    }

    async fn open_mux_stream(
        &self,
        class: Class,
    ) -> Result<(MuxStream, OwnedSemaphorePermit), OpenError> {
        let streams = Arc::clone(&self.shared.streams);
        let permit = streams
            .acquire_owned()
            .await
            .map_err(|_| OpenError::Closed)?;
        let opened = self.shared.opener.open(class).await;
        let stream = opened.map_err(|_: MuxError| OpenError::Closed)?;
        Ok((stream, permit))
    }

    /// The next stream that the peer opened; `None` when the session is over.
    pub async fn accept(&self) -> Option<Incoming> {
        let (stream, permit) = self.shared.accepted.lock().await.next().await?;
        Some(Incoming::new(stream, permit, self.attached()))
    }

    /// How far the session is.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Whether the session has a carrier now. While it has none, streams wait.
    #[must_use]
    pub fn attached(&self) -> watch::Receiver<bool> {
        self.shared.control.watch_attached()
    }

    /// Stops taking anything in until another carrier is attached. `None` if the session is over,
    /// or yet another carrier is coming.
    pub(crate) async fn freeze(&self) -> Option<Frozen> {
        tokio::select! {
            biased;
            () = self.shared.over.cancelled() => None,
            frozen = self.shared.control.ask_freeze() => frozen,
        }
    }

    /// Goes on with another carrier, over which the peer said how many bytes it has received.
    pub(crate) fn attach(&self, frozen: Frozen, carrier: Carrier, peer_received: Offset) -> bool {
        self.shared.control.attach(frozen, carrier, peer_received)
    }

    /// The session that the server began when it was asked to go on with this one, and did not
    /// know it any more. It is there when this one has ended with [`End::Forgotten`].
    #[must_use]
    pub fn take_successor(&self) -> Option<Box<Connected>> {
        let mut successor = self
            .shared
            .successor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        successor.take()
    }

    /// Cancelled when the session is over.
    #[must_use]
    pub fn over(&self) -> &CancellationToken {
        &self.shared.over
    }

    /// Tells the peer that this side leaves in `deadline`, and opens nothing new from now on.
    pub fn drain(&self, deadline: Duration, reason: &str) {
        self.shared.control.ask_drain(deadline, reason);
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
        self.shared.control.set_close(code, reason);
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

    /// How its link and its carriers are; costs less than [`Session::stats`].
    #[must_use]
    pub fn lane(&self) -> LaneStatus {
        self.shared.control.status()
    }

    /// What the session is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let free = self.shared.streams.available_permits();
        Stats {
            open_streams: (self.shared.most_streams as usize).saturating_sub(free),
            opened: self.shared.opened.load(Ordering::Relaxed),
            mux: self.shared.mux.clone(),
            streams: self.shared.opener.stats(),
            lane: self.shared.control.status(),
            windows: Taken::of(&self.shared.windows),
            replay: Taken::of(&self.shared.replay),
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
