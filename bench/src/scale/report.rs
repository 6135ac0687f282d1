//! What a run found, for people.

use super::{Size, Spent, asking::Asked};
use crate::{
    goal::{Goals, Wanted},
    report::Table,
    simulator::{Returned, SHAKING},
};
use std::{fs, path::Path, time::Duration};

/// Goals and figures of a run.
pub struct Report {
    goals: Goals,
    figures: Table,
}

/// Says it at once.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

impl Default for Report {
    fn default() -> Self {
        Self {
            goals: Goals::default(),
            figures: Table::new(&["what", "measured"]),
        }
    }
}

impl Report {
    pub(super) fn text(&mut self, what: &str, measured: String) {
        say(&format!("{what}: {measured}"));
        self.figures.row([what.to_owned(), measured]);
    }

    pub(super) fn took(&mut self, what: &str, took: Duration) {
        self.text(what, format!("{:.2} s", took.as_secs_f64()));
    }

    pub(super) fn mb(&mut self, what: &str, bytes: u64) {
        self.text(what, format!("{:.0} MB", bytes as f64 / 1e6));
    }

    pub(super) fn per_agent(&mut self, what: &str, bytes: u64, agents: usize) {
        let kib = bytes as f64 / 1024.0 / agents as f64;
        self.text(what, format!("{kib:.1} KiB"));
    }

    pub(super) fn goal(&mut self, name: &str, measured: f64, wanted: Wanted) {
        say(&format!("{name}: {measured:.2}"));
        self.goals.add(name, measured, wanted);
    }

    /// What a return took.
    pub(super) fn handshakes(
        &mut self,
        when: &str,
        returned: &Returned,
        spent: Spent,
        agents: usize,
    ) {
        self.text(
            &format!("agents back each second, from the first to the last, {when}"),
            format!("{:.0}", returned.per_second()),
        );
        self.took(
            &format!("server CPU until the first was back, {when}"),
            spent.start,
        );
        let seconds = spent.handshakes.as_secs_f64();
        let each = seconds * 1e6 / agents as f64;
        self.text(
            &format!("server CPU from then until all were back, {when}"),
            format!("{seconds:.2} s, {each:.0} µs for each agent"),
        );
    }

    pub(super) fn asked(&mut self, what: &str, asked: &Asked) {
        let ms = |share| asked.share(share).as_secs_f64() * 1e3;
        let mut measured = format!(
            "{} answered, {} failed; p50 {:.1} ms, p99 {:.1} ms, slowest {:.1} ms",
            asked.answered(),
            asked.failed(),
            ms(0.5),
            ms(0.99),
            ms(1.0)
        );
        for (why, times) in &asked.failures {
            measured.push_str(&format!("; {times} × {why}"));
        }
        self.text(what, measured);
    }

    /// How many goals are met.
    #[must_use]
    pub fn outcome(&self) -> String {
        self.goals.outcome()
    }

    /// Writes `scale.md` into `out`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, out: &Path, size: Size) -> anyhow::Result<()> {
        let text = format!(
            "# Ten thousand agents\n\n\
             Made by `make bench-scale`: one `lariat-server` as it is shipped, on one core, and {} simulated agents in one \
             other process on another core, over the loopback of one machine. Who asks is in the process of the agents. \
             The agents make real handshakes, have a key and a session each, and come back by themselves as the agent in a \
             cluster does, with the same waits; as all of them have one core, {} connect and shake hands at a time. \
             Their import tokens were made in the management API before.\n\n\
             Behind an agent is an API server in memory. It answers `/readyz`, which the server asks every 10 s, \
             lists, watches, reads and writes of objects, and allows everything. It begins with the namespaces `default` and \
             `kube-system`. At first it answers health checks and forbids everything else: those figures are of *sessions \
             alone*, in which the server's controllers find nothing to do and try again from time to time. In all others \
             the controllers follow each cluster with their watches, and keep there what belongs there. It answers at once; what is \
             measured is the server.\n\n\
             The clock of a return runs from the moment before the kill until the last agent has its welcome. Until the first is \
             back the new process starts and reads its store. A request is a GET of one small object \
             of a random cluster through the server; during the return it waits until its cluster is there, and its time \
             runs from when its own connection stands. Memory is what is resident, {} s after things have settled; at rest, nothing \
             happened for {} s but health checks. MB are 1,000,000 bytes.\n\n\
             ## Goals\n\n{}.\n\n{}\n## Figures\n\n{}",
            size.agents,
            SHAKING,
            super::SETTLE.as_secs(),
            size.rest.as_secs(),
            self.goals.outcome(),
            self.goals.table().markdown(),
            self.figures.markdown()
        );
        fs::create_dir_all(out)?;
        fs::write(out.join("scale.md"), text)?;
        Ok(())
    }
}
