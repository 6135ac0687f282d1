//! One direction of a wire: a thread that reads frames, and one that sends them when their time has come.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read as _, Write as _},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use super::Schedule;
use crate::{Result, error::Step};

/// How many frames are under way at most; more are dropped. A gigabit a second for 150 ms is 12,500.
const MOST_FRAMES: usize = 20_000;

/// No frame is longer, with offloads off.
const LONGEST: usize = 1 << 16;

/// Ends its threads when dropped.
#[derive(Debug)]
pub(super) struct Direction {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    carried: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By time, and those of the same time as they came.
    frames: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    taken: u64,
    ended: bool,
}

impl Direction {
    pub(super) fn start(name: &str, from: File, to: File, schedule: Schedule) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut direction = Self {
            queue: Arc::clone(&queue),
            threads: Vec::new(),
        };
        let (reading, sending) = (Arc::clone(&queue), queue);
        direction.spawn(&format!("{name}-in"), move || {
            reading.read(from, schedule);
        })?;
        direction.spawn(&format!("{name}-out"), move || sending.send(to))?;
        Ok(direction)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(work);
        self.threads
            .push(thread.step(|| format!("start a thread {name}"))?);
        Ok(())
    }

    pub(super) fn carried(&self) -> u64 {
        self.queue.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.queue.lock().ended = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut from: File, mut schedule: Schedule) {
        let mut frame = vec![0; LONGEST];
        loop {
            // An error is the end of a wait, or a link that is down for a moment.
            let length = from.read(&mut frame).unwrap_or(0);
            let mut state = self.lock();
            if state.ended {
                return;
            }
            if length > 0
                && state.frames.len() < MOST_FRAMES
                && let Some(arrival) = schedule.arrival(Instant::now())
            {
                state.taken += 1;
                let frame = Reverse((arrival, state.taken, frame[..length].to_vec()));
                state.frames.push(frame);
                self.changed.notify_one();
            }
        }
    }

    fn send(&self, mut to: File) {
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            let due = state.frames.peek().map(|Reverse((due, ..))| *due);
            state = match due {
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) if due > now => {
                    self.changed
                        .wait_timeout(state, due - now)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                Some(_) => {
                    let frame = state.frames.pop();
                    drop(state);
                    // What the kernel does not take is lost, as on any wire.
                    if let Some(Reverse((_, _, frame))) = frame
                        && to.write(&frame).is_ok()
                    {
                        self.carried.fetch_add(1, Ordering::Relaxed);
                    }
                    self.lock()
                }
            };
        }
    }
}
