//! What a run found, for people.

use super::{Plan, faults::Happened, load::Figures, outcome::Verdict, sample::Sample};
use crate::{
    plot::{self, Curve},
    report::Table,
    simulator::Summary,
};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

/// Says it at once.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// What a run found.
pub(super) struct Found<'a> {
    pub(super) plan: &'a Plan,
    pub(super) samples: &'a [Sample],
    /// When the server was drained and started again.
    pub(super) restarted: &'a [Duration],
    pub(super) load: &'a Figures,
    pub(super) faults: &'a Happened,
    pub(super) agents: Summary,
    pub(super) verdict: &'a Verdict,
}

impl Found<'_> {
    /// Its tables.
    pub(super) fn text(&self) -> String {
        let mut load = Table::new(&["work", "done", "broken off or refused", "wrong bytes"]);
        for (kind, counts) in self.load {
            let wrong = match &counts.first_wrong {
                Some(first) => format!("{}, the first: {first}", counts.wrong),
                None => counts.wrong.to_string(),
            };
            load.row([
                format!("{kind:?}"),
                counts.done.to_string(),
                counts.failed.to_string(),
                wrong,
            ]);
        }
        let mut faults = Table::new(&["fault", "times"]);
        for (name, times) in self.faults {
            faults.row([(*name).to_owned(), times.to_string()]);
        }
        let restarts = self.restarted.len().to_string();
        faults.row(["the server drained and started again".to_owned(), restarts]);
        format!(
            "## Before and after\n\n{}\n## Load\n\n{}\n## Faults\n\n{}\n## Agents\n\n{}",
            self.verdict.table().markdown(),
            load.markdown(),
            faults.markdown(),
            self.agents.table().markdown(),
        )
    }

    /// Writes `soak.md` and `soak.svg` into `out`.
    pub(super) fn write(&self, out: &Path) -> anyhow::Result<()> {
        let Plan {
            length,
            agents,
            seed,
            every,
            ..
        } = self.plan;
        let text = format!(
            "# Soak\n\n\
             Made by `make soak`: {} minutes of load and faults, {agents} simulated agents, one `lariat-server` as it is shipped, \
             everything on the same cores of one machine; seed {seed}. Some agents have API servers that answer after 50 ms, \
             read 256 KiB a second, leave and come back every minute, or lose their connection every 20 s.\n\n\
             The load is lists, watches with counted changes, logs with counted lines, terminals whose bytes come back, downloads \
             and uploads of 8 MiB, downloads that are read slowly, and requests on new connections. Every byte is looked at: work may be \
             broken off or refused while there are faults, but what arrives is never wrong, twice or out of order.\n\n\
             *Before* is after a twelfth of that time with the load alone, *after* is at the end; in both, the load has been over for \
             {} s. The server that is measured at the end has lived for half of the time at least. A sample was taken every {} s; red lines \
             are where the server was drained and started again.\n\n\
             ![memory, open files, threads and more over time](soak.svg)\n\n{}",
            length.as_secs() / 60,
            super::QUIET.as_secs(),
            every.as_secs(),
            self.text(),
        );
        fs::create_dir_all(out)?;
        fs::write(out.join("soak.md"), text)?;
        let marks: Vec<f64> = self.restarted.iter().map(|at| minutes(*at)).collect();
        let picture = plot::curves("The server over time", &self.curves(), &marks);
        fs::write(out.join("soak.svg"), picture)?;
        Ok(())
    }

    fn curves(&self) -> Vec<Curve> {
        let curve = |label: &str, value: &dyn Fn(&Sample) -> f64| Curve {
            label: label.to_owned(),
            points: self
                .samples
                .iter()
                .map(|sample| (minutes(sample.at), value(sample)))
                .collect(),
        };
        let mut curves = vec![
            curve("memory, MB", &|sample| sample.memory as f64 / 1e6),
            curve("open files", &|sample| sample.descriptors as f64),
            curve("threads", &|sample| sample.threads as f64),
            curve("agents connected", &|sample| sample.connected as f64),
        ];
        let names: BTreeSet<&String> = self
            .samples
            .iter()
            .flat_map(|sample| sample.gauges.keys())
            .collect();
        for name in names {
            let value = |sample: &Sample| sample.gauges.get(name).copied().unwrap_or_default();
            curves.push(curve(name, &value));
        }
        curves
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}
