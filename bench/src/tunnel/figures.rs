//! What was measured: a row for each figure, a column for each way, a value for each round.

use crate::{
    goal::{median, median_ratio},
    report::Table,
};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Figures of one part of the benchmark.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<&'static str>,
    ways: Vec<&'static str>,
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Figures {
    /// Adds the value of a round.
    pub fn push(&mut self, row: &'static str, way: &'static str, value: f64) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
        self.values.entry((row, way)).or_default().push(value);
    }

    /// The median over the rounds.
    ///
    /// # Errors
    /// When it was not measured.
    pub fn median(&self, row: &'static str, way: &'static str) -> anyhow::Result<f64> {
        Ok(median(self.of(row, way)?.clone()))
    }

    /// The median of what one way is of another in each round.
    ///
    /// # Errors
    /// When they were not measured.
    pub fn ratio(
        &self,
        row: &'static str,
        over: &'static str,
        under: &'static str,
    ) -> anyhow::Result<f64> {
        Ok(median_ratio(self.of(row, over)?, self.of(row, under)?))
    }

    fn of(&self, row: &'static str, way: &'static str) -> anyhow::Result<&Vec<f64>> {
        self.values
            .get(&(row, way))
            .with_context(|| format!("{row} was not measured for {way}"))
    }

    /// Medians of all of it.
    #[must_use]
    pub fn table(&self) -> Table {
        let head: Vec<&str> = [""].into_iter().chain(self.ways.iter().copied()).collect();
        let mut table = Table::new(&head);
        for row in &self.rows {
            let values = self.ways.iter().map(|way| {
                let values = self.values.get(&(*row, *way));
                values.map_or_else(String::new, |values| shown(median(values.clone())))
            });
            table.row([(*row).to_owned()].into_iter().chain(values));
        }
        table
    }
}

/// With three digits that count.
fn shown(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_was_not_measured_has_an_empty_cell() {
        let mut figures = Figures::default();
        figures.push("MiB/s", "a", 100.0);
        figures.push("MiB/s", "a", 300.0);
        figures.push("MiB/s", "a", 200.0);
        figures.push("µs", "b", 1.5);
        let table = figures.table().markdown();
        assert!(
            table.contains("| MiB/s | 200 |  |\n| µs |  | 1.50 |"),
            "{table}"
        );
        assert!(figures.ratio("µs", "b", "a").is_err());
    }
}
