//! The shell of a transcript.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use regex::Regex;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A command in the background that prints nothing more for this long has printed all.
const QUIET: Duration = Duration::from_secs(2);

/// What each run makes anew, and what is written for it. Ages keep the width of their column.
const RULES: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "0d5e1f2a-7c3b-4a6d-9e8f-1b2c3d4e5f60",
    ),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T12:00:00Z"),
    (r"\b\d{2}s( |$)", "3s $1"),
    (r"\b\ds( |$)", "3s$1"),
    (r"kubectl-edit-\d+", "kubectl-edit-123456789"),
    (r"(resourceVersion: )\S+", "$1\"123\""),
];

pub(super) struct Session {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    rules: Vec<(Regex, &'static str)>,
    background: Option<Background>,
}

struct Background {
    command: String,
    child: Child,
    output: PathBuf,
}

impl Session {
    pub(super) fn new(folder: &Path, variables: &[(&str, String)]) -> Result<Self> {
        let compile = |&(pattern, written): &(&str, &'static str)| {
            Ok::<_, regex::Error>((Regex::new(pattern)?, written))
        };
        Ok(Self {
            folder: folder.to_owned(),
            variables: (variables.iter())
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            rules: RULES.iter().map(compile).collect::<Result<_, _>>()?,
            background: None,
        })
    }

    /// Runs a command and returns what it printed; `expected` is what is waited for from one in
    /// the background.
    pub(super) fn run(&mut self, command: &str, expected: &str) -> Result<String> {
        if command == "fg" {
            return self.fetch(expected);
        }
        let (child, output) = match command.strip_suffix('&') {
            Some(command) => {
                let (child, output) = self.start(command.trim_end(), "background.txt")?;
                let command = command.trim_end().to_owned();
                self.background = Some(Background {
                    command,
                    child,
                    output: output.clone(),
                });
                // What comes next is for it to see.
                await_output(&output, |text| !text.is_empty())?;
                return Ok(String::new());
            }
            None => self.start(command, "output.txt")?,
        };
        finish(child).with_context(|| command.to_owned())?;
        Ok(self.normalised(&read(&output)?))
    }

    fn fetch(&mut self, expected: &str) -> Result<String> {
        let background = self
            .background
            .take()
            .context("nothing in the background")?;
        // Between the command itself and the end.
        let (_, expected) = expected.split_once('\n').unwrap_or_default();
        let expected = expected.strip_suffix("^C").unwrap_or_default();
        let started = Instant::now();
        let mut last = (read(&background.output)?, Instant::now());
        while self.normalised(&last.0) != expected
            && last.1.elapsed() < QUIET
            && started.elapsed() < LIMIT
        {
            thread::park_timeout(Duration::from_millis(50));
            let text = read(&background.output)?;
            if text != last.0 {
                last = (text, Instant::now());
            }
        }
        killpg(group(&background.child)?, Signal::SIGINT).context("interrupt")?;
        finish(background.child).with_context(|| background.command.clone())?;
        let text = self.normalised(&last.0);
        Ok(format!("{}\n{text}^C\n", background.command))
    }

    fn start(&self, command: &str, output: &str) -> Result<(Child, PathBuf)> {
        let output = self.folder.join(output);
        let file = File::create(&output).context("create a file for output")?;
        let child = Command::new("bash")
            .args(["-c", command])
            .current_dir(&self.folder)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("use a file twice")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .context("start bash")?;
        Ok((child, output))
    }

    fn normalised(&self, text: &str) -> String {
        let folder = format!("{}/", self.folder.display());
        let mut lines = String::new();
        for line in text.lines() {
            let mut line = line.replace(&folder, "");
            for (pattern, written) in &self.rules {
                line = pattern.replace_all(&line, *written).into_owned();
            }
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut background) = self.background.take() {
            if let Ok(group) = group(&background.child) {
                let _ = killpg(group, Signal::SIGKILL);
            }
            let _ = background.child.wait();
        }
    }
}

fn group(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(
        child.id().try_into().context("a process id too large")?,
    ))
}

fn finish(mut child: Child) -> Result<()> {
    let started = Instant::now();
    while child.try_wait().context("wait for bash")?.is_none() {
        if started.elapsed() > LIMIT {
            killpg(group(&child)?, Signal::SIGKILL).context("kill")?;
            child.wait().context("wait for bash")?;
            bail!("no end within {LIMIT:?}");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

fn await_output(path: &Path, is_enough: impl Fn(&str) -> bool) -> Result<()> {
    let started = Instant::now();
    while !is_enough(&read(path)?) {
        if started.elapsed() > LIMIT {
            bail!("nothing was printed within {LIMIT:?}");
        }
        thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).context("read output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
