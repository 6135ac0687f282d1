//! What the suite prints.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use super::{compare::Difference, differences::Differences};

/// How much of a value is printed.
const SHOWN: usize = 2000;

/// Counts and prints.
pub struct Report {
    /// What may differ.
    pub differences: Differences,
    /// Prints cases that pass too.
    pub verbose: bool,
    passed: usize,
    failed: usize,
}

impl Report {
    /// Nothing yet.
    #[must_use]
    pub fn new(differences: Differences, verbose: bool) -> Self {
        Self {
            differences,
            verbose,
            passed: 0,
            failed: 0,
        }
    }

    /// Takes in what was found in a case, named `FILE: WHAT`.
    pub fn add(&mut self, case: &str, found: anyhow::Result<Vec<Difference>>) {
        let problem = match found {
            Ok(found) => {
                let left = self.differences.unintended(case, found);
                left.iter().map(describe).collect()
            }
            Err(error) => format!("    {error:#}\n"),
        };
        if problem.is_empty() {
            self.passed += 1;
            if self.verbose {
                println!("ok      {case}");
            }
        } else {
            self.failed += 1;
            print!("FAILED  {case}\n{problem}");
        }
    }

    /// Prints the end; whether all is well. What was intended must have occurred if everything has
    /// run.
    #[must_use]
    pub fn finish(mut self, complete: bool) -> bool {
        if complete {
            let unused: Vec<_> = self.differences.unused().collect();
            for entry in unused {
                self.failed += 1;
                println!("FAILED  an intended difference does not occur: {entry}");
            }
        }
        let intended = self.differences.len();
        println!("{intended} reasons for intended differences");
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

fn describe(difference: &Difference) -> String {
    let short = |text: &Option<String>| match text {
        None => "nothing".to_owned(),
        Some(text) => text.chars().take(SHOWN).collect(),
    };
    let Difference { at, ours, theirs } = difference;
    let (ours, theirs) = (short(ours), short(theirs));
    format!("    {at}\n      ours    {ours}\n      theirs  {theirs}\n")
}
