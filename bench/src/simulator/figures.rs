//! What simulated agents have seen.

use crate::report::Table;
use std::{collections::BTreeMap, time::Duration};

/// Returns of one agent that are kept.
const MOST_RETURNS: usize = 1000;

/// Errors of which a summary tells.
const MOST_ERRORS: usize = 10;

/// What one agent has seen.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Whether it has a session with a connection now.
    pub connected: bool,
    /// Sessions that began.
    pub sessions: u64,
    /// How often a session went on over another connection.
    pub resumptions: u64,
    /// How often it lost its connection or its session.
    pub losses: u64,
    /// Attempts at a session that came to nothing.
    pub failures: u64,
    /// Streams that the server opened.
    pub streams: u64,
    /// How long it took, from each loss, until it was connected again.
    pub returns: Vec<Duration>,
    /// What it came across last.
    pub last_error: Option<String>,
}

impl Figures {
    pub(super) fn returned(&mut self, took: Duration) {
        if self.returns.len() < MOST_RETURNS {
            self.returns.push(took);
        }
    }
}

/// What all agents have seen.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there are.
    pub agents: usize,
    /// How many are connected.
    pub connected: usize,
    /// How many have been connected.
    pub joined: usize,
    /// Sums of their figures.
    pub sessions: u64,
    /// See [`Figures::resumptions`].
    pub resumptions: u64,
    /// See [`Figures::losses`].
    pub losses: u64,
    /// See [`Figures::failures`].
    pub failures: u64,
    /// See [`Figures::streams`].
    pub streams: u64,
    /// All returns, the fastest first.
    pub returns: Vec<Duration>,
    /// By what was last come across, the agents to which it happened.
    pub errors: BTreeMap<String, usize>,
}

impl Summary {
    pub(super) fn of(all: impl Iterator<Item = Figures>) -> Self {
        let mut summary = Self::default();
        for one in all {
            summary.agents += 1;
            summary.connected += usize::from(one.connected);
            summary.joined += usize::from(one.sessions > 0);
            summary.sessions += one.sessions;
            summary.resumptions += one.resumptions;
            summary.losses += one.losses;
            summary.failures += one.failures;
            summary.streams += one.streams;
            summary.returns.extend(one.returns);
            if let Some(error) = one.last_error {
                *summary.errors.entry(error).or_default() += 1;
            }
        }
        summary.returns.sort_unstable();
        summary
    }

    /// How long a return took: that share of them were faster.
    #[must_use]
    pub fn returned_within(&self, share: f64) -> Option<Duration> {
        let last = self.returns.len().checked_sub(1)?;
        self.returns.get((last as f64 * share) as usize).copied()
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["what", "measured"]);
        let mut row = |what: &str, measured: String| table.row([what.to_owned(), measured]);
        row("agents", self.agents.to_string());
        row("connected", self.connected.to_string());
        row("sessions begun", self.sessions.to_string());
        row("connections or sessions lost", self.losses.to_string());
        row(
            "sessions that went on over another connection",
            self.resumptions.to_string(),
        );
        row("attempts that came to nothing", self.failures.to_string());
        row("streams opened by the server", self.streams.to_string());
        for (name, share) in [("median", 0.5), ("p99", 0.99), ("slowest", 1.0)] {
            if let Some(took) = self.returned_within(share) {
                row(
                    &format!("time from a loss until connected again, {name}"),
                    format!("{:.2} s", took.as_secs_f64()),
                );
            }
        }
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(_, agents)| std::cmp::Reverse(**agents));
        for (error, agents) in errors.into_iter().take(MOST_ERRORS) {
            row(
                &format!("agents whose last error was: {error}"),
                agents.to_string(),
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_adds_up_and_orders_returns() {
        let one = |connected, seconds| Figures {
            connected,
            losses: 1,
            returns: vec![Duration::from_secs(seconds)],
            last_error: Some("busy".into()),
            ..Figures::default()
        };
        let summary = Summary::of([one(true, 9), one(false, 1), one(true, 4)].into_iter());
        assert_eq!(
            (summary.agents, summary.connected, summary.losses),
            (3, 2, 3)
        );
        assert_eq!(summary.returned_within(0.5), Some(Duration::from_secs(4)));
        assert_eq!(summary.returned_within(1.0), Some(Duration::from_secs(9)));
        assert_eq!(summary.errors["busy"], 3);
        assert_eq!(Summary::default().returned_within(0.5), None);
    }
}
