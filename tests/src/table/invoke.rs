//! Running one program to its end, with a limit.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::words;

/// Arguments, input and environment of a kubectl.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The arguments; `{ns}` stands for the namespace.
    pub arguments: Vec<String>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// The exit code; none after a signal.
    pub code: Option<i32>,
}

impl Outcome {
    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything, for comparison.
    #[must_use]
    pub fn transcript(&self) -> String {
        let code = self
            .code
            .map_or_else(|| "signal".into(), |code| code.to_string());
        let mut text = format!("exit {code}\n{}", self.stdout_text());
        if !self.stderr.is_empty() {
            text.push_str("\n--- stderr\n");
            text.push_str(&self.stderr);
        }
        text
    }
}

impl Invocation {
    /// From a line of arguments.
    #[must_use]
    pub fn new(arguments: &str) -> Self {
        Self {
            arguments: words::split(arguments),
            ..Self::default()
        }
    }

    /// With this on standard input.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = input.into();
        self
    }

    /// As a command, without input.
    #[must_use]
    pub fn command(&self, program: &Path, kubeconfig: &Path, namespace: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg(format!("--namespace={namespace}"))
            .args(
                self.arguments
                    .iter()
                    .map(|word| word.replace("{ns}", namespace)),
            )
            .env("KUBECONFIG", kubeconfig)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than `limit`.
    pub fn run(
        &self,
        program: &Path,
        kubeconfig: &Path,
        namespace: &str,
        limit: Duration,
    ) -> Result<Outcome> {
        let mut command = self.command(program, kubeconfig, namespace);
        let text = String::from_utf8_lossy(&self.stdin).replace("{ns}", namespace);
        let input = if self.stdin.is_ascii() {
            text.into_bytes()
        } else {
            self.stdin.clone()
        };
        run(&mut command, &input, limit)
    }
}

/// Runs a command to its end with this on its standard input.
///
/// # Errors
/// When it cannot be started or takes longer than `limit`; it is killed then.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<Outcome> {
    run_with(command, input, limit, false)
}

/// The same, but standard input stays open until the end, as that of a person does.
///
/// # Errors
/// As [`run`].
pub fn run_typing(command: &mut Command, typed: &[u8], limit: Duration) -> Result<Outcome> {
    run_with(command, typed, limit, true)
}

fn run_with(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    is_held: bool,
) -> Result<Outcome> {
    let stdin = if input.is_empty() && !is_held {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().context("standard output")?;
    let stderr = child.stderr.take().context("standard error")?;
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut stdin = stdin?;
            // A program that ends without reading all of it is not a mistake.
            let _ = stdin.write_all(input);
            is_held.then_some(stdin)
        });
        let stdout = scope.spawn(move || read(stdout));
        let stderr = scope.spawn(move || read(stderr));
        let code = wait(&mut child, limit)?;
        drop(writer.join());
        Ok(Outcome {
            stdout: stdout.join().unwrap_or_default(),
            stderr: String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned(),
            code,
        })
    })
}

fn read(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What was read before an error is still worth comparing.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<i32>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("wait for a program")? {
            return Ok(status.code());
        }
        if start.elapsed() >= limit {
            child.kill().context("kill a program")?;
            child.wait().context("wait for a killed program")?;
            bail!("no end within {limit:?}");
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
