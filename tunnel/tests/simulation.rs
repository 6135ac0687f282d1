//! The whole stack of the tunnel (sessions, multiplexers, links, WebSocket carriers over TLS) on a
//! simulated network in virtual time, with faults and crashes. Everything that happens follows
//! from a seed.
//!
//! `SEED=7` runs that seed alone and prints what happens in it; `SEEDS=10000 FIRST=1` runs so many.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

#[path = "simulation/lanes.rs"]
mod lanes;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/promises.rs"]
mod promises;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/trace.rs"]
mod trace;
#[path = "simulation/world.rs"]
mod world;

use scenario::{Scenario, Summary};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Seeds that are run where nobody says how many.
const SEEDS: u64 = 300;

/// What a seed may take of real time.
const PATIENCE: Duration = Duration::from_secs(120);

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

/// Runs what `life` makes of a seed in virtual time.
pub fn simulate<F>(life: impl FnOnce() -> F) -> F::Output
where
    F: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { life().await })
}

fn run(seed: u64, shown: bool) -> Result<Summary, String> {
    let run = || simulate(|| async { Box::pin(Scenario::new(seed, shown).run()).await });
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panicked".into()))
}

fn fail(seed: u64, why: &str) -> ! {
    panic!("seed {seed}: {why}\nreplay: SEED={seed} cargo test -p tunnel --test simulation seeds");
}

/// On the network of this seed a bulk lane gets a connection late, behind a newer one, and then none in time.
#[test]
fn a_lane_that_finds_no_carrier_behind_a_late_one_broke_no_rule() {
    run(544, false).unwrap_or_else(|why| fail(544, &why));
}

#[test]
fn seeds_of_faults_lose_nothing_and_leave_nothing() {
    if let Some(seed) = setting("SEED") {
        let ran = run(seed, true);
        println!("{ran:?}");
        ran.unwrap_or_else(|why| fail(seed, &why));
        return;
    }
    let first = setting("FIRST").unwrap_or(1);
    let end = first + setting("SEEDS").unwrap_or(SEEDS);
    let next = Arc::new(AtomicU64::new(first));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (done, ran) = mpsc::sync_channel(workers);
    for _ in 0..workers {
        let (next, done) = (Arc::clone(&next), done.clone());
        std::thread::spawn(move || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end || done.send((seed, None)).is_err() {
                    return;
                }
                if done.send((seed, Some(run(seed, false)))).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let mut running = Vec::new();
    let mut sum = Summary::default();
    loop {
        let (seed, result) = match ran.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => fail(running[0], "it does not come to an end"),
        };
        match result {
            None => running.push(seed),
            Some(Ok(summary)) => {
                running.retain(|other| *other != seed);
                sum.streams += summary.streams;
                sum.delivered += summary.delivered;
                sum.carriers += summary.carriers;
            }
            Some(Err(why)) => fail(seed, &why),
        }
    }
    println!("seeds {first} to {}: {sum:?}", end - 1);
    // The seeds are of use only if much happens in them.
    assert!(sum.streams as u64 > 10 * (end - first), "{sum:?}");
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 1..=20 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}
