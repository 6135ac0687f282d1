//! What all sessions of a process may keep in memory for their peers.

use std::sync::Arc;
use tunnel_proto::budget::Budget;

/// Bounds of a process, shared by its sessions; clones are the same.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What the windows of streams may grow by, beyond what each has from the start.
    pub windows: Arc<Budget>,
    /// What may be kept for replay, beyond what each link has from the start.
    pub replay: Arc<Budget>,
}

impl Memory {
    /// So many bytes for windows, and as many for replay.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self {
            windows: Budget::new(bytes),
            replay: Budget::new(bytes),
        }
    }
}

impl Default for Memory {
    /// 256 MiB each.
    fn default() -> Self {
        Self::of(256 * 1024 * 1024)
    }
}
