//! The log: a queue, and one thread that writes.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::rotation::RotatingFile;
use super::sink::Traffic;
use crate::clock::Clock;
use crate::config::{AuditLog, Rotation};

/// How many lines may wait for the disk. More are dropped and counted.
const QUEUE: usize = 8192;

/// How long a line waits for others. A thread that is woken for each costs the requests as much as
/// the writing does.
const TOGETHER: Duration = Duration::from_millis(20);

/// How often it is said that lines were dropped.
const SAID: Duration = Duration::from_secs(10);

/// How long [`Log::flush`] waits.
const FLUSH: Duration = Duration::from_secs(1);

/// Takes lines for the log. Clones share the queue.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: mpsc::SyncSender<Item>,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
enum Item {
    Line(Bytes),
    Reopen,
    /// Answered when everything before it is written.
    Flush(mpsc::SyncSender<()>),
}

impl Log {
    /// Opens the place, and starts the thread that writes to it.
    pub(super) fn open(place: &AuditLog, rotation: Rotation, clock: Clock) -> io::Result<Self> {
        let traffic = Arc::<Traffic>::default();
        let (lines, queue) = mpsc::sync_channel(QUEUE);
        let place = match place {
            AuditLog::Off => Place::Nowhere,
            AuditLog::Stdout => Place::Stdout(BufWriter::new(io::stdout())),
            AuditLog::File(path) => Place::File(RotatingFile::open(path, rotation, clock)?),
        };
        let writer = Writer {
            place,
            traffic: Arc::clone(&traffic),
            said: (0, None),
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || writer.run(&queue))?;
        Ok(Self { lines, traffic })
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn write(&self, line: Bytes) {
        let length = line.len();
        if !self.traffic.admit(length) {
            return self.traffic.lose(1);
        }
        if self.lines.try_send(Item::Line(line)).is_ok() {
            self.traffic.took();
        } else {
            self.traffic.leave(length);
            self.traffic.lose(1);
        }
    }

    pub(super) fn reopen(&self) {
        if self.lines.try_send(Item::Reopen).is_err() {
            tracing::warn!("the audit log is not opened again: too much waits to be written");
        }
    }

    pub(super) fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.lines.try_send(Item::Flush(done)).is_ok() {
            // A disk that takes longer loses what waits; there is nothing to be done about it.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}

/// The one thread that writes: everything that waits, then out with it.
struct Writer {
    place: Place,
    traffic: Arc<Traffic>,
    /// How many dropped lines were told of, and when last.
    said: (usize, Option<Instant>),
}

enum Place {
    Nowhere,
    Stdout(BufWriter<io::Stdout>),
    File(RotatingFile),
}

impl Writer {
    fn run(mut self, queue: &mpsc::Receiver<Item>) {
        while let Ok(first) = queue.recv() {
            if matches!(first, Item::Line(_)) {
                #[expect(clippy::disallowed_methods, reason = "in a thread of its own")]
                std::thread::sleep(TOGETHER);
            }
            let mut result = self.take(first);
            while let Ok(item) = queue.try_recv() {
                result = result.and(self.take(item));
            }
            if let Err(error) = result.and(self.place.flush()) {
                tracing::error!(%error, "cannot write the audit log");
            }
            self.tell_of_dropped();
        }
    }

    fn take(&mut self, item: Item) -> io::Result<()> {
        match item {
            Item::Line(line) => {
                self.traffic.leave(line.len());
                let written = self.place.write(&line);
                if written.is_err() {
                    self.traffic.lose(1);
                }
                written
            }
            Item::Reopen => self.place.reopen(),
            Item::Flush(done) => {
                let flushed = self.place.flush();
                // The one who asked may have gone.
                let _ = done.send(());
                flushed
            }
        }
    }

    fn tell_of_dropped(&mut self) {
        let (told, when) = self.said;
        let dropped = self.traffic.dropped();
        if dropped > told && when.is_none_or(|when| when.elapsed() >= SAID) {
            let lost = dropped - told;
            tracing::error!(lost, "audit lines are lost: the disk does not keep up");
            self.said = (dropped, Some(Instant::now()));
        }
    }
}

impl Place {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout(stdout) => stdout
                .write_all(line)
                .and_then(|()| stdout.write_all(b"\n")),
            Self::File(file) => file.write_line(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.reopen(),
            Self::Nowhere | Self::Stdout(_) => self.flush(),
        }
    }
}
