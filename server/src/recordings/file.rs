//! A recording that is being written.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::fs::{self, DirBuilder, File, OpenOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::Recordings;

/// How long the disk may take.
const DISK: Duration = Duration::from_secs(10);

/// How often it is looked whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Why a session cannot be recorded, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// What goes over the connection is not understood.
    #[error("{0}")]
    Unreadable(#[from] remotecommand::Error),
    /// The recording of one session is as long as it may be.
    #[error("its recording is as long as it may be (recordings-session-maxsize)")]
    TooLong,
    /// All recordings together are.
    #[error("all recordings together are as long as they may be (recordings-maxsize)")]
    Full,
    /// The file is there no more.
    #[error("its recording was deleted")]
    Gone,
    /// The disk does not answer.
    #[error("the disk takes more than {} s", DISK.as_secs())]
    Slow,
    /// The disk refuses.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// A file to which what happens is added before anybody sees it.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    recordings: Recordings,
    path: PathBuf,
    file: File,
    size: u64,
    looked: Instant,
}

impl Recordings {
    /// Makes the file of a recording that begins with these bytes.
    pub(crate) async fn create(
        &self,
        cluster: &str,
        name: &str,
        beginning: &[u8],
    ) -> Result<RecordingFile, Fault> {
        let path = self.path(cluster, name);
        let open = async {
            // Not the folder of all: if that is not there, something was to be mounted.
            let made = DirBuilder::new()
                .mode(0o700)
                .create(self.of_cluster(cluster))
                .await;
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            options.open(&path).await
        };
        let file = timeout(DISK, open).await.map_err(|_| Fault::Slow)??;
        let mut recording = RecordingFile {
            recordings: self.clone(),
            path: path.clone(),
            file,
            size: 0,
            looked: Instant::now(),
        };
        match recording.write(beginning).await {
            Ok(()) => Ok(recording),
            Err(fault) => {
                recording.discard().await;
                Err(fault)
            }
        }
    }
}

impl RecordingFile {
    /// Adds bytes. When this returns, the system has them. After a failure nothing more is to be added.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        let most = self.recordings.settings.max_session_size;
        if most > 0 && self.size + length > most {
            return Err(Fault::TooLong);
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let there = timeout(DISK, fs::try_exists(&self.path)).await;
            if !there.map_err(|_| Fault::Slow)?? {
                return Err(Fault::Gone);
            }
        }
        if !self.recordings.reserve(length) {
            return Err(Fault::Full);
        }
        self.size += length;
        let writing = async {
            self.file.write_all(bytes).await?;
            self.file.flush().await
        };
        let written = match timeout(DISK, writing).await {
            Ok(written) => written.map_err(Fault::Disk),
            Err(_) => Err(Fault::Slow),
        };
        if written.is_err() {
            self.size -= length;
            self.recordings.give_back(length);
            // Half a line is none for who reads it. A disk that is lost keeps what it has.
            let _ = timeout(DISK, self.file.set_len(self.size)).await;
        }
        written
    }

    /// Waits until the disk has it all.
    pub(crate) async fn sync(&mut self) -> Result<(), Fault> {
        let synced = timeout(DISK, self.file.sync_all()).await;
        Ok(synced.map_err(|_| Fault::Slow)??)
    }

    /// Bytes that were added.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Takes the file away again.
    pub(crate) async fn discard(self) {
        if let Err(error) = fs::remove_file(&self.path).await {
            let path = self.path.display();
            tracing::warn!(%error, %path, "cannot delete a recording of nothing");
        } else {
            self.recordings.give_back(self.size);
        }
    }
}
