//! Whether everything is as it was.

use super::{load::Figures, sample::Sample};
use crate::report::Table;

const MIB: f64 = 1024.0 * 1024.0;

/// What was compared, and whether it may be so.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    before: f64,
    after: f64,
    most: f64,
}

impl Verdict {
    pub(super) fn of(before: &Sample, after: &Sample, load: &Figures, unreachable: usize) -> Self {
        let mut verdict = Self::default();
        let (was, is) = (before.memory as f64 / MIB, after.memory as f64 / MIB);
        // An allocator keeps what it had in its busiest moment.
        verdict.row("memory, MiB", was, is, was * 1.25 + 32.0);
        let (was, is) = (before.descriptors as f64, after.descriptors as f64);
        verdict.row("open files", was, is, was + 32.0);
        let (was, is) = (before.threads as f64, after.threads as f64);
        verdict.row("threads", was, is, was + 8.0);
        for (name, is) in &after.gauges {
            let was = before.gauges.get(name).copied().unwrap_or_default();
            let slack = if name.ends_with("_bytes") {
                4.0 * MIB
            } else {
                32.0
            };
            verdict.row(name, was, *is, was * 1.1 + slack);
        }
        verdict.row("clusters that do not answer", 0.0, unreachable as f64, 0.0);
        for (kind, counts) in load {
            let name = format!("{kind:?}: answers with wrong bytes");
            verdict.row(&name, 0.0, counts.wrong as f64, 0.0);
            let never = f64::from(u8::from(counts.done == 0));
            verdict.row(&format!("{kind:?}: never done"), 0.0, never, 0.0);
        }
        verdict
    }

    fn row(&mut self, what: &str, before: f64, after: f64, most: f64) {
        self.rows.push(Row {
            what: what.to_owned(),
            before,
            after,
            most,
        });
    }

    pub(super) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.after <= row.most)
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&["what", "before", "after", "allowed", "met"]);
        for row in &self.rows {
            let met = if row.after <= row.most {
                "yes"
            } else {
                "**no**"
            };
            let figure = |value: f64| format!("{value:.0}");
            table.row([
                row.what.clone(),
                figure(row.before),
                figure(row.after),
                format!("≤ {:.0}", row.most),
                met.to_owned(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(mebibytes: u64, descriptors: usize) -> Sample {
        Sample {
            memory: mebibytes << 20,
            descriptors,
            gauges: [("lariat_proxy_open".to_owned(), descriptors as f64)].into(),
            ..Sample::default()
        }
    }

    #[test]
    fn what_has_grown_is_found() {
        let verdict = |before, after, unreachable| {
            Verdict::of(&before, &after, &Figures::new(), unreachable).is_good()
        };
        assert!(verdict(sample(100, 50), sample(150, 60), 0));
        assert!(!verdict(sample(100, 50), sample(200, 50), 0));
        assert!(!verdict(sample(100, 50), sample(100, 90), 0));
        assert!(!verdict(sample(100, 50), sample(100, 50), 1));
    }
}
