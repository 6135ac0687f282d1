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
//!
//! Its streams share one lane, and with it one connection. What carries a lot gets a second lane
//! where both ends can have one, so that a keystroke never waits behind it in a socket.

mod bulk;
mod driver;
mod inbound;
mod keeper;
mod stats;
mod stream;

pub use crate::lane::{End, LaneStatus};
use bulk::Bulk;
pub use driver::Driver;
use driver::Inlet;
pub use inbound::{Inbound, Incoming, IncomingError};
pub(crate) use keeper::{Again, Keeper, Redial, Redialled};
pub use stats::{BulkStats, Stats, Taken};
use stream::Held;
pub use stream::{Stream, refusal_in};
pub use tunnel_proto::mux::Stats as MuxStats;

use crate::{
    Memory,
    carrier::Carrier,
    dial::Connected,
    lane::{Control, Frozen, Lane},
    mux::{self, Mux, MuxError, MuxStream, Opener},
};
use futures::StreamExt as _;
use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tunnel_proto::{
    budget::{Budget, Grant},
    frame::CloseCode,
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
    terms: Terms,
    /// Of the interactive lane.
    opener: Opener,
    control: Arc<Control>,
    bulk: Bulk,
    accepted: Mutex<futures::channel::mpsc::Receiver<Incoming>>,
    streams: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    /// Cancelled when the session is over: every stream's reader and writer wakes.
    over: CancellationToken,
    /// Wakes the driver for an order.
    order: Arc<Notify>,
    opened: AtomicU64,
    /// The session that the server made of an attempt to go on with this one.
    successor: std::sync::Mutex<Option<Box<Connected>>>,
}

/// What holds for every lane of a session.
#[derive(Debug)]
struct Terms {
    side: Side,
    mux: String,
    heartbeat: Duration,
    resume_window: Duration,
    /// Streams that this side opens at most, over all lanes.
    most_streams: u32,
    /// Streams that the peer does.
    own_streams: u32,
    windows: Arc<Budget>,
    replay: Arc<Budget>,
}

impl Terms {
    /// Link and multiplexer of a lane. `over` is cancelled when it is over.
    fn lane(
        &self,
        carrier: Option<Carrier>,
        control: &Arc<Control>,
        over: &CancellationToken,
    ) -> (Opener, Box<dyn Mux>) {
        let link = Link::new(link::Config {
            quiet: self.heartbeat,
            replay_bound: mux::replay_bound(&self.mux),
            ..link::Config::default()
        });
        let replay = Grant::of(&self.replay);
        let window = self.resume_window;
        let lane = Lane::new(link, carrier, window, replay, Arc::clone(control));
        let agreed = mux::Agreed {
            mux: &self.mux,
            side: self.side,
            own_streams: self.most_streams as usize,
            peer_streams: self.own_streams as usize,
            windows: Arc::clone(&self.windows),
        };
        mux::start(&agreed, lane, over)
    }
}

/// A lane that takes in nothing until it has another carrier.
pub(crate) struct Halted {
    pub(crate) control: Arc<Control>,
    pub(crate) frozen: Frozen,
}

/// Why a lane does not go on with a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHalted {
    /// It is over, or was never there.
    Over,
    /// Yet another carrier is coming.
    Overtaken,
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
    /// Whether both ends can have a second lane. Without a resume window there is none: it begins
    /// without a carrier.
    pub(crate) bulk_lane: bool,
}

/// Starts a session on its first carrier. `keeper` brings it another one, on the side that dials.
pub(crate) fn start(
    agreement: Agreement,
    carrier: Carrier,
    keeper: Option<Keeper>,
) -> (Session, Driver) {
    let terms = Terms {
        side: agreement.side,
        mux: agreement.mux,
        heartbeat: agreement.heartbeat,
        resume_window: agreement.resume_window,
        most_streams: agreement.peer_streams.min(MOST_STREAMS),
        own_streams: agreement.own_streams.min(MOST_STREAMS),
        windows: Budget::within(
            &agreement.memory.windows,
            SESSION_WINDOWS.min(agreement.memory.windows.total()),
        ),
        replay: Budget::within(&agreement.memory.replay, SESSION_REPLAY),
    };
    let control = Arc::new(Control::new());
    let over = CancellationToken::new();
    let (opener, mux) = terms.lane(Some(carrier), &control, &over);
    // tokio's channel keeps room for 32, in every idle session.
    let (accept, accepted) = futures::channel::mpsc::channel(ACCEPT_QUEUE);
    // Twice what the peer was told: it may open the next stream before this side has noticed the
    // end of the one before.
    let inlet = Inlet {
        queue: accept,
        room: Arc::new(Semaphore::new(2 * terms.own_streams as usize)),
    };
    let resumes = !agreement.resume_window.is_zero();
    let shared = Arc::new(Shared {
        id: agreement.id,
        opener,
        control,
        bulk: Bulk::new(agreement.bulk_lane && resumes),
        accepted: Mutex::new(accepted),
        streams: Arc::new(Semaphore::new(terms.most_streams as usize)),
        phase: watch::Sender::new(Phase::Live),
        over,
        order: Arc::new(Notify::new()),
        opened: AtomicU64::new(0),
        successor: std::sync::Mutex::default(),
        terms,
    });
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
        &self.shared.terms.mux
    }

    /// Opens a stream. Data may be written at once; whether the peer took the stream is known
    /// when the first byte is read ([`refusal_in`] finds a refusal in the error), or from
    /// [`Stream::confirmed`].
    ///
    /// A stream of [`Class::Bulk`] goes over the bulk lane. If that is not there it is waited for,
    /// for 2 s at most, and then the stream goes over the interactive one.
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
            opened = tokio::time::timeout(patience, self.open_mux_stream(open.class, patience)) => {
                let (stream, held) =
                    opened.map_err(|_| OpenError::TooManyStreams(self.shared.terms.most_streams))??;
                self.shared.opened.fetch_add(1, Ordering::Relaxed);
                Ok(Stream::opened(stream, preamble.freeze(), held))
            }
        }
    }

    async fn open_mux_stream(
        &self,
        class: Class,
        patience: Duration,
    ) -> Result<(MuxStream, Held), OpenError> {
        let shared = &self.shared;
        let room = Arc::clone(&shared.streams).acquire_owned().await;
        let mut held = Held {
            _room: room.map_err(|_| OpenError::Closed)?,
            _lane: None,
        };
        if class == Class::Bulk
            && let Some(seat) = shared.bulk.seat(shared, patience / 2).await
            // A lane that has just ended is none.
            && let Ok(stream) = seat.opener.open(class).await
        {
            held._lane = Some(seat.mark);
            return Ok((stream, held));
        }
        let opened = shared.opener.open(class).await;
        let stream = opened.map_err(|_: MuxError| OpenError::Closed)?;
        Ok((stream, held))
    }

    /// The next stream that the peer opened; `None` when the session is over.
    pub async fn accept(&self) -> Option<Incoming> {
        self.shared.accepted.lock().await.next().await
    }

    /// How far the session is.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Whether the session's interactive lane has a carrier now. While it has none, the streams on
    /// it wait.
    #[must_use]
    pub fn attached(&self) -> watch::Receiver<bool> {
        self.shared.control.watch_attached()
    }

    /// Has a lane take in nothing until another carrier is attached: the interactive one, which is
    /// number 0, or the bulk lane of another number, which begins if it is a new one.
    pub(crate) async fn halt(&self, number: u32) -> Result<Halted, NotHalted> {
        let shared = &self.shared;
        let (control, over) = match number {
            0 => (Arc::clone(&shared.control), shared.over.clone()),
            number => shared.bulk.lane(shared, number).ok_or(NotHalted::Over)?,
        };
        let frozen = tokio::select! {
            biased;
            () = over.cancelled() => return Err(NotHalted::Over),
            frozen = control.ask_freeze() => frozen,
        };
        match frozen {
            Some(frozen) => Ok(Halted { control, frozen }),
            None if over.is_cancelled() => Err(NotHalted::Over),
            None => Err(NotHalted::Overtaken),
        }
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
            .acquire_many(self.shared.terms.most_streams)
            .await;
    }

    /// How its interactive lane and its carriers are; costs less than [`Session::stats`].
    #[must_use]
    pub fn lane(&self) -> LaneStatus {
        self.shared.control.status()
    }

    /// How its bulk lane is.
    #[must_use]
    pub fn bulk(&self) -> BulkStats {
        self.shared.bulk.stats()
    }

    /// What the session is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let free = self.shared.streams.available_permits();
        Stats {
            open_streams: (self.shared.terms.most_streams as usize).saturating_sub(free),
            opened: self.shared.opened.load(Ordering::Relaxed),
            mux: self.shared.terms.mux.clone(),
            streams: self.shared.opener.stats(),
            lane: self.shared.control.status(),
            bulk: self.shared.bulk.stats(),
            windows: Taken::of(&self.shared.terms.windows),
            replay: Taken::of(&self.shared.terms.replay),
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
