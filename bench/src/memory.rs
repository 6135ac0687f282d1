//! How much memory a process has.

use anyhow::Context as _;
use std::fs;

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is resident, of what it shares its share (PSS).
    pub share: u64,
    /// Of that, what is not from a file: heap and stacks.
    pub anonymous: u64,
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: i32) -> anyhow::Result<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Memory of a process.
///
/// # Errors
/// When there is no such process, or it is somebody else's.
pub fn of(pid: i32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    Ok(Memory {
        share: field(&path, "Pss:")?,
        anonymous: field(&path, "Pss_Anon:")?,
    })
}

fn field(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib = text
        .lines()
        .find_map(|line| {
            let value = line.strip_prefix(name)?.trim();
            value.strip_suffix(" kB")?.parse::<u64>().ok()
        })
        .with_context(|| format!("no {name} in {path}"))?;
    Ok(kib * 1024)
}
