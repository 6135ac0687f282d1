//! A process of the benchmark: on its cores, with its log in a file, ended with its owner.

use super::cores::Cores;
use crate::memory;
use anyhow::Context as _;
use std::{
    collections::BTreeMap, env, ffi::OsStr, fs::File, path::Path, process::Stdio, time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

/// How long a process may take until it says where it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running process; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    pid: i32,
    ports: BTreeMap<String, u16>,
    /// Kept open, so that the process may go on to write.
    _output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program that says nothing of itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        place: &Place<'_>,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let name = place.name.to_owned();
        let log = File::options()
            .create(true)
            .append(true)
            .open(place.folder.join(format!("{name}.log")))?;
        // Each of them replaces itself with the next one, so that the process id stays.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "taskset", "-c"])
            .arg(place.cores.list())
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start {name}; setpriv and taskset come with util-linux")
            })?;
        let pid = child.id().context("process has ended")?.cast_signed();
        Ok(Self {
            name,
            child,
            pid,
            ports: BTreeMap::new(),
            _output: None,
        })
    }

    /// Starts a program whose first line of output names its ports in JSON.
    ///
    /// # Errors
    /// When it does not say so in time.
    pub async fn announced<A: AsRef<OsStr>>(
        place: &Place<'_>,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let mut process = Self::start(place, program, arguments)?;
        let output = process.child.stdout.take().context("no output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, output.read_line(&mut line)).await;
        let name = &process.name;
        read.with_context(|| format!("{name} says nothing"))??;
        process.ports = serde_json::from_str(&line).with_context(|| {
            format!(
                "{name} says {line:?}; see its log in {}",
                place.folder.display()
            )
        })?;
        process._output = Some(output);
        Ok(process)
    }

    /// Starts this program in one of its roles.
    ///
    /// # Errors
    /// As [`Process::announced`].
    pub async fn own<A: AsRef<OsStr>>(
        place: &Place<'_>,
        role: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let program = env::current_exe()?;
        let arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned());
        let arguments: Vec<_> = std::iter::once(role.into()).chain(arguments).collect();
        Self::announced(place, &program, arguments).await
    }

    /// Where it listens for this.
    ///
    /// # Errors
    /// When it does not.
    pub fn port(&self, of: &str) -> anyhow::Result<u16> {
        self.ports
            .get(of)
            .copied()
            .with_context(|| format!("{} has no port for {of}", self.name))
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its resident memory, in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn kib(&self) -> anyhow::Result<f64> {
        Ok(memory::resident(self.pid)? as f64 / 1024.0)
    }
}

/// What a process is called, and where it runs.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its name, and that of its log.
    pub name: &'a str,
    /// Its cores.
    pub cores: Cores,
    /// Where its log is, and the certificates.
    pub folder: &'a Path,
}
