//! One owner's testbed: the place that its clusters share.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::{
    Error, Result, cluster::ClusterBuilder, network::Hub, process::Process, signals, slot::Slot,
};

/// The clusters and processes of one owner. Drop its clusters first; what is left when it is
/// dropped, or when the owner gets SIGINT, SIGTERM or SIGHUP, is ended and removed.
#[derive(Debug)]
pub struct Testbed {
    hub: Mutex<Option<Arc<Hub>>>,
    clusters: AtomicU8,
    slot: Arc<Slot>,
}

impl Testbed {
    /// Opens a testbed that ends itself, and this process, on SIGINT, SIGTERM and SIGHUP.
    /// Leftovers of dead owners are removed first. `purpose` is what `testbed status` shows.
    ///
    /// # Errors
    /// When leftovers cannot be removed, or no slot is free.
    pub fn open(purpose: &str) -> Result<Self> {
        let testbed = Self::open_without_signals(purpose)?;
        signals::end_on_signals(Arc::clone(&testbed.slot))?;
        Ok(testbed)
    }

    /// Opens a testbed for a program that handles signals itself, and then drops the testbed.
    ///
    /// # Errors
    /// When leftovers cannot be removed, or no slot is free.
    pub fn open_without_signals(purpose: &str) -> Result<Self> {
        Ok(Self {
            slot: Arc::new(Slot::take(purpose)?),
            hub: Mutex::default(),
            clusters: AtomicU8::new(0),
        })
    }

    /// Begins to describe a cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> ClusterBuilder<'_> {
        ClusterBuilder::new(self, name)
    }

    /// The address, in the network namespace of the owner, that every full cluster can dial.
    /// Made when first asked for; needs root.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn hub_address(&self) -> Result<Ipv4Addr> {
        Ok(self.hub()?.address())
    }

    /// Starts a process beside the clusters, for example the server they dial. It ends when it is
    /// dropped, and at the latest with the owner.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_process(&self, name: &str, program: &Command, log: &Path) -> Result<Process> {
        Process::start(&self.slot, name, program, log)
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(crate) fn next_number(&self) -> Result<u8> {
        self.clusters
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
                number.checked_add(1)
            })
            .map_err(|_| Error::Unsupported("one owner can start at most 255 clusters".into()))
    }

    pub(crate) fn hub(&self) -> Result<Arc<Hub>> {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = &*hub {
            return Ok(Arc::clone(hub));
        }
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NeedsRoot {
                what: "a network for clusters",
            });
        }
        Ok(Arc::clone(hub.insert(Arc::new(Hub::create(&self.slot)?))))
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.hub
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.slot.end();
    }
}
