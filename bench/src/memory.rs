//! How much memory a process has.

use anyhow::Context as _;

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let kib = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .context("no VmRSS in the process's status")?;
    Ok(kib * 1024)
}
