//! What a lane and those who hold its session tell each other.

use crate::carrier::Carrier;
use futures::task::AtomicWaker;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{oneshot, watch};
use tunnel_proto::{
    frame::{CloseCode, Offset},
    link::LinkError,
};

/// Why a session is over, or its last carrier.
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
    /// The peer broke the rules of the link.
    #[error("peer broke the protocol")]
    Protocol(#[source] LinkError),
    /// The peer sent what no message of a carrier can be.
    #[error("peer broke the protocol: {0}")]
    Carrier(String),
    /// The multiplexer gave up on the peer.
    #[error("multiplexer failed: {0}")]
    Mux(String),
    /// Nothing was heard from the peer, not even the answer to a ping.
    #[error("peer is silent")]
    Silent,
    /// The connection broke.
    #[error("connection lost: {0}")]
    CarrierLost(String),
    /// Another connection has taken its place.
    #[error("replaced by another connection")]
    Replaced,
    /// The peer does not go on with the session.
    #[error("peer does not know the session any more: {0}")]
    Forgotten(String),
    /// This side ended it.
    #[error("closed here ({code:?}): {reason}")]
    ClosedHere {
        /// For a program.
        code: CloseCode,
        /// For a person.
        reason: String,
    },
}

/// A lane that takes in nothing until another carrier is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// How many bytes it has received.
    pub(crate) received: Offset,
    /// Which time it was frozen: only the last one may attach.
    epoch: u64,
}

/// How a lane is, for metrics and people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Whether it has a carrier.
    pub attached: bool,
    /// Since when it has, or has not.
    pub since: Option<SystemTime>,
    /// Carriers it has had.
    pub carriers: u64,
    /// Carriers that were lost.
    pub losses: u64,
    /// Of these, the ones of which nothing was heard any more.
    pub silences: u64,
    /// Of these, the ones in whose place the peer brought another one.
    pub replaced: u64,
    /// What the last one was lost to.
    pub last_loss: Option<String>,
    /// When the last one was lost.
    pub last_loss_at: Option<SystemTime>,
    /// How long the last one had lasted.
    pub last_lasted: Option<Duration>,
    /// The last round trip of a ping.
    pub round_trip: Option<Duration>,
    /// Bytes that were written to the link.
    pub sent: u64,
    /// Bytes that came over the link.
    pub received: u64,
    /// Bytes that the peer has not acknowledged, all of which are kept.
    pub unacknowledged: usize,
    /// Most bytes that are kept so.
    pub replay_bound: usize,
}

impl LaneStatus {
    /// Counts what other lanes, of which this one took the place, have done.
    pub(crate) fn add(&mut self, past: &Self) {
        self.carriers += past.carriers;
        self.losses += past.losses;
        self.silences += past.silences;
        self.replaced += past.replaced;
        self.sent += past.sent;
        self.received += past.received;
        if self.last_loss.is_none() {
            self.last_loss.clone_from(&past.last_loss);
            self.last_loss_at = past.last_loss_at;
            self.last_lasted = past.last_lasted;
        }
    }
}

/// What the lane sees of its link.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) round_trip: Option<Duration>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) unacknowledged: usize,
    pub(crate) replay_bound: usize,
}

/// Orders to a lane, and what became of it.
#[derive(Debug)]
pub(crate) struct Control {
    state: Mutex<State>,
    attached: watch::Sender<bool>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    orders: Orders,
    close: Option<(CloseCode, String)>,
    events: Events,
    status: LaneStatus,
    epoch: u64,
}

/// What the lane is to do.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub(super) drain: Option<(Duration, String)>,
    pub(super) freeze: Option<oneshot::Sender<Frozen>>,
    pub(super) attach: Option<Attach>,
    /// The bulk lane to ask the peer for, if any.
    pub(super) want: Option<Option<u32>>,
}

/// A carrier whose handshake is done.
#[derive(Debug)]
pub(super) struct Attach {
    pub(super) carrier: Carrier,
    pub(super) peer_received: Offset,
}

/// What happened since the session looked last.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The peer is leaving, until then, for this reason.
    pub(crate) draining: Option<(Instant, String)>,
    /// Why the lane is over.
    pub(crate) end: Option<End>,
    /// The peer would have the bulk lane of this number.
    pub(crate) wanted: Option<u32>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            attached: watch::Sender::new(false),
            waker: AtomicWaker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain assignments happen under the lock; a panic elsewhere leaves it in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ask_drain(&self, deadline: Duration, reason: &str) {
        self.lock().orders.drain = Some((deadline, reason.to_owned()));
        self.waker.wake();
    }

    /// Has the peer asked for the bulk lane of this number, until another one is wanted or none.
    pub(crate) fn want_lane(&self, number: Option<u32>) {
        self.lock().orders.want = Some(number);
        self.waker.wake();
    }

    pub(crate) fn set_close(&self, code: CloseCode, reason: &str) {
        self.lock().close = Some((code, reason.to_owned()));
    }

    /// Makes the lane take in nothing more until [`Control::attach`]; its carrier is let go. `None`
    /// if the lane is over, or somebody else asked after this one: the newest wins.
    pub(crate) async fn ask_freeze(&self) -> Option<Frozen> {
        let (answer, frozen) = oneshot::channel();
        self.lock().orders.freeze = Some(answer);
        self.waker.wake();
        frozen.await.ok()
    }

    /// Gives a frozen lane its next carrier. The peer has received so many bytes. `false` if the
    /// lane was frozen again since.
    pub(crate) fn attach(&self, frozen: Frozen, carrier: Carrier, peer_received: Offset) -> bool {
        let mut state = self.lock();
        let newest = state.epoch == frozen.epoch;
        if newest {
            state.orders.attach = Some(Attach {
                carrier,
                peer_received,
            });
            self.waker.wake();
        }
        newest
    }

    pub(crate) fn take_events(&self) -> Events {
        std::mem::take(&mut self.lock().events)
    }

    pub(crate) fn status(&self) -> LaneStatus {
        self.lock().status.clone()
    }

    /// Whether the lane has a carrier.
    pub(crate) fn is_attached(&self) -> bool {
        *self.attached.borrow()
    }

    /// Whether the lane has a carrier, now and later.
    pub(crate) fn watch_attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(super) fn take_orders(&self) -> Orders {
        std::mem::take(&mut self.lock().orders)
    }

    pub(super) fn take_close(&self) -> Option<(CloseCode, String)> {
        self.lock().close.take()
    }

    /// The lane is frozen; an order to attach that was not taken up is void.
    pub(super) fn freeze(&self, received: Offset) -> Frozen {
        let mut state = self.lock();
        state.epoch += 1;
        Frozen {
            received,
            epoch: state.epoch,
        }
    }

    pub(super) fn attached(&self) {
        let mut state = self.lock();
        let status = &mut state.status;
        status.attached = true;
        status.since = Some(SystemTime::now());
        status.carriers += 1;
        self.attached.send_replace(true);
    }

    pub(super) fn detached(&self, why: &End) {
        let mut state = self.lock();
        let status = &mut state.status;
        let now = SystemTime::now();
        status.last_lasted = status
            .since
            .and_then(|since| now.duration_since(since).ok());
        status.last_loss_at = Some(now);
        status.attached = false;
        status.since = Some(now);
        status.losses += 1;
        match why {
            End::Silent => status.silences += 1,
            End::Replaced => status.replaced += 1,
            _ => {}
        }
        status.last_loss = Some(why.to_string());
        self.attached.send_replace(false);
    }

    pub(super) fn draining(&self, deadline: Instant, reason: String) {
        self.lock().events.draining = Some((deadline, reason));
    }

    pub(super) fn wanted(&self, number: u32) {
        self.lock().events.wanted = Some(number);
    }

    pub(super) fn ended(&self, end: End) {
        self.lock().events.end.get_or_insert(end);
        self.attached.send_replace(false);
    }

    pub(super) fn see(&self, seen: Seen) {
        let mut state = self.lock();
        let status = &mut state.status;
        status.round_trip = seen.round_trip.or(status.round_trip);
        status.sent = seen.sent;
        status.received = seen.received;
        status.unacknowledged = seen.unacknowledged;
        status.replay_bound = seen.replay_bound;
    }
}
