//! What can go wrong, ordered by who has to act.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

/// Everything the testbed can fail with. Each message names the step, the value and, where there is
/// one, the command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the testbed runs is not installed.
    #[error("`{program}` is missing; install it with: {remedy}")]
    MissingProgram {
        /// The program's name.
        program: String,
        /// A command, or what to do when there is none.
        remedy: String,
    },
    /// The request needs namespaces, and thus root.
    #[error(
        "{what} needs root (network, mount and process namespaces); run as root, or use the loopback tier"
    )]
    NeedsRoot {
        /// What was asked for.
        what: &'static str,
    },
    /// The request does not fit the tier or the options of this cluster.
    #[error("{0}")]
    Unsupported(String),
    /// All slots are held by living owners.
    #[error("all {0} testbed slots are in use; see `testbed status`, end some with `testbed down`")]
    NoFreeSlot(usize),
    /// No ports were left for a loopback cluster.
    #[error("no free block of ports between {from} and {to} for a loopback cluster")]
    NoFreePorts {
        /// First port tried.
        from: u16,
        /// Last port tried.
        to: u16,
    },
    /// A command that should end by itself ended badly.
    #[error("{step}: `{command}` ended with {status}: {output}")]
    Command {
        /// What was being done.
        step: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
    },
    /// A component that should run ended.
    #[error("{name} ended with {status} while {step}; its log is {}: {tail}", log.display())]
    Ended {
        /// The component.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What was waited for.
        step: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {limit:?}: {last}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long was waited.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
    /// The owner is ending, so nothing new may be started.
    #[error("{what}: this testbed is being ended")]
    Ending {
        /// What was asked for.
        what: String,
    },
    /// A component answered with something unexpected.
    #[error("{step}: {detail}")]
    Unexpected {
        /// What was being done.
        step: String,
        /// What came back.
        detail: String,
    },
    /// A certificate could not be made.
    #[error("make the certificate for {subject}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The operating system refused something.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The result of the testbed's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds the step to an error of the operating system.
pub(crate) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T>;

    fn at(self, verb: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.step(|| format!("{verb} {}", path.display()))
    }
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            step: step(),
            source: source.into(),
        })
    }
}
