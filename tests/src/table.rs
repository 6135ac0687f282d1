//! A table of invocations, each run once directly and once through the tunnel, and compared.

pub mod invoke;
mod normalise;
mod report;
mod words;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

pub use invoke::{Invocation, Outcome};
pub use normalise::Normaliser;
pub use report::Report;

/// How long one invocation may take.
pub const LIMIT: Duration = Duration::from_secs(180);

/// One of the two ways to the same cluster.
#[derive(Clone, Debug)]
pub struct Way {
    /// `direct` or `tunnel`, both of six letters, so that columns keep their width.
    pub name: &'static str,
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
}

/// The kubectl under test.
#[derive(Clone, Debug)]
pub struct Client {
    /// The program.
    pub program: PathBuf,
    /// The number of its minor version.
    pub minor: u32,
}

/// A sequence of steps in a namespace of its own; each way runs all of it.
pub struct Scenario {
    /// Its name, a part of the namespace's name.
    pub name: &'static str,
    /// What the operator does first, directly.
    pub prepare: Vec<Invocation>,
    /// What is compared.
    pub steps: Vec<Step>,
}

/// One line of the table.
pub struct Step {
    name: String,
    since: u32,
    only_newest: bool,
    compare: Compare,
    exit: Option<i32>,
    action: Action,
    effect: Option<Invocation>,
}

enum Action {
    Kubectl(Invocation),
    Custom(fn(&Context) -> Result<String>),
}

/// Which part of the output must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    All,
    /// The last line: the ones before tell how far a wait has come.
    LastLine,
    /// The lines as a set: their order is not defined.
    Sorted,
    /// The first word of each line: the rest is measured.
    FirstColumn,
}

/// A step that runs kubectl with these arguments (split at blanks, single quotes hold together);
/// `{ns}` stands for the namespace. It is expected to succeed.
pub fn kubectl(arguments: &str) -> Step {
    Step {
        name: arguments.replace(" {ns}", "").chars().take(90).collect(),
        since: 0,
        only_newest: false,
        compare: Compare::All,
        exit: Some(0),
        action: Action::Kubectl(Invocation::new(arguments)),
        effect: None,
    }
}

/// A step with an action of its own, which returns what is to be compared.
pub fn custom(name: &str, action: fn(&Context) -> Result<String>) -> Step {
    Step {
        name: name.to_owned(),
        since: 0,
        only_newest: false,
        compare: Compare::All,
        exit: None,
        action: Action::Custom(action),
        effect: None,
    }
}

impl Step {
    /// With this on standard input.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        if let Action::Kubectl(invocation) = &mut self.action {
            invocation.stdin = text.as_bytes().to_vec();
        }
        self
    }

    /// With this in the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.name = format!("{name}={value} {}", self.name);
        if let Action::Kubectl(invocation) = &mut self.action {
            invocation.env.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Only with kubectl of this minor version or a newer one.
    #[must_use]
    pub fn since(mut self, minor: u32) -> Self {
        self.since = minor;
        self
    }

    /// Only once, because it does not use kubectl.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.only_newest = true;
        self
    }

    /// Expected to end with this exit code, both ways.
    #[must_use]
    pub fn exits(mut self, code: i32) -> Self {
        self.exit = Some(code);
        self
    }

    /// Compare only the last line.
    #[must_use]
    pub fn last_line(mut self) -> Self {
        self.compare = Compare::LastLine;
        self
    }

    /// Compare the lines without their order.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.compare = Compare::Sorted;
        self
    }

    /// Compare the first word of each line.
    #[must_use]
    pub fn first_column(mut self) -> Self {
        self.compare = Compare::FirstColumn;
        self
    }

    /// Afterwards the operator runs this directly, and its output is compared too.
    #[must_use]
    pub fn effect(mut self, arguments: &str) -> Self {
        self.effect = Some(Invocation::new(arguments));
        self
    }
}

/// What a custom step works with.
pub struct Context<'a> {
    /// The kubectl under test.
    pub client: &'a Client,
    /// The way under test.
    pub way: &'a Way,
    /// The namespace of this scenario and way.
    pub namespace: String,
    /// kubectl as the operator, directly.
    pub operator: &'a (PathBuf, PathBuf),
    /// A folder for files.
    pub scratch: &'a Path,
}

impl Context<'_> {
    /// kubectl under test, its output as it is.
    ///
    /// # Errors
    /// When it cannot be run or takes too long.
    pub fn run(&self, invocation: &Invocation) -> Result<Outcome> {
        invocation.run(
            &self.client.program,
            &self.way.kubeconfig,
            &self.namespace,
            LIMIT,
        )
    }

    /// The same from a line of arguments.
    ///
    /// # Errors
    /// When it cannot be run or takes too long.
    pub fn kubectl(&self, arguments: &str) -> Result<Outcome> {
        self.run(&Invocation::new(arguments))
    }

    /// kubectl as the operator, directly; it must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn operate(&self, invocation: &Invocation) -> Result<String> {
        let (program, kubeconfig) = self.operator;
        let outcome = invocation.run(program, kubeconfig, &self.namespace, LIMIT)?;
        if outcome.code != Some(0) {
            bail!(
                "the operator's {:?}: {}{}",
                invocation.arguments,
                outcome.stdout_text(),
                outcome.stderr
            );
        }
        Ok(outcome.stdout_text())
    }

    /// A command for kubectl under test that is started by the caller.
    #[must_use]
    pub fn command(&self, arguments: &str) -> std::process::Command {
        Invocation::new(arguments).command(
            &self.client.program,
            &self.way.kubeconfig,
            &self.namespace,
        )
    }
}

/// Runs scenarios with one kubectl and reports every step.
pub struct Table<'a> {
    /// The two ways.
    pub ways: [Way; 2],
    /// The operator's kubectl and kubeconfig.
    pub operator: (PathBuf, PathBuf),
    /// A folder for files.
    pub scratch: &'a Path,
    /// Only scenarios and steps whose name contains this.
    pub filter: Option<String>,
}

impl Table<'_> {
    /// Runs one scenario both ways.
    pub fn run(&self, scenario: &Scenario, client: &Client, is_newest: bool, report: &mut Report) {
        let chosen = |step: &Step| client.minor >= step.since && (is_newest || !step.only_newest);
        if let Some(filter) = &self.filter
            && !scenario.name.contains(filter.as_str())
        {
            return;
        }
        let results = self
            .ways
            .each_ref()
            .map(|way| self.run_way(scenario, client, way, &chosen));
        let names = scenario
            .steps
            .iter()
            .filter(|step| chosen(step))
            .map(|step| &step.name);
        let [direct, tunnel] = results;
        match (direct, tunnel) {
            (Ok(direct), Ok(tunnel)) => {
                for ((name, direct), tunnel) in names.zip(direct).zip(tunnel) {
                    report.add(scenario.name, client.minor, name, direct, tunnel);
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                for name in names {
                    report.fail(
                        scenario.name,
                        client.minor,
                        name,
                        &format!("not run: {error:#}"),
                    );
                }
            }
        }
    }

    fn run_way(
        &self,
        scenario: &Scenario,
        client: &Client,
        way: &Way,
        chosen: &impl Fn(&Step) -> bool,
    ) -> Result<Vec<Timed>> {
        let namespace = format!("t{}-{}-{}", client.minor, scenario.name, way.name);
        let context = Context {
            client,
            way,
            namespace: namespace.clone(),
            operator: &self.operator,
            scratch: self.scratch,
        };
        context.operate(&Invocation::new("create namespace {ns}"))?;
        context.operate(&Invocation::new(
            "wait --for=create serviceaccount/default --timeout=30s",
        ))?;
        for invocation in &scenario.prepare {
            context.operate(invocation).context("prepare")?;
        }
        let normaliser = Normaliser::new(&namespace, &way.kubeconfig)?;
        let mut results = Vec::new();
        for step in scenario.steps.iter().filter(|step| chosen(step)) {
            let start = Instant::now();
            let result = step
                .run(&context, &normaliser)
                .map_err(|error| format!("{error:#}"));
            results.push(Timed {
                result,
                took: start.elapsed(),
            });
        }
        context.operate(&Invocation::new("delete namespace {ns} --wait=false"))?;
        Ok(results)
    }
}

/// What a step gave, and how long it took.
pub struct Timed {
    result: Result<String, String>,
    took: Duration,
}

impl Step {
    fn run(&self, context: &Context, normaliser: &Normaliser) -> Result<String> {
        let mut seen = match &self.action {
            Action::Custom(action) => normaliser.apply(&action(context)?),
            Action::Kubectl(invocation) => {
                let outcome = context.run(invocation)?;
                let text = outcome.transcript();
                if let Some(exit) = self.exit
                    && outcome.code != Some(exit)
                {
                    bail!(
                        "exit code {:?} instead of {exit}: {}",
                        outcome.code,
                        text.trim()
                    );
                }
                self.compare.select(&normaliser.apply(&text))
            }
        };
        if let Some(effect) = &self.effect {
            let after = context.operate(effect)?;
            seen.push_str("\n--- effect\n");
            seen.push_str(&normaliser.apply(&after));
        }
        Ok(seen)
    }
}

impl Compare {
    fn select(self, text: &str) -> String {
        let lines = text.lines();
        match self {
            Self::All => text.to_owned(),
            Self::LastLine => lines.last().unwrap_or_default().to_owned(),
            Self::Sorted => {
                let mut lines: Vec<&str> = lines.collect();
                lines.sort_unstable();
                lines.join("\n")
            }
            Self::FirstColumn => lines
                .filter_map(|line| line.split_whitespace().next())
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }
}
