//! A component that runs: started with its log in a file, watched, waited for, ended.
//!
//! Each process has one thread that starts it and waits for it. The kernel kills the process when
//! that thread ends (`setpriv --pdeathsig`), so nothing outlives its owner, not even after SIGKILL.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use crate::{
    Error, Result, command,
    error::Step,
    slot::{Resource, Slot},
    wait,
};

/// How long a process may take to stop where it is.
const STOPPING: Duration = Duration::from_secs(10);

/// A running component; killed and waited for when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    exit: Arc<Exit>,
    record: Option<(Arc<Slot>, Resource)>,
    waiter: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Process {
    /// Starts `program`, standard output and error appended to `log`, and records it in `slot` so
    /// that a later owner can end it.
    ///
    /// # Errors
    /// When the program or its log cannot be opened, or when the owner is ending.
    pub(crate) fn start(
        slot: &Arc<Slot>,
        name: &str,
        program: &Command,
        log: &Path,
    ) -> Result<Self> {
        let mut process = Self::start_unrecorded(name, program, log)?;
        let resource = Resource::Process {
            pid: process.pid.as_raw(),
            started: start_ticks(process.pid.as_raw()).unwrap_or(0),
        };
        slot.record(resource.clone())?;
        process.record = Some((Arc::clone(slot), resource));
        Ok(process)
    }

    fn start_unrecorded(name: &str, program: &Command, log: &Path) -> Result<Self> {
        let mut command = dying_with_its_parent(program);
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .at("open the log", log)?;
        let errors = output.try_clone().at("open the log", log)?;
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0); // Ctrl-C at a terminal is for the owner alone
        let exit = Arc::new(Exit::default());
        let (sender, receiver) = mpsc::sync_channel(1);
        let shared = Arc::clone(&exit);
        let waiter = std::thread::Builder::new()
            .name(format!("wait-{name}"))
            .spawn(move || match command.spawn() {
                Ok(child) => {
                    let pid = child.id();
                    if sender.send(Ok(pid)).is_ok() {
                        wait_for(child, &shared);
                    }
                }
                Err(error) => drop(sender.send(Err(error))),
            })
            .step(|| format!("start a thread for {name}"))?;
        let pid = receiver
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("its thread ended")))
            .step(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            pid: Pid::from_raw(pid.cast_signed()),
            log: log.to_owned(),
            exit,
            record: None,
            waiter: Some(waiter),
        })
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, as seen by the owner.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.status()
    }

    /// Waits for the end, at most `limit`.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let (status, _) = self
            .exit
            .changed
            .wait_timeout_while(self.status(), limit, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *status
    }

    /// Sends a signal; does nothing when the process has ended. After SIGSTOP nothing of it runs any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Held while sending: the waiter reaps only with this lock, so the id is still ours.
        let status = self.status();
        if status.is_some() {
            return Ok(());
        }
        kill(self.pid, signal).step(|| format!("send {signal} to {}", self.name))?;
        drop(status);
        match signal {
            Signal::SIGSTOP => self.wait_until_stopped(),
            _ => Ok(()),
        }
    }

    /// Its threads stop one after the other.
    fn wait_until_stopped(&self) -> Result<()> {
        let what = format!("{} to stop where it is", self.name);
        let threads = PathBuf::from(format!("/proc/{}/task", self.pid));
        wait::until(&what, STOPPING, Duration::from_millis(1), || {
            let mut threads = fs::read_dir(&threads).into_iter().flatten().flatten();
            Ok(match threads.any(|thread| runs(&thread.path())) {
                true => Err("a thread runs".to_owned()),
                false => Ok(()),
            })
        })
    }

    /// Asks it to end (SIGTERM), after `grace` kills it, and waits until it is gone.
    pub fn stop(&self, grace: Duration) {
        if self.signal(Signal::SIGTERM).is_ok() && self.wait(grace).is_some() {
            return;
        }
        self.kill();
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&self) {
        if self.signal(Signal::SIGKILL).is_ok() {
            let _ = self.wait(Duration::from_secs(20));
        }
    }

    /// Waits until `condition` gives a value; fails at once, with the end of the log, when the
    /// process ends first.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Timeout`], or the condition's own error.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> Result<std::result::Result<T, String>>,
    ) -> Result<T> {
        crate::wait::until(what, limit, Duration::ZERO, || {
            let answer = condition()?;
            if answer.is_err()
                && let Some(status) = self.wait(Duration::from_millis(50))
            {
                return Err(self.ended(what, status));
            }
            Ok(answer)
        })
    }

    /// The error for a component that ended while it should run.
    fn ended(&self, step: &str, status: ExitStatus) -> Error {
        let log = fs::read(&self.log).unwrap_or_default();
        Error::Ended {
            name: self.name.clone(),
            status,
            step: format!("waiting for {step}"),
            log: self.log.clone(),
            tail: command::last_lines(&String::from_utf8_lossy(&log), 8),
        }
    }

    fn status(&self) -> std::sync::MutexGuard<'_, Option<ExitStatus>> {
        self.exit
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some((slot, resource)) = self.record.take() {
            slot.forget(&resource);
        }
        if self.exited().is_some()
            && let Some(waiter) = self.waiter.take()
        {
            let _ = waiter.join();
        }
    }
}

fn dying_with_its_parent(program: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.get_program())
        .args(program.get_args());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

fn wait_for(mut child: Child, exit: &Exit) {
    let pid = Pid::from_raw(child.id().cast_signed());
    // Leaves the zombie in place, so that nobody signals a recycled id.
    while let Err(nix::errno::Errno::EINTR) =
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
    {}
    let mut status = exit.status.lock().unwrap_or_else(PoisonError::into_inner);
    *status = child.wait().ok();
    exit.changed.notify_all();
}

/// When a process started, in clock ticks since boot: with the id, its identity.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    stat_fields(pid)?.get(19)?.parse().ok()
}

/// Whether a process with this identity is there and not a zombie.
pub(crate) fn is_alive(pid: i32, started: u64) -> bool {
    stat_fields(pid).is_some_and(|fields| {
        !matches!(fields.first().map(String::as_str), Some("Z" | "X") | None)
            && fields.get(19).and_then(|field| field.parse().ok()) == Some(started)
    })
}

/// The fields of `/proc/PID/stat` from the state letter on (proc(5), fields 3 onwards).
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Whether a thread is in any state but that of being stopped.
fn runs(thread: &Path) -> bool {
    let state = fs::read_to_string(thread.join("stat"));
    // Behind the name, which is in brackets. A thread that is gone does not run.
    state.is_ok_and(|stat| {
        let behind = stat.rsplit(')').next().unwrap_or_default();
        !behind.trim_start().starts_with(['T', 't', 'Z', 'X'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process =
            Process::start_unrecorded("script", Command::new("sh").args(["-c", script]), &log)
                .unwrap();
        (folder, process)
    }

    #[test]
    fn the_exit_code_is_seen() {
        let (_folder, process) = start("exit 7");
        let status = process.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn waiting_for_a_condition_ends_with_the_process_and_shows_its_log() {
        let (_folder, process) = start("echo out of luck; exit 1");
        let error = process
            .until::<()>("luck", Duration::from_secs(10), || {
                Ok(Err("not yet".into()))
            })
            .unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{error}");
        assert!(error.to_string().contains("out of luck"), "{error}");
    }

    #[test]
    fn stop_kills_what_ignores_the_request() {
        let (_folder, process) = start("trap '' TERM; while :; do sleep 1; done");
        process.stop(Duration::from_millis(100));
        assert!(process.exited().is_some());
    }

    #[test]
    fn dropping_ends_the_process() {
        let (_folder, process) = start("exec sleep 1000");
        let pid = process.pid();
        let started = start_ticks(pid).unwrap();
        assert!(is_alive(pid, started));
        drop(process);
        assert!(!is_alive(pid, started));
    }
}
