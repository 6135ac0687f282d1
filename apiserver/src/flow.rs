//! Priority and fairness: how many requests are worked on at once, and whose turn is next.
//!
//! A request has a [level](Level), and each level has seats. Whoever has fewest requests at work comes
//! first when a seat is free, so that a user who asks for very much waits for itself. What a user has
//! under way altogether is bounded, as are its watches, which take a seat only while they begin.

use crate::error::ApiError;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

mod level;

pub use level::Level;

/// How much of the server users get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests for one object or one page that are worked on at once.
    pub interactive: usize,
    /// Requests for whole collections that are worked on at once.
    pub bulk: usize,
    /// Requests that one user may have under way: read, waiting, at work, or being answered.
    pub per_user: usize,
    /// Watches that one user may have open.
    pub watches_per_user: usize,
    /// How long a request waits for its turn.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interactive: 64,
            bulk: 16,
            per_user: 200,
            watches_per_user: 4000,
            patience: Duration::from_secs(15),
        }
    }
}

/// After so many seconds a client that was turned away may ask again, as in kube-apiserver.
const RETRY_SECONDS: u32 = 1;

/// Requests of all users that may wait in one level.
const MAX_WAITING: usize = 4096;

/// Why a request is not worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// The user has too much under way.
    #[error("too many requests of this user are under way")]
    UserLimit,
    /// The user has too many watches.
    #[error("this user has too many watches")]
    Watches,
    /// Too many wait.
    #[error("too many requests wait for their turn")]
    QueueFull,
    /// Its turn did not come.
    #[error("its turn did not come in time")]
    TimeOut,
}

impl Refused {
    /// The word for it in metrics: kube-apiserver's, where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserLimit => "concurrency-limit",
            Self::Watches => "watch-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = format!("Too many requests, please try again later: {refused}");
        Self::too_many_requests(message, RETRY_SECONDS)
    }
}

/// What all requests share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Flow {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<Arc<str>, Underway>,
    interactive: Queues,
    bulk: Queues,
}

/// What a user has under way.
#[derive(Debug, Default)]
struct Underway {
    requests: usize,
    watches: usize,
}

/// The requests of one level.
#[derive(Debug, Default)]
struct Queues {
    executing: usize,
    waiting: usize,
    arrivals: u64,
    users: HashMap<Arc<str>, Share>,
}

/// What of a level a user has.
#[derive(Debug, Default)]
struct Share {
    executing: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    arrival: u64,
    turn: oneshot::Sender<Seat>,
}

/// How busy a level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which.
    pub level: Level,
    /// How many may be worked on at once.
    pub seats: usize,
    /// How many are.
    pub executing: usize,
    /// How many wait.
    pub waiting: usize,
}

impl Flow {
    /// Nobody asks yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits,
                state: Mutex::default(),
            }),
        }
    }

    /// Counts a request of a user until the ticket is dropped.
    ///
    /// # Errors
    /// [`Refused::UserLimit`], [`Refused::Watches`].
    pub fn enter(&self, user: &str, is_watch: bool) -> Result<Ticket, Refused> {
        let limits = &self.shared.limits;
        let mut state = self.shared.lock();
        let user = match state.users.get_key_value(user) {
            Some((user, _)) => Arc::clone(user),
            None => Arc::from(user),
        };
        let underway = state.users.entry(Arc::clone(&user)).or_default();
        let (count, most, refused) = match is_watch {
            true => (
                &mut underway.watches,
                limits.watches_per_user,
                Refused::Watches,
            ),
            false => (&mut underway.requests, limits.per_user, Refused::UserLimit),
        };
        if *count >= most {
            return Err(refused);
        }
        *count += 1;
        drop(state);
        Ok(Ticket {
            shared: Arc::clone(&self.shared),
            user,
            is_watch,
        })
    }

    /// How busy each level is.
    #[must_use]
    pub fn load(&self) -> Vec<Load> {
        let state = self.shared.lock();
        let load = |level: Level, queues: &Queues| Load {
            level,
            seats: self.shared.limits.seats(level),
            executing: queues.executing,
            waiting: queues.waiting,
        };
        vec![
            load(Level::Interactive, &state.interactive),
            load(Level::Bulk, &state.bulk),
        ]
    }
}

impl Limits {
    fn seats(&self, level: Level) -> usize {
        match level {
            Level::Interactive => self.interactive.max(1),
            Level::Bulk => self.bulk.max(1),
        }
    }

    /// One user never has all seats, so that others need not wait for what it does.
    fn seats_of_one(&self, level: Level) -> usize {
        self.seats(level).div_ceil(2)
    }
}

/// A request that counts.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    user: Arc<str>,
    is_watch: bool,
}

impl Ticket {
    /// Waits for the request's turn. Cancellation-safe: who goes away is passed over.
    ///
    /// # Errors
    /// [`Refused::QueueFull`], [`Refused::TimeOut`].
    pub async fn seat(&self, level: Level) -> Result<Seat, Refused> {
        let turn = {
            let mut state = self.shared.lock();
            let limits = &self.shared.limits;
            let queues = state.queues(level);
            let free = queues.executing < limits.seats(level);
            let share = queues.users.get(&self.user);
            let own = share.map_or(0, |share| share.executing);
            if free && own < limits.seats_of_one(level) {
                queues.executing += 1;
                let share = queues.users.entry(Arc::clone(&self.user)).or_default();
                share.executing += 1;
                return Ok(self.shared.seat(level, &self.user));
            }
            if queues.waiting >= MAX_WAITING {
                queues.pass_over();
            }
            if queues.waiting >= MAX_WAITING {
                return Err(Refused::QueueFull);
            }
            let (turn, taken) = oneshot::channel();
            queues.waiting += 1;
            queues.arrivals += 1;
            let arrival = queues.arrivals;
            let share = queues.users.entry(Arc::clone(&self.user)).or_default();
            share.waiting.push_back(Waiting { arrival, turn });
            taken
        };
        match tokio::time::timeout(self.shared.limits.patience, turn).await {
            Ok(Ok(seat)) => Ok(seat),
            _ => Err(Refused::TimeOut),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let Some(underway) = state.users.get_mut(&self.user) else {
            return;
        };
        match self.is_watch {
            true => underway.watches -= 1,
            false => underway.requests -= 1,
        }
        if underway.requests == 0 && underway.watches == 0 {
            state.users.remove(&self.user);
        }
    }
}

/// The right to be worked on, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    shared: Arc<Shared>,
    level: Level,
    user: Arc<str>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let queues = state.queues(self.level);
        queues.leave(&self.user);
        let seats = self.shared.limits.seats(self.level);
        let of_one = self.shared.limits.seats_of_one(self.level);
        let mut next = Vec::new();
        while queues.executing < seats
            && let Some((user, turn)) = queues.next(of_one)
        {
            next.push((turn, self.shared.seat(self.level, &user)));
        }
        drop(state);
        for (turn, seat) in next {
            // Who has gone away just now gives the seat back as it is dropped.
            drop(turn.send(seat));
        }
    }
}

impl Shared {
    fn seat(self: &Arc<Self>, level: Level, user: &Arc<str>) -> Seat {
        Seat {
            shared: Arc::clone(self),
            level,
            user: Arc::clone(user),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queues(&mut self, level: Level) -> &mut Queues {
        match level {
            Level::Interactive => &mut self.interactive,
            Level::Bulk => &mut self.bulk,
        }
    }
}

impl Queues {
    fn leave(&mut self, user: &Arc<str>) {
        self.executing -= 1;
        if let Some(share) = self.users.get_mut(user) {
            share.executing -= 1;
            if share.executing == 0 && share.waiting.is_empty() {
                self.users.remove(user);
            }
        }
    }

    /// Gives a seat to the one who waits and has fewest; of several, to the one who has waited
    /// longest.
    fn next(&mut self, of_one: usize) -> Option<(Arc<str>, oneshot::Sender<Seat>)> {
        self.pass_over();
        let waiting = self.users.iter();
        let waiting = waiting.filter(|(_, share)| share.executing < of_one);
        let (user, _) = waiting
            .filter_map(|(user, share)| {
                Some((user, (share.executing, share.waiting.front()?.arrival)))
            })
            .min_by_key(|(_, turn)| *turn)?;
        let user = Arc::clone(user);
        let share = self.users.get_mut(&user)?;
        let first = share.waiting.pop_front()?;
        share.executing += 1;
        self.waiting -= 1;
        self.executing += 1;
        Some((user, first.turn))
    }

    /// Forgets who has gone away.
    fn pass_over(&mut self) {
        let waiting = &mut self.waiting;
        self.users.retain(|_, share| {
            while let Some(first) = share.waiting.front()
                && first.turn.is_closed()
            {
                share.waiting.pop_front();
                *waiting -= 1;
            }
            share.executing > 0 || !share.waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
