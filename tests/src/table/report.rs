//! What the table says: a line per step, and the count.
#![allow(clippy::print_stdout, reason = "the report is what the program is for")]

use std::time::Duration;

use super::Timed;

/// Counts and prints.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failures: Vec<String>,
}

impl Report {
    /// Compares what the two ways gave.
    pub(super) fn add(
        &mut self,
        scenario: &str,
        minor: u32,
        name: &str,
        direct: Timed,
        tunnel: Timed,
    ) {
        let took = (direct.took, tunnel.took);
        match (direct.result, tunnel.result) {
            (Ok(direct), Ok(tunnel)) if direct == tunnel => self.pass(scenario, minor, name, took),
            (Ok(direct), Ok(tunnel)) => {
                self.fail(scenario, minor, name, &difference(&direct, &tunnel));
            }
            (Err(direct), Err(_)) => {
                self.fail(scenario, minor, name, &format!("both ways: {direct}"));
            }
            (Err(direct), _) => self.fail(scenario, minor, name, &format!("directly: {direct}")),
            (_, Err(tunnel)) => self.fail(
                scenario,
                minor,
                name,
                &format!("through the tunnel: {tunnel}"),
            ),
        }
    }

    fn pass(&mut self, scenario: &str, minor: u32, name: &str, took: (Duration, Duration)) {
        self.passed += 1;
        println!(
            "pass  1.{minor} {scenario}: {name}  ({} / {} ms)",
            took.0.as_millis(),
            took.1.as_millis()
        );
    }

    /// Counts a failure, with its reason.
    pub fn fail(&mut self, scenario: &str, minor: u32, name: &str, reason: &str) {
        let line = format!(
            "FAIL  1.{minor} {scenario}: {name}\n      {}",
            reason.replace('\n', "\n      ")
        );
        println!("{line}");
        self.failures.push(line);
    }

    /// Prints the count, last of all; says whether all is well.
    #[must_use]
    pub fn finish(self) -> bool {
        if !self.failures.is_empty() {
            println!("\nWhat failed:");
            for failure in &self.failures {
                println!("{failure}");
            }
        }
        println!("{} passed, {} failed", self.passed, self.failures.len());
        self.failures.is_empty()
    }
}

/// The first lines in which two texts differ.
fn difference(direct: &str, tunnel: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (direct, tunnel) = (lines(direct), lines(tunnel));
    let same = direct
        .iter()
        .zip(&tunnel)
        .take_while(|(left, right)| left == right)
        .count();
    let show = |mark: &str, lines: &[String]| {
        let rest = lines.iter().skip(same).take(4);
        let cut = |line: &String| line.chars().take(300).collect::<String>();
        rest.map(|line| format!("{mark} {}\n", cut(line)))
            .collect::<String>()
    };
    format!(
        "differs from line {}\n{}{}",
        same + 1,
        show("direct:", &direct),
        show("tunnel:", &tunnel)
    )
}
