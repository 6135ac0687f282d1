//! Peers that keep to no rule, on carriers that the acceptor has taken: they end their own session
//! at most, they hold no more memory than the table of limits in `tunnel-proto/SPEC.md` says, and
//! another session of the same server goes on meanwhile.
//!
//! Time is virtual and sockets are pipes in memory; what is made up follows from a seed, which
//! `SEED=7` sets.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "hostile/dialled.rs"]
mod dialled;
#[path = "hostile/floods.rs"]
mod floods;
#[path = "hostile/greed.rs"]
mod greed;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "simulation/network.rs"]
#[allow(dead_code, reason = "of the simulation, which also uses the rest")]
mod network;
#[path = "hostile/openings.rs"]
mod openings;
#[path = "hostile/peer.rs"]
mod peer;
#[path = "hostile/rest.rs"]
mod rest;
#[path = "hostile/sizes.rs"]
mod sizes;
#[path = "hostile/stopped.rs"]
mod stopped;
mod support;
#[path = "simulation/trace.rs"]
#[allow(dead_code, reason = "of the simulation, which also uses the rest")]
mod trace;
#[path = "hostile/turmoil.rs"]
mod turmoil;
#[path = "hostile/wire.rs"]
mod wire;

use peak_alloc::PeakAlloc;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Memory belongs to the process: one test at a time measures it.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test in virtual time, while no other one of this binary runs.
fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(Box::pin(test));
}

/// What is allocated from some moment on.
struct Heap {
    before: usize,
}

impl Heap {
    fn from_now_on() -> Self {
        HEAP.reset_peak_usage();
        Self {
            before: HEAP.current_usage(),
        }
    }

    /// Most bytes that were allocated at once since then, beyond what was before.
    fn most(&self) -> usize {
        HEAP.peak_usage().saturating_sub(self.before)
    }

    /// Bytes that are allocated now, beyond what was before.
    fn now(&self) -> usize {
        HEAP.current_usage().saturating_sub(self.before)
    }

    /// Says how much it was, and holds it against a bound.
    fn is_below(&self, bound: usize, what: &str) {
        let most = self.most();
        println!("{what}: {} KiB of {} KiB", most / 1024, bound / 1024);
        assert!(most <= bound, "{what}: {most} bytes, {bound} are allowed");
    }
}
