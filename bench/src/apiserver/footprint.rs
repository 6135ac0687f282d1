//! How much memory the servers take, and how long to start.

use super::{Side, side::Start};
use crate::memory::Memory;
use std::time::{Duration, Instant};

/// How long memory is watched until it stays the same, and how long it has to.
const SETTLING: Duration = Duration::from_secs(45);
const STEADY: Duration = Duration::from_secs(8);
/// By how much it may differ and be the same.
const SAME: f64 = 0.02;

/// Memory of a server, and of its etcd if it has one.
pub(super) type Settled = (Memory, Option<Memory>);

/// Starts with a new store; none if the server's cannot be taken away. Leaves the server running.
///
/// # Errors
/// When the server does not start.
pub(super) async fn first_starts(side: &mut Side<'_>, rounds: usize) -> anyhow::Result<Vec<Start>> {
    let mut starts = Vec::new();
    while starts.len() < rounds && side.can_be_emptied() {
        side.end(false);
        side.empty()?;
        starts.push(side.start(None).await?);
    }
    Ok(starts)
}

/// Starts with the store as it is, and asks for the object at a path. Leaves the server running.
///
/// # Errors
/// When the server does not start.
pub(super) async fn starts(
    side: &mut Side<'_>,
    path: &str,
    crash: bool,
    rounds: usize,
) -> anyhow::Result<Vec<Start>> {
    let mut starts = Vec::new();
    for _ in 0..rounds {
        side.end(crash);
        starts.push(side.start(Some(path)).await?);
    }
    Ok(starts)
}

/// Waits until the memory of all stays as it is, for a limited time.
///
/// # Errors
/// When a server has ended.
pub(super) async fn settle(sides: &[Side<'_>]) -> anyhow::Result<Vec<Settled>> {
    let read = || -> anyhow::Result<Vec<Settled>> { sides.iter().map(Side::memory).collect() };
    let begun = Instant::now();
    let mut before = read()?;
    loop {
        tokio::time::sleep(STEADY).await;
        let now = read()?;
        let steady = before.iter().zip(&now).all(|(before, now)| {
            let (before, now) = (before.0.share as f64, now.0.share as f64);
            (before - now).abs() <= SAME * before
        });
        if steady || begun.elapsed() > SETTLING {
            return Ok(now);
        }
        before = now;
    }
}
