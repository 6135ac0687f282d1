//! How much a process computes.

use anyhow::Context as _;
use std::time::Duration;

/// Clock ticks per second of the times in `/proc` on Linux.
const TICKS: u64 = 100;

/// For how long a process has computed, in itself and in the kernel.
///
/// # Errors
/// When there is no such process.
pub fn of(pid: i32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name of the program is in parentheses, and may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks().zip(ticks()).map(|(own, kernel)| own + kernel);
    let ticks = ticks.with_context(|| format!("no times in {path}"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}
