//! The second lane of a session, for streams that carry a lot. It comes when such a stream is to
//! be opened, and goes when there was none for a while; until it is there, and where it does not
//! come, these streams go over the interactive lane.
//!
//! Only the agent dials. It numbers its bulk lanes: the server knows a lane that it has from one
//! that begins, however often a handshake is repeated.

mod driver;

pub(super) use driver::LaneDriver;

use super::{Phase, Shared, keeper::Keeper, stats::BulkStats};
use crate::{
    lane::{Control, End, LaneStatus},
    mux::{Mux, Opener},
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long a stream waits for the lane before it goes over the other one.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after a lane was lost the agent begins no other one.
const SHUNNED: Duration = Duration::from_secs(30);

/// What both sides know of their bulk lane.
#[derive(Debug)]
pub(super) struct Bulk {
    possible: bool,
    state: Mutex<State>,
    /// Whether the session's driver has something to take up.
    news: AtomicBool,
    /// The lane has its carrier, has gone, or takes no streams any more.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the newest lane.
    number: u32,
    lane: Option<Present>,
    /// What the session's driver has to take up.
    new: Option<New>,
    /// The number of the lane that somebody waits for, here or at the peer.
    wanted: Option<u32>,
    /// The number of the lane that the peer was asked for.
    asked: Option<u32>,
    /// Since when streams wait for the lane.
    awaited_since: Option<Instant>,
    shunned_until: Option<Instant>,
    /// What the lanes before have done.
    past: LaneStatus,
    lost: u64,
    last_lost: Option<End>,
}

/// The lane that there is.
#[derive(Debug)]
struct Present {
    opener: Opener,
    control: Arc<Control>,
    over: CancellationToken,
    /// Held here, by the lane's driver, and by each stream on it.
    users: Arc<()>,
    /// No stream is opened on it any more.
    leaving: bool,
}

/// A lane that nobody drives yet.
pub(super) struct New {
    number: u32,
    mux: Box<dyn Mux>,
    opener: Opener,
    keeper: Option<Keeper>,
    control: Arc<Control>,
    over: CancellationToken,
    users: Arc<()>,
}

impl fmt::Debug for New {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "New({})", self.number)
    }
}

/// Where a stream can be opened.
pub(super) struct Seat {
    pub(super) opener: Opener,
    /// Keeps the lane.
    pub(super) mark: Arc<()>,
}

/// What somebody who wants to open a stream finds.
enum Found {
    Seat(Seat),
    /// It may come until then, or get its carrier.
    Wait(Instant),
    Nothing,
}

impl Bulk {
    pub(super) fn new(possible: bool) -> Self {
        Self {
            possible,
            state: Mutex::default(),
            news: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain assignments happen under the lock; a panic elsewhere leaves it in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to open a stream that carries a lot. Asks for the lane if there is none, and waits a
    /// little for it, never longer than `patience`.
    pub(super) async fn seat(&self, shared: &Shared, patience: Duration) -> Option<Seat> {
        if !self.possible {
            return None;
        }
        let limit = Instant::now() + patience;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = match self.look(shared) {
                Found::Seat(seat) => return Some(seat),
                Found::Wait(until) => until.min(limit),
                Found::Nothing => return None,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    }

    fn look(&self, shared: &Shared) -> Found {
        let now = Instant::now();
        let mut state = self.lock();
        match &state.lane {
            Some(lane) if lane.leaving => return Found::Nothing,
            Some(lane) if lane.control.is_attached() => {
                return Found::Seat(Seat {
                    opener: lane.opener.clone(),
                    mark: Arc::clone(&lane.users),
                });
            }
            Some(_) => {}
            None if state.shunned_until.is_some_and(|until| now < until) => return Found::Nothing,
            None => {
                if state.wanted.is_none() {
                    let Some(next) = state.number.checked_add(1) else {
                        return Found::Nothing;
                    };
                    state.wanted = Some(next);
                    state.awaited_since = Some(now);
                    self.tell(shared);
                }
            }
        }
        // Those who come later do not wait as long again for what does not come.
        let until = *state.awaited_since.get_or_insert(now) + PATIENCE;
        match now < until {
            true => Found::Wait(until),
            false => Found::Nothing,
        }
    }

    /// The lane of that number, for a carrier of it: the one that there is, or a new one in its
    /// place. `None` if it is over, or the session.
    pub(super) fn lane(
        &self,
        shared: &Shared,
        number: u32,
    ) -> Option<(Arc<Control>, CancellationToken)> {
        let mut state = self.lock();
        if !self.possible || number < state.number || shared.over.is_cancelled() {
            return None;
        }
        if number > state.number {
            self.begin(&mut state, shared, number, None);
            self.tell(shared);
        }
        let lane = state.lane.as_ref().filter(|_| state.number == number)?;
        Some((Arc::clone(&lane.control), lane.over.clone()))
    }

    /// Begins a lane without a carrier. One that is there ends with all that is on it.
    fn begin(&self, state: &mut State, shared: &Shared, number: u32, keeper: Option<Keeper>) {
        let control = Arc::new(Control::new());
        let over = shared.over.child_token();
        let (opener, mux) = shared.terms.lane(None, &control, &over);
        let users = Arc::new(());
        state.new = Some(New {
            number,
            mux,
            opener: opener.clone(),
            keeper,
            control: Arc::clone(&control),
            over: over.clone(),
            users: Arc::clone(&users),
        });
        let present = Present {
            opener,
            control,
            over,
            users,
            leaving: false,
        };
        if let Some(old) = state.lane.replace(present) {
            old.over.cancel();
            state.past = status_of(&old.control, &state.past);
        }
        state.number = number;
        state.wanted = None;
    }

    /// The peer would have the lane of that number, or a later one.
    pub(super) fn wanted_by_peer(&self, number: u32) {
        let mut state = self.lock();
        let has_it = state.lane.is_some() && state.number >= number;
        if self.possible && !has_it {
            state.wanted = Some(number);
            self.news.store(true, Ordering::Relaxed);
        }
    }

    /// Tells the session's driver to look.
    fn tell(&self, shared: &Shared) {
        self.news.store(true, Ordering::Relaxed);
        shared.order.notify_one();
    }

    /// What the session's driver has to drive from now on. On the side that dials, the lane that
    /// somebody wants begins here; on the other side the peer is asked for it.
    pub(super) fn attend(&self, shared: &Shared, keeper: Option<&mut Keeper>) -> Option<New> {
        if !self.news.swap(false, Ordering::Relaxed) {
            return None;
        }
        let mut state = self.lock();
        let is_live = matches!(*shared.phase.borrow(), Phase::Live);
        match keeper {
            Some(keeper) if is_live && state.lane.is_none() && state.wanted.is_some() => {
                let shunned = state.shunned_until.filter(|until| Instant::now() < *until);
                match state.number.checked_add(1) {
                    Some(next) if shunned.is_none() => {
                        self.begin(&mut state, shared, next, Some(keeper.beside(next)));
                    }
                    // It is looked at again at the next occasion, of which a heartbeat is one.
                    _ => self.news.store(true, Ordering::Relaxed),
                }
            }
            None if is_live && state.asked != state.wanted => {
                state.asked = state.wanted;
                shared.control.want_lane(state.wanted);
            }
            _ => {}
        }
        state.new.take()
    }

    /// The lane has a carrier.
    fn attached(&self) {
        self.lock().awaited_since = None;
        self.changed.notify_waiters();
    }

    /// Opens no streams on the lane any more. `false` if there are some on it.
    fn leave_unused(&self, number: u32) -> bool {
        let mut state = self.lock();
        if state.number != number {
            return false;
        }
        let unused = |lane: &&mut Present| !is_used(&lane.users);
        let left = state.lane.as_mut().filter(unused);
        left.is_some_and(|lane| {
            lane.leaving = true;
            true
        })
    }

    /// The peer opens no streams on the lane any more, nor does this side.
    fn leave(&self, number: u32) {
        let mut state = self.lock();
        if state.number == number
            && let Some(lane) = &mut state.lane
        {
            lane.leaving = true;
            self.changed.notify_waiters();
        }
    }

    /// Whether there is a newer lane than the one of that number.
    fn has_newer(&self, number: u32) -> bool {
        self.lock().number > number
    }

    /// A lane is over.
    fn ended(&self, number: u32, how: Ended) {
        let mut state = self.lock();
        if state.number == number
            && let Some(lane) = state.lane.take()
        {
            state.past = status_of(&lane.control, &state.past);
            self.changed.notify_waiters();
            // Another one may be wanted already.
            self.news.store(true, Ordering::Relaxed);
        }
        match how {
            Ended::InOrder => {}
            Ended::NeverCame => state.shunned_until = Some(Instant::now() + SHUNNED),
            Ended::Lost(why) => {
                state.lost += 1;
                state.last_lost = Some(why);
                state.shunned_until = Some(Instant::now() + SHUNNED);
            }
        }
    }

    pub(super) fn stats(&self) -> BulkStats {
        let state = self.lock();
        let present = state.lane.as_ref();
        BulkStats {
            possible: self.possible,
            open: present.is_some(),
            begun: u64::from(state.number),
            lost: state.lost,
            last_lost: state.last_lost.clone(),
            streams: present.and_then(|lane| lane.opener.stats()),
            lane: match present {
                Some(lane) => status_with(lane.control.status(), &state.past),
                None => state.past.clone(),
            },
        }
    }
}

/// How a lane ended.
enum Ended {
    /// With nothing on it, or with its session.
    InOrder,
    /// It had no carrier.
    NeverCame,
    Lost(End),
}

/// Whether there are streams on a lane that is present and driven, or about to be opened.
fn is_used(users: &Arc<()>) -> bool {
    Arc::strong_count(users) > 2
}

fn status_with(mut status: LaneStatus, past: &LaneStatus) -> LaneStatus {
    status.add(past);
    status
}

/// What a lane that is over has done, with what those before it have.
fn status_of(control: &Control, past: &LaneStatus) -> LaneStatus {
    LaneStatus {
        attached: false,
        since: None,
        round_trip: None,
        unacknowledged: 0,
        replay_bound: 0,
        ..status_with(control.status(), past)
    }
}
