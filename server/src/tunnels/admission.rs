//! How many agents shake hands at the same time, and who is told to come later. When a server starts, all its
//! agents come back at once; each that is let in should get through before it gives up. What a session needs besides
//! comes after the handshakes of the others.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::random;

/// How long a handshake may be expected to take. Agents give up a connection that is not upgraded within 10 s,
/// and begin another one beside it before that; what has been computed for those until then is lost.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long handshakes take that were long enough for the server to be the cause.
const LONG: Duration = Duration::from_secs(1);

/// Agents decided over at once, for each core: one that registers waits for the store.
const TURNS_PER_CORE: usize = 16;

/// Sessions that are looked after for the first time at once, for each core: they wait for their clusters.
const LOOKS_PER_CORE: usize = 64;

/// How long a new session waits at most until others have shaken hands.
const QUIET: Duration = Duration::from_secs(10);

/// How long many have to be under way until their pace is known.
const MEASURED: Duration = Duration::from_millis(250);

/// What was measured longer ago counts half.
const REMEMBERED: Duration = Duration::from_secs(2);

/// How many of the last ones count for how long they take.
const LAST: f64 = 16.0;

/// The shortest and the longest time after which an agent is told to come again, in seconds.
const LATER: (u64, u64) = (1, 60);

/// How long an agent that is told to come later waits if nothing was measured yet.
const UNKNOWN: Duration = Duration::from_secs(2);

/// Bounds of how long handshakes take, in seconds.
const TIMES: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Lets agents in. Clones share what they count.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    turns: Semaphore,
    looks: Semaphore,
    /// Whether few shake hands.
    is_quiet: watch::Sender<bool>,
    pace: Mutex<Pace>,
    waiting: AtomicUsize,
    refused: [AtomicU64; Why::ALL.len()],
    times: Histogram,
}

/// An agent that shakes hands, until this is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    admission: Admission,
    begun: Instant,
    succeeded: bool,
}

/// An agent has to come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Later {
    pub(super) why: Why,
    /// When, in seconds. Not the same for all.
    pub(super) retry_after: u32,
}

/// Why an agent has to come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// As many shake hands as may.
    Full,
    /// It would give up before it gets through.
    Slow,
}

impl Why {
    pub(super) const ALL: [(Self, &'static str); 2] = [(Self::Full, "full"), (Self::Slow, "slow")];
}

impl Admission {
    /// At most so many agents shake hands at the same time, on so many cores.
    pub(super) fn new(most: usize, cores: usize) -> Self {
        let turns = cores.saturating_mul(TURNS_PER_CORE).min(most).max(1);
        Self(Arc::new(Shared {
            most,
            turns: Semaphore::new(turns),
            looks: Semaphore::new(cores.saturating_mul(LOOKS_PER_CORE).max(1)),
            is_quiet: watch::Sender::new(true),
            pace: Mutex::new(Pace::new(turns)),
            waiting: AtomicUsize::new(0),
            refused: Default::default(),
            times: Histogram::new(TIMES),
        }))
    }

    /// An agent asks to be let in.
    pub(super) fn begin(&self) -> Result<Handshake, Later> {
        let now = Instant::now();
        let let_in = {
            let mut pace = self.pace();
            let let_in = pace.begin(now, self.0.most);
            self.tell(&pace);
            let_in
        };
        match let_in {
            Ok(()) => Ok(Handshake {
                admission: self.clone(),
                begun: now,
                succeeded: false,
            }),
            Err((why, wait)) => {
                self.0.refused[why as usize].fetch_add(1, Ordering::Relaxed);
                let retry_after = later(wait, random::bits());
                Err(Later { why, retry_after })
            }
        }
    }

    /// Waits until few shake hands, and then for a turn among the sessions that are looked after for the first time;
    /// `None` if that takes more than ten seconds. Cancellation-safe.
    pub(super) async fn quiet(&self) -> Option<SemaphorePermit<'_>> {
        let waiting = async {
            let mut is_quiet = self.0.is_quiet.subscribe();
            loop {
                let quiet = is_quiet.wait_for(|is_quiet| *is_quiet).await;
                drop(quiet.expect("the sender is never dropped"));
                let turn = self.0.looks.acquire().await;
                let turn = turn.expect("the semaphore is never closed");
                if *self.0.is_quiet.borrow() {
                    return turn;
                }
            }
        };
        tokio::time::timeout(QUIET, waiting).await.ok()
    }

    /// Agents that are shaking hands.
    pub(super) fn under_way(&self) -> usize {
        self.pace().under_way
    }

    /// Those of them over whom it is decided when it is their turn.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Most agents that may shake hands at the same time.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// How many had to come later, and why.
    pub(super) fn refused(&self) -> [(&'static str, &AtomicU64); Why::ALL.len()] {
        Why::ALL.map(|(why, name)| (name, &self.0.refused[why as usize]))
    }

    /// How long handshakes take, in seconds.
    pub(super) fn times(&self) -> Histogram {
        self.0.times.clone()
    }

    fn tell(&self, pace: &Pace) {
        let quiet = pace.under_way < pace.many;
        self.0.is_quiet.send_if_modified(|is_quiet| {
            let is_new = *is_quiet != quiet;
            *is_quiet = quiet;
            is_new
        });
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Waits until it can be decided over the agent: first come, first served. Cancellation-safe.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let shared = &self.admission.0;
        let _waiting = Waiting::begin(&shared.waiting);
        let turn = shared.turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    /// The agent is in.
    pub(super) fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.begun);
        self.admission.0.times.observe(took.as_secs_f64());
        let took = self.succeeded.then_some(took);
        let mut pace = self.admission.pace();
        pace.end(now, took);
        self.admission.tell(&pace);
    }
}

/// Counts one until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When an agent is told to come again: between once and twice what those before it take, so that not all that
/// are told so come back as one.
fn later(wait: Option<Duration>, random: u64) -> u32 {
    let (shortest, longest) = LATER;
    let wait = wait.unwrap_or(UNKNOWN).as_secs_f64().ceil() as u64;
    let wait = wait.clamp(shortest, longest / 2);
    let seconds = wait + random % (wait + 1);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// How many handshakes are under way, and how fast they come to their ends while there are many.
#[derive(Debug)]
struct Pace {
    under_way: usize,
    /// From how many on.
    many: usize,
    measured: Option<Measured>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    since: Instant,
    succeeded: f64,
    /// How long the last ones took, in seconds.
    took: f64,
}

impl Pace {
    fn new(many: usize) -> Self {
        Self {
            under_way: 0,
            many,
            measured: None,
        }
    }

    /// One more, or why not and for how long. Those that say nothing make none slow that do: many that are under way
    /// are no sign of it if those that succeed do so soon.
    fn begin(&mut self, now: Instant, most: usize) -> Result<(), (Why, Option<Duration>)> {
        let expected = self.expected(now);
        if self.under_way >= most {
            return Err((Why::Full, expected));
        }
        let are_long = self
            .measured
            .is_some_and(|measured| measured.took > LONG.as_secs_f64());
        if are_long && expected.is_some_and(|expected| expected > PATIENCE) {
            return Err((Why::Slow, expected));
        }
        self.under_way += 1;
        if self.under_way >= self.many && self.measured.is_none() {
            self.measured = Some(Measured {
                since: now,
                succeeded: 0.0,
                took: 0.0,
            });
        }
        Ok(())
    }

    /// One has come to its end; if it succeeded, it took so long.
    fn end(&mut self, now: Instant, took: Option<Duration>) {
        self.under_way = self.under_way.saturating_sub(1);
        // With few of them the pace is that of their arrival.
        if self.under_way < self.many {
            self.measured = None;
        }
        let (Some(measured), Some(took)) = (&mut self.measured, took) else {
            return;
        };
        measured.took += (took.as_secs_f64() - measured.took) / LAST;
        measured.succeeded += 1.0;
        let elapsed = now.saturating_duration_since(measured.since);
        if elapsed > REMEMBERED {
            measured.since += elapsed / 2;
            measured.succeeded /= 2.0;
        }
    }

    /// How long those that are under way take at the pace of the last ones; `None` if nothing is known of it.
    fn expected(&self, now: Instant) -> Option<Duration> {
        let measured = self.measured?;
        let elapsed = now.saturating_duration_since(measured.since);
        if elapsed < MEASURED || measured.succeeded < 1.0 {
            return None;
        }
        let each = elapsed.as_secs_f64() / measured.succeeded;
        let all = each * self.under_way as f64;
        Some(Duration::from_secs_f64(all.min(3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MANY: usize = 16;

    /// A server that ends a handshake each `each`, one after the other, while agents come each `comes`: how many
    /// were under way in the end, and how many were refused.
    fn run(each: Duration, comes: Duration, agents: u32, most: usize) -> (usize, u32) {
        let start = Instant::now();
        let mut pace = Pace::new(MANY);
        let mut refused = 0;
        let mut begun = VecDeque::new();
        let mut free_at = start;
        for agent in 0..agents {
            let now = start + comes * agent;
            while let Some(first) = begun.front().copied()
                && free_at.max(first) + each <= now
            {
                free_at = free_at.max(first) + each;
                begun.pop_front();
                pace.end(free_at, Some(free_at - first));
            }
            match pace.begin(now, most) {
                Ok(()) => begun.push_back(now),
                Err(_) => refused += 1,
            }
        }
        (pace.under_way, refused)
    }

    #[test]
    fn who_would_give_up_before_its_end_is_not_let_in() {
        let millis = Duration::from_millis;
        // Ten times as many as the server can take: those under way are done within the patience, about.
        let (under_way, refused) = run(millis(10), millis(1), 20_000, usize::MAX);
        assert!((300..=420).contains(&under_way), "{under_way}");
        assert!(refused > 17_000, "{refused}");
        // Nobody is refused whom the server can take.
        assert_eq!(run(millis(10), millis(11), 20_000, 100).1, 0);
    }

    #[test]
    fn no_more_are_let_in_than_may_and_each_end_makes_room() {
        let now = Instant::now();
        let mut pace = Pace::new(MANY);
        for _ in 0..20 {
            assert_eq!(pace.begin(now, 20), Ok(()));
        }
        assert_eq!(pace.begin(now, 20), Err((Why::Full, None)));
        pace.end(now, None);
        assert_eq!(pace.begin(now, 20), Ok(()));
    }

    #[test]
    fn those_that_say_nothing_do_not_keep_others_out() {
        let start = Instant::now();
        let mut pace = Pace::new(MANY);
        for _ in 0..10 * MANY {
            assert_eq!(pace.begin(start, usize::MAX), Ok(()));
        }
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(pace.begin(now, usize::MAX), Ok(()));
            let took = Duration::from_millis(200);
            pace.end(now + took, Some(took));
        }
        // Who is refused for another reason is told how long it may take.
        assert!(pace.expected(start + Duration::from_secs(100)).is_some());
    }

    #[test]
    fn a_few_that_are_slow_refuse_nobody() {
        let start = Instant::now();
        let mut pace = Pace::new(MANY);
        for at in 0..100 {
            let now = start + Duration::from_secs(at);
            assert_eq!(pace.begin(now, usize::MAX), Ok(()));
            if at >= 10 {
                pace.end(now, Some(Duration::from_secs(10)));
            }
        }
        assert_eq!(pace.expected(start + Duration::from_secs(100)), None);
    }

    #[test]
    fn who_comes_later_is_spread_over_the_time_of_those_before() {
        let told = |wait, random| later(wait, random);
        assert_eq!(told(None, 0), 2);
        assert_eq!(told(Some(Duration::from_millis(100)), 0), 1);
        let wait = Some(Duration::from_secs(8));
        let all: std::collections::BTreeSet<_> = (0..100).map(|bits| told(wait, bits)).collect();
        assert_eq!(all, (8..=16).collect());
        assert_eq!(told(Some(Duration::from_secs(3600)), 30), 60);
    }

    #[tokio::test]
    async fn it_is_decided_over_so_many_at_once_and_a_handshake_counts_until_it_is_dropped() {
        let admission = Admission::new(40, 1);
        let all: Vec<_> = (0..40).map(|_| admission.begin().unwrap()).collect();
        assert_eq!(admission.begin().unwrap_err().why, Why::Full);
        let mut turns = Vec::new();
        for handshake in &all[..TURNS_PER_CORE] {
            turns.push(handshake.turn().await);
        }
        {
            let mut next = std::pin::pin!(all[TURNS_PER_CORE].turn());
            assert!(futures::poll!(next.as_mut()).is_pending());
            assert_eq!((admission.under_way(), admission.waiting()), (40, 1));
            turns.pop();
            turns.push(next.await);
        }
        assert_eq!(admission.waiting(), 0);
        drop(turns);
        drop(all);
        assert_eq!(admission.under_way(), 0);
        let refused = admission
            .refused()
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        assert_eq!(refused, [("full", 1), ("slow", 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_needs_besides_waits_for_handshakes_but_not_for_ever() {
        let admission = Admission::new(40, 1);
        let begun = tokio::time::Instant::now();
        assert!(admission.quiet().await.is_some());
        let many: Vec<_> = (0..TURNS_PER_CORE)
            .map(|_| admission.begin().unwrap())
            .collect();
        let mut waiting = std::pin::pin!(admission.quiet());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(admission.quiet().await.is_none());
        assert_eq!(begun.elapsed(), QUIET);
        let mut waiting = std::pin::pin!(admission.quiet());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(many);
        assert!(waiting.await.is_some());
        assert_eq!(begun.elapsed(), QUIET);
    }
}
