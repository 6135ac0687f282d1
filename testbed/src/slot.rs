//! One owner's place among the testbeds of this machine, and the list of what it has made.
//!
//! A slot is a folder held by a file lock that dies with its owner. Whatever is made outside the
//! owner's own memory (processes, network namespaces, links, control groups, folders) is written
//! to the slot's `state.json` before it is made, so the next owner can remove it after a crash.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, error::Step, process, sweep, wait};

/// How many owners fit on one machine; their addresses and ports are derived from the slot.
pub const SLOTS: usize = 32;

/// How long an owner may take to end.
const END: Duration = Duration::from_secs(60);

/// Something that outlives a crash of its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// A process, by id and start time (clock ticks since boot).
    Process {
        /// The process id.
        pid: i32,
        /// Its start time.
        started: u64,
    },
    /// A named network namespace.
    NetworkNamespace {
        /// As in `ip netns list`.
        name: String,
    },
    /// A network device in the namespace of the owner.
    Link {
        /// As in `ip link`.
        name: String,
    },
    /// A control group, by the name it has in every hierarchy.
    ControlGroup {
        /// The folder's name under `/sys/fs/cgroup/*/`.
        name: String,
    },
    /// A folder with all that is in it.
    Folder {
        /// Its path.
        path: PathBuf,
    },
}

/// What a slot's `state.json` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The owner's process id.
    pub pid: i32,
    /// The owner's start time, in clock ticks since boot.
    pub started: u64,
    /// What the owner says it is for.
    pub purpose: String,
    /// What it has made, oldest first.
    pub resources: Vec<Resource>,
    /// The clusters that are ready.
    pub clusters: Vec<ClusterRecord>,
}

/// A ready cluster, as others on this machine may use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its name.
    pub name: String,
    /// Its Kubernetes version.
    pub version: String,
    /// Its tier.
    pub tier: String,
    /// A kubeconfig of an administrator.
    pub kubeconfig: PathBuf,
    /// A kubectl of the cluster's version.
    pub kubectl: PathBuf,
    /// The folder of its logs.
    pub logs: PathBuf,
}

/// A held slot; all that is still recorded in it is removed when it is dropped.
#[derive(Debug)]
pub struct Slot {
    index: usize,
    folder: PathBuf,
    state: Mutex<Option<State>>,
    // Locked for as long as the owner lives.
    _lock: File,
}

impl Slot {
    /// Removes what dead owners left and takes the first free slot.
    pub(crate) fn take(purpose: &str) -> Result<Self> {
        let root = root()?;
        sweep::dead_owners(&root)?;
        for index in 0..SLOTS {
            let folder = folder(&root, index);
            fs::create_dir_all(&folder).at("create", &folder)?;
            if let Some(lock) = try_lock(&folder)? {
                let pid = std::process::id().cast_signed();
                let slot = Self {
                    index,
                    folder,
                    state: Mutex::new(Some(State {
                        pid,
                        started: process::start_ticks(pid).unwrap_or(0),
                        purpose: purpose.to_owned(),
                        ..State::default()
                    })),
                    _lock: lock,
                };
                slot.change(|_| ())?;
                return Ok(slot);
            }
        }
        Err(Error::NoFreeSlot(SLOTS))
    }

    /// The number of the slot, below [`SLOTS`].
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// A folder for what belongs to this owner.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down a resource; call it before making the resource where its name is known.
    pub(crate) fn record(&self, resource: Resource) -> Result<()> {
        self.change(|state| state.resources.push(resource))
    }

    /// Strikes out a resource that is gone.
    pub(crate) fn forget(&self, resource: &Resource) {
        if let Err(error) = self.change(|state| state.resources.retain(|other| other != resource)) {
            tracing::debug!(%error, "the record keeps something that is gone");
        }
    }

    /// Says that a cluster is ready.
    pub(crate) fn add_cluster(&self, cluster: ClusterRecord) -> Result<()> {
        self.change(|state| state.clusters.push(cluster))
    }

    /// Says that a cluster is no longer there.
    pub(crate) fn remove_cluster(&self, name: &str) {
        if let Err(error) = self.change(|state| state.clusters.retain(|other| other.name != name)) {
            tracing::debug!(%error, "the record keeps a cluster that is gone");
        }
    }

    /// Removes all that is recorded; nothing can be recorded afterwards.
    pub(crate) fn end(&self) {
        // Held to the end, so that whoever else ends the owner waits for this.
        let mut guard = self.lock();
        let Some(state) = guard.take() else {
            return;
        };
        match sweep::resources(&state.resources) {
            Ok(()) => {
                let _ = fs::remove_file(state_file(&self.folder));
            }
            Err(error) => {
                tracing::warn!(%error, "something of this testbed is left; `testbed clean` tries again");
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut guard = self.lock();
        let state = guard.as_mut().ok_or_else(|| Error::Ending {
            what: "start something".into(),
        })?;
        let result = change(state);
        write_state(&self.folder, state)?;
        Ok(result)
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a slot on this machine is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The number of the slot.
    pub slot: usize,
    /// Whether the owner still lives.
    pub alive: bool,
    /// What it wrote down.
    pub state: State,
}

impl Owner {
    /// Asks a living owner to end, and waits until it has removed what it had made.
    ///
    /// # Errors
    /// When it cannot be asked, or does not end within a minute.
    pub fn end(&self) -> Result<()> {
        let pid = Pid::from_raw(self.state.pid);
        if self.alive && process::is_alive(self.state.pid, self.state.started) {
            kill(pid, Signal::SIGTERM).step(|| format!("ask process {pid} to end"))?;
        }
        let what = format!("the end of process {pid}");
        wait::until(&what, END, Duration::from_millis(50), || {
            let is_there = owners()?.iter().any(|other| {
                other.alive
                    && (other.state.pid, other.state.started)
                        == (self.state.pid, self.state.started)
            });
            Ok(if is_there {
                Err("it is still there".into())
            } else {
                Ok(())
            })
        })
    }
}

/// All owners, living and dead, that have something on this machine.
///
/// # Errors
/// When the folder of the slots cannot be read.
pub fn owners() -> Result<Vec<Owner>> {
    let root = root()?;
    let mut owners = Vec::new();
    for slot in 0..SLOTS {
        let folder = folder(&root, slot);
        if let Some(state) = read_state(&folder)? {
            let alive = try_lock(&folder)?.is_none();
            owners.push(Owner { slot, alive, state });
        }
    }
    Ok(owners)
}

/// The folder of all slots: `LARIAT_TESTBED_STATE`, or one per user under `/var/tmp`.
pub(crate) fn root() -> Result<PathBuf> {
    let user = nix::unistd::getuid();
    let root = std::env::var_os("LARIAT_TESTBED_STATE").map_or_else(
        || PathBuf::from(format!("/var/tmp/lariat-testbed-{user}")),
        PathBuf::from,
    );
    match fs::DirBuilder::new().mode(0o700).create(&root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.at("create", &root)?,
    }
    let owner = fs::symlink_metadata(&root).at("look at", &root)?;
    if !owner.is_dir() || owner.uid() != user.as_raw() {
        return Err(Error::Unsupported(format!(
            "{} is not a folder of this user; remove it or set LARIAT_TESTBED_STATE",
            root.display()
        )));
    }
    Ok(root)
}

pub(crate) fn folder(root: &Path, index: usize) -> PathBuf {
    root.join(format!("slot-{index}"))
}

/// The lock of a slot, or nothing while its owner lives.
pub(crate) fn try_lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .at("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
    }
}

/// What is written in a slot's folder, if anything.
pub(crate) fn read_state(folder: &Path) -> Result<Option<State>> {
    let path = state_file(folder);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.at("read", &path)?,
    };
    let state = serde_json::from_slice(&text).map_err(|error| Error::Unexpected {
        step: format!("read {}", path.display()),
        detail: error.to_string(),
    })?;
    Ok(Some(state))
}

fn write_state(folder: &Path, state: &State) -> Result<()> {
    let text = serde_json::to_vec_pretty(state).map_err(|error| Error::Unexpected {
        step: "write the state".into(),
        detail: error.to_string(),
    })?;
    let path = state_file(folder);
    let draft = folder.join("state.json.new");
    fs::write(&draft, text).at("write", &draft)?;
    fs::rename(&draft, &path).at("write", &path)
}

pub(crate) fn state_file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}
