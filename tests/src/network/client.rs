//! A kubectl that runs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};

/// A running kubectl; ended when dropped.
#[derive(Debug)]
pub(super) struct Client {
    child: Arc<Mutex<Child>>,
    errors: PathBuf,
    limit: Option<SyncSender<()>>,
}

impl Client {
    /// Starts it with pipes for input and output; what it says on standard error is kept in `folder`.
    pub(super) fn start(
        mut command: Command,
        name: &str,
        folder: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let errors = folder.join(format!("{}.stderr", name.replace([' ', '/'], "-")));
        let file = File::create(&errors).with_context(|| format!("write {}", errors.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("start kubectl")?;
        let stdin = child.stdin.take().context("its input is a pipe")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let client = Self {
            child: Arc::new(Mutex::new(child)),
            errors,
            limit: None,
        };
        Ok((client, stdin, stdout))
    }

    /// Ends it when it is still there after `limit`, so that nobody waits for its pipes for ever.
    pub(super) fn end_after(&mut self, limit: Duration) {
        let (sender, dropped) = sync_channel(0);
        self.limit = Some(sender);
        let child = Arc::clone(&self.child);
        std::thread::spawn(move || {
            if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let _ = lock(&child).kill();
            }
        });
    }

    /// It may go on for as long as it likes.
    pub(super) fn lift_limit(&mut self) {
        self.limit = None;
    }

    /// What it complained about, and how it ended if it has.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        match lock(&self.child).try_wait() {
            Ok(Some(status)) => complaints.push(format!("kubectl ended with {status}")),
            Ok(None) => {}
            Err(error) => complaints.push(format!("kubectl cannot be watched: {error}")),
        }
        let words = fs::read_to_string(&self.errors).unwrap_or_default();
        complaints.extend(words.lines().map(str::to_owned));
        complaints
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// The code with which it ended, if it did by itself.
    pub(super) fn code(&mut self) -> Option<i32> {
        lock(&self.child).try_wait().ok().flatten()?.code()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
