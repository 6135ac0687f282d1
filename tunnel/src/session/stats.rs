//! What a session is doing, for metrics and people.

use super::MuxStats;
use crate::lane::{End, LaneStatus};
use tunnel_proto::budget::Budget;

/// What a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Streams this side has open, on any lane.
    pub open_streams: usize,
    /// Streams this side has opened since the session began.
    pub opened: u64,
    /// Its multiplexer, as the hello names it.
    pub mux: String,
    /// What the multiplexer of the interactive lane is doing; yamux does not say.
    pub streams: Option<MuxStats>,
    /// The link of the interactive lane and its carriers.
    pub lane: LaneStatus,
    /// The lane beside it.
    pub bulk: BulkStats,
    /// What the windows of its streams have grown by.
    pub windows: Taken,
    /// What is kept for replay beyond what every lane has.
    pub replay: Taken,
}

/// The bulk lanes of a session: there is one at a time, when there is need of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkStats {
    /// Whether both ends have agreed that there may be one.
    pub possible: bool,
    /// Whether there is one now.
    pub open: bool,
    /// How many there have been.
    pub begun: u64,
    /// How many of them did not end in order: what was on them was cut off.
    pub lost: u64,
    /// Why the last of these ended.
    pub last_lost: Option<End>,
    /// What the multiplexer of the one that there is is doing; yamux does not say.
    pub streams: Option<MuxStats>,
    /// The link of the one that there is and its carriers. What is counted is counted over all
    /// that there have been.
    pub lane: LaneStatus,
}

/// Memory that a session has taken, of what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that are taken.
    pub bytes: usize,
    /// Bytes that may be.
    pub most: usize,
}

impl Taken {
    pub(super) fn of(budget: &Budget) -> Self {
        Self {
            bytes: budget.taken(),
            most: budget.total(),
        }
    }
}
