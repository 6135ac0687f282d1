//! Which cores a process computes on.

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Cores of the two that the benchmark uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// The first, for what is measured.
    First,
    /// The second, for the load and what it is sent to.
    Second,
    /// Whichever is free.
    Both,
}

impl Cores {
    /// As `taskset -c` takes them.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::First => "0",
            Self::Second => "1",
            Self::Both => "0,1",
        }
    }

    /// Keeps the calling thread, and those that it starts from now on, to these cores.
    ///
    /// # Errors
    /// When the machine has not got them.
    pub fn keep_to(self) -> anyhow::Result<()> {
        let mut set = CpuSet::new();
        if self != Self::Second {
            set.set(0)?;
        }
        if self != Self::First {
            set.set(1)?;
        }
        sched_setaffinity(Pid::from_raw(0), &set)
            .context("cannot pin to cores 0 and 1: the benchmark needs two cores")
    }
}
