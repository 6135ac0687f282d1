//! File descriptors: each connection takes one, and the default of many systems is 1,024.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept for the store, certificates, logs and the runtime.
const RESERVED: u64 = 256;

/// Raises the limit as far as the system lets. Returns how many connections there may be.
#[must_use]
pub fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return usize::MAX;
    };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    // A system with very few still serves somebody.
    let connections = limit.saturating_sub(RESERVED).max(limit / 2);
    usize::try_from(connections).unwrap_or(usize::MAX)
}
