//! How many agents shake hands at the same time, and who is told to come later. When a server starts, all its
//! agents come back at once; each that is let in should get through before it gives up. What a session needs besides
//! comes after the handshakes of the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::random;

/// Agents with which TLS is spoken at once, for each core. The others wait, and cost nothing meanwhile: if it was spoken
/// with all of thousands, each would be through when most have given up, and begin another connection.
const GREETED_PER_CORE: usize = 512;

/// Agents decided over at once, for each core: one that registers waits for the store.
const TURNS_PER_CORE: usize = 16;

/// Sessions that are looked after for the first time at once, for each core: they wait for their clusters.
const LOOKS_PER_CORE: usize = 64;

/// In which time many handshakes are a return of many agents, of whom more will come.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a new session waits at most until others have shaken hands.
const QUIET: Duration = Duration::from_secs(30);

/// How many of the last handshakes count for how long they take.
const LAST: u32 = 16;

/// The shortest and the longest time after which an agent is told to come again, in seconds.
const LATER: (u64, u64) = (1, 60);

/// Bounds of how long handshakes take, in seconds.
const TIMES: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Lets agents in. Clones share what they count.
#[derive(Clone, Debug)]
pub(super) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    /// From how many on it is not quiet.
    many: usize,
    greetings: Semaphore,
    turns: Semaphore,
    looks: Semaphore,
    /// Agents that wait until TLS is spoken with them.
    outside: AtomicUsize,
    /// Whether few shake hands, and nobody waits for it.
    is_quiet: watch::Sender<bool>,
    under_way: AtomicUsize,
    last: Mutex<Last>,
    waiting: AtomicUsize,
    refused: AtomicU64,
    times: Histogram,
}

/// The last handshakes.
#[derive(Debug, Default)]
struct Last {
    /// How long they took.
    took: Duration,
    /// When as many of them ended as are many, the oldest first.
    ended: VecDeque<Instant>,
}

/// An agent that shakes hands, until this is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    admission: Admission,
    begun: Instant,
}

/// As many agents shake hands as may: another one has to come again after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Later(pub(super) u32);

impl Admission {
    /// At most so many agents shake hands at the same time, on so many cores.
    pub(super) fn new(most: usize, cores: usize) -> Self {
        let turns = cores.saturating_mul(TURNS_PER_CORE).min(most).max(1);
        Self(Arc::new(Shared {
            most,
            greetings: Semaphore::new(cores.saturating_mul(GREETED_PER_CORE).max(1)),
            turns: Semaphore::new(turns),
            looks: Semaphore::new(cores.saturating_mul(LOOKS_PER_CORE).max(1)),
            outside: AtomicUsize::new(0),
            is_quiet: watch::Sender::new(true),
            many: turns,
            under_way: AtomicUsize::new(0),
            last: Mutex::default(),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            times: Histogram::new(TIMES),
        }))
    }

    /// Waits until TLS is spoken with somebody who is likely to be an agent: first come, first served. Cancellation-safe.
    pub(super) async fn greet(&self) -> SemaphorePermit<'_> {
        let greetings = &self.0.greetings;
        if let Ok(greeting) = greetings.try_acquire() {
            return greeting;
        }
        let _outside = Outside::begin(self);
        let greeting = greetings.acquire().await;
        greeting.expect("the semaphore is never closed")
    }

    /// An agent asks to be let in.
    pub(super) fn begin(&self) -> Result<Handshake, Later> {
        let shared = &self.0;
        if shared.under_way.fetch_add(1, Ordering::Relaxed) >= shared.most {
            shared.under_way.fetch_sub(1, Ordering::Relaxed);
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(later(shared.last().took, random::bits()));
        }
        self.tell();
        Ok(Handshake {
            admission: self.clone(),
            begun: Instant::now(),
        })
    }

    /// Waits for a turn among the sessions that are looked after for the first time, and until few shake hands and few have
    /// just done so; `None` if that takes more than half a minute. Cancellation-safe.
    pub(super) async fn quiet(&self) -> Option<SemaphorePermit<'_>> {
        let waiting = async {
            let turn = self.0.looks.acquire().await;
            let mut is_quiet = self.0.is_quiet.subscribe();
            loop {
                let quiet = is_quiet.wait_for(|is_quiet| *is_quiet).await;
                drop(quiet.expect("the sender is never dropped"));
                if !self.0.last().were_many(self.0.many) {
                    return turn.expect("the semaphore is never closed");
                }
                tokio::time::sleep(MOMENT).await;
            }
        };
        tokio::time::timeout(QUIET, waiting).await.ok()
    }

    /// Agents that wait until TLS is spoken with them.
    pub(super) fn outside(&self) -> usize {
        self.0.outside.load(Ordering::Relaxed)
    }

    /// Agents that are shaking hands.
    pub(super) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::Relaxed)
    }

    /// Those of them over whom it is decided when it is their turn.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Most agents that may shake hands at the same time.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// How many had to come later.
    pub(super) fn refused(&self) -> &AtomicU64 {
        &self.0.refused
    }

    /// How long handshakes take, in seconds.
    pub(super) fn times(&self) -> Histogram {
        self.0.times.clone()
    }

    fn tell(&self) {
        self.0.is_quiet.send_if_modified(|is_quiet| {
            let quiet = self.under_way() < self.0.many && self.outside() == 0;
            std::mem::replace(is_quiet, quiet) != quiet
        });
    }
}

impl Shared {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    fn ended(&mut self, took: Duration, many: usize) {
        self.took = (self.took * (LAST - 1) + took) / LAST;
        if self.ended.len() == many {
            self.ended.pop_front();
        }
        self.ended.push_back(Instant::now());
    }

    /// Whether many have ended within a moment that ends now.
    fn were_many(&self, many: usize) -> bool {
        let first = self.ended.front();
        self.ended.len() == many && first.is_some_and(|first| first.elapsed() < MOMENT)
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
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let (shared, took) = (&self.admission.0, self.begun.elapsed());
        shared.times.observe(took.as_secs_f64());
        shared.last().ended(took, shared.many);
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        self.admission.tell();
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

/// One that waits until TLS is spoken with it, until this is dropped.
struct Outside<'a>(&'a Admission);

impl<'a> Outside<'a> {
    fn begin(admission: &'a Admission) -> Self {
        admission.0.outside.fetch_add(1, Ordering::Relaxed);
        admission.tell();
        Self(admission)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.0.0.outside.fetch_sub(1, Ordering::Relaxed);
        self.0.tell();
    }
}

/// When an agent is told to come again: between once and twice what those before it take, so that not all that are told so
/// come back as one.
fn later(took: Duration, random: u64) -> Later {
    let (shortest, longest) = LATER;
    let wait = (took.as_secs_f64().ceil() as u64).clamp(shortest, longest / 2);
    let seconds = wait + random % (wait + 1);
    Later(u32::try_from(seconds).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_later_is_spread_over_the_time_of_those_before() {
        let told = |took, random| later(Duration::from_millis(took), random).0;
        assert_eq!(told(0, 0), 1);
        let all: std::collections::BTreeSet<_> = (0..100).map(|bits| told(7_500, bits)).collect();
        assert_eq!(all, (8..=16).collect());
        assert_eq!(told(3_600_000, 30), 60);
    }

    #[tokio::test]
    async fn it_is_decided_over_so_many_at_once_and_a_handshake_counts_until_it_is_dropped() {
        let admission = Admission::new(40, 1);
        let all: Vec<_> = (0..40).map(|_| admission.begin().unwrap()).collect();
        assert!([1, 2].contains(&admission.begin().unwrap_err().0));
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
        assert_eq!(admission.refused().load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn it_is_not_quiet_while_somebody_waits_outside() {
        let admission = Admission::new(40, 1);
        let mut greeted = Vec::new();
        for _ in 0..GREETED_PER_CORE {
            greeted.push(admission.greet().await);
        }
        assert!(admission.quiet().await.is_some());
        let mut next = Box::pin(admission.greet());
        assert!(futures::poll!(next.as_mut()).is_pending());
        assert_eq!(admission.outside(), 1);
        let mut quiet = std::pin::pin!(admission.quiet());
        assert!(futures::poll!(quiet.as_mut()).is_pending());
        // Who goes away waits no more.
        drop(next);
        assert_eq!(admission.outside(), 0);
        assert!(quiet.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_needs_besides_waits_for_handshakes_but_not_for_ever() {
        let admission = Admission::new(40, 1);
        let begun = Instant::now();
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
        // More may come of those that come back together.
        assert!(waiting.await.is_some());
        assert_eq!(begun.elapsed(), QUIET + MOMENT);
    }
}
