//! What goes over a connection, read and written down.

use std::time::{Duration, Instant};

use remotecommand::{Cast, Event, Exit, Peer, Session};

use crate::recordings::{Fault, RecordingFile};

/// Writes down what happens in a session before anybody sees it.
#[derive(Debug)]
pub(super) struct Recorder {
    session: Session,
    cast: Cast,
    file: RecordingFile,
    began: Instant,
    exit: Option<Exit>,
    /// Whether the file took everything. Half a line may be its last.
    whole: bool,
}

impl Recorder {
    /// A recorder of what begins now, to a file that has its header.
    pub(super) fn new(session: Session, cast: Cast, file: RecordingFile) -> Self {
        Self {
            session,
            cast,
            file,
            began: Instant::now(),
            exit: None,
            whole: true,
        }
    }

    /// Takes what a peer has sent. Nobody may have it before this has returned. Returns whether it ends
    /// between two frames.
    pub(super) async fn take(&mut self, from: Peer, bytes: &[u8]) -> Result<bool, Fault> {
        let at = self.began.elapsed();
        let mut lines = Vec::new();
        let taken = self.session.take(from, bytes, &mut |event| {
            if let Event::Ended(exit) = &event {
                self.exit = Some(exit.clone());
            }
            self.cast.write(at, &event, &mut lines);
        });
        // What was understood is written down, whatever comes after it.
        self.write(&lines).await?;
        taken?;
        Ok(self.session.is_between(from))
    }

    /// What to tell the client about the end; `None` if nothing can be told.
    pub(super) fn farewell(&self, message: &str) -> Option<Vec<u8>> {
        self.session.farewell(message)
    }

    /// Writes down the end, as far as there is room for it.
    pub(super) async fn finish(&mut self, why: &str) -> Result<(), Fault> {
        let mut lines = Vec::new();
        self.cast.finish(self.began.elapsed(), why, &mut lines);
        self.write(&lines).await?;
        self.file.sync().await
    }

    /// How it ended, as the cluster says.
    pub(super) fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    pub(super) fn size(&self) -> u64 {
        self.file.size()
    }

    pub(super) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    /// The file, for who wants it gone.
    pub(super) fn into_file(self) -> RecordingFile {
        self.file
    }

    async fn write(&mut self, lines: &[u8]) -> Result<(), Fault> {
        if lines.is_empty() || !self.whole {
            return Ok(());
        }
        let written = self.file.write(lines).await;
        self.whole = written.is_ok();
        written
    }
}
