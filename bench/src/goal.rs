//! What is wanted of a figure, and medians over the rounds of a run.

use crate::report::Table;

/// A figure that is compared with what is wanted.
#[derive(Debug)]
pub struct Goal {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub measured: f64,
    /// What it should be.
    pub wanted: Wanted,
}

/// A bound of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Goal {
    /// Whether it is what was wanted.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.measured >= least,
            Wanted::AtMost(most) => self.measured <= most,
        }
    }
}

/// The goals of a run.
#[derive(Debug, Default)]
pub struct Goals(Vec<Goal>);

impl Goals {
    /// Adds one.
    pub fn add(&mut self, name: impl Into<String>, measured: f64, wanted: Wanted) {
        self.0.push(Goal {
            name: name.into(),
            measured,
            wanted,
        });
    }

    /// All of them.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["goal", "wanted", "measured", "met"]);
        for goal in &self.0 {
            let wanted = match goal.wanted {
                Wanted::AtLeast(least) => format!("≥ {least}"),
                Wanted::AtMost(most) => format!("≤ {most}"),
            };
            let met = if goal.is_met() { "yes" } else { "no" };
            table.row([
                goal.name.clone(),
                wanted,
                format!("{:.2}", goal.measured),
                met.to_owned(),
            ]);
        }
        table
    }

    /// How many are met, and how many are not.
    #[must_use]
    pub fn outcome(&self) -> String {
        let missed = self.0.iter().filter(|goal| !goal.is_met()).count();
        format!("{} goals met, {missed} missed", self.0.len() - missed)
    }
}

/// The median; the upper one of two.
///
/// # Panics
/// When there are no figures.
#[must_use]
pub fn median(figures: Vec<f64>) -> f64 {
    median_by(figures, |figure| *figure)
}

/// The median of the ratios of each round.
///
/// # Panics
/// When there are no rounds.
#[must_use]
pub fn median_ratio(over: &[f64], under: &[f64]) -> f64 {
    median(
        over.iter()
            .zip(under)
            .map(|(over, under)| over / under)
            .collect(),
    )
}

/// The one with the median figure.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn median_by<T>(mut all: Vec<T>, figure: impl Fn(&T) -> f64) -> T {
    all.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    let middle = all.len() / 2;
    all.swap_remove(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_before_their_median_is_taken() {
        assert!((median_ratio(&[2.0, 40.0, 9.0], &[1.0, 10.0, 3.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_goal_that_is_reached_exactly_is_met() {
        let mut goals = Goals::default();
        goals.add("a", 1.0, Wanted::AtLeast(1.0));
        goals.add("b", 1.1, Wanted::AtMost(1.0));
        assert_eq!(goals.outcome(), "1 goals met, 1 missed");
    }
}
