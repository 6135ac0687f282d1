//! New connections, each for one question.

use super::{
    super::door::Door,
    questions::{Asking, Question},
};
use crate::load::Measured;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes that go there and back over each connection.
const BYTES: usize = 16;

/// Makes connections for `time`, `at_once` at a time; how many were made and used, and how long each took.
///
/// # Errors
/// When one fails.
pub async fn connections(door: &Door, at_once: usize, time: Duration) -> anyhow::Result<Measured> {
    let end = Instant::now() + time;
    let workers: Vec<_> = (0..at_once)
        .map(|_| tokio::spawn(worker(door.clone(), end)))
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Measured::of(latencies, time)
}

async fn worker(door: Door, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    loop {
        let begun = Instant::now();
        drop(Asking::begin(&door, Question::Echo(BYTES)).await?);
        let done = Instant::now();
        if done > end {
            return Ok(latencies);
        }
        latencies.push(done - begun);
    }
}
