//! Recordings of sessions in containers: where they are kept, for how long, and who reads them. Each is
//! a file, and an object of the management API (`SessionRecording`) that says what it is of. What is
//! recorded is decided and written on the way of requests: `kube_proxy::recording`.

mod file;
mod reading;
mod retention;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::config;

pub(crate) use file::{Fault, RecordingFile};
pub(crate) use reading::{asked_for, read};
pub(crate) use retention::forget;
pub use retention::{end_interrupted, sweep};

/// The folder of recordings. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Recordings {
    settings: Arc<config::Recordings>,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    /// Bytes of all recordings.
    used: Arc<AtomicU64>,
    bytes: Gauge,
    sessions: Family<OutcomeLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

/// What became of a session that had to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// It was, to its end.
    Recorded,
    /// It was refused, because it could not be.
    Refused,
    /// It was ended, because it could not be any longer.
    Ended,
}

impl Recordings {
    /// Opens the folder, or makes it. Without one, the server does everything but sessions that must
    /// be recorded.
    #[must_use]
    pub fn open(settings: &config::Recordings) -> Self {
        let recordings = Self {
            settings: Arc::new(settings.clone()),
            counts: Counts::default(),
        };
        if let Err(error) = make(&settings.folder).and_then(|()| recordings.measure()) {
            let folder = settings.folder.display();
            tracing::error!(%error, %folder, "sessions that must be recorded are refused");
        }
        recordings
    }

    /// Adds the metrics of recordings.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Sessions in containers that had to be recorded, by what became of them";
        registry.register("recorded_sessions", help, self.counts.sessions.clone());
        let help = "Bytes of all recordings of sessions";
        registry.register("recordings_bytes", help, self.counts.bytes.clone());
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let label = OutcomeLabel { outcome };
        self.counts.sessions.get_or_create(&label).inc();
    }

    /// Where a recording is. Names of objects and ids of clusters are safe as names of files.
    fn path(&self, cluster: &str, name: &str) -> PathBuf {
        self.of_cluster(cluster).join(format!("{name}.{EXTENSION}"))
    }

    fn of_cluster(&self, cluster: &str) -> PathBuf {
        self.settings.folder.join(cluster)
    }

    /// Room for that many bytes, if there is some.
    fn reserve(&self, bytes: u64) -> bool {
        let used = self.counts.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let fits = self.settings.max_size == 0 || used <= self.settings.max_size;
        if !fits {
            self.give_back(bytes);
        }
        self.show();
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.counts.used.fetch_sub(bytes, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        let used = self.counts.used.load(Ordering::Relaxed);
        self.counts
            .bytes
            .set(i64::try_from(used).unwrap_or(i64::MAX));
    }

    /// Counts what is there. Blocks.
    fn measure(&self) -> io::Result<()> {
        let mut used = 0;
        for (_, _, path) in self.files()? {
            used += fs::metadata(path)?.len();
        }
        self.counts.used.store(used, Ordering::Relaxed);
        self.show();
        Ok(())
    }

    /// The recordings that are there: cluster, name and file. Blocks.
    fn files(&self) -> io::Result<Vec<(String, String, PathBuf)>> {
        let mut files = Vec::new();
        for cluster in fs::read_dir(&self.settings.folder)? {
            let cluster = cluster?;
            if !cluster.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(cluster.path())? {
                let path = file?.path();
                let stem = path.file_stem().and_then(|stem| stem.to_str());
                let is_ours = path.extension().is_some_and(|found| found == EXTENSION);
                if let (true, Some(name), Ok(cluster)) =
                    (is_ours, stem, cluster.file_name().into_string())
                {
                    files.push((cluster, name.to_owned(), path));
                }
            }
        }
        Ok(files)
    }
}

/// What the names of recordings end with.
const EXTENSION: &str = "cast";

fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}
