//! Where audit lines go: a queue, and one thread that writes.

use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::Policy;
use crate::config::AuditLog;

/// How many lines may wait for the disk. More are dropped and counted.
const QUEUE: usize = 8192;

/// How many bytes of them. Lines with bodies of requests are long.
const QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Where lines go. Clones share the queue.
#[derive(Clone, Debug)]
pub struct AuditSink {
    lines: Option<mpsc::SyncSender<Item>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    waiting: AtomicUsize,
    written: AtomicUsize,
    dropped: AtomicUsize,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    Reopen,
    /// Answered when everything before it is written.
    Flush(mpsc::SyncSender<()>),
}

impl AuditSink {
    /// Opens the destination and starts the thread that writes to it what `policy` says.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(destination: &AuditLog, policy: Policy) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            policy,
            waiting: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        });
        if *destination == AuditLog::Off {
            return Ok(Self {
                lines: None,
                shared,
            });
        }
        let (lines, queue) = mpsc::sync_channel(QUEUE);
        let writer = Writer {
            file: open(destination)?,
            destination: destination.clone(),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || writer.run(&queue))?;
        Ok(Self {
            lines: Some(lines),
            shared,
        })
    }

    /// How many lines were dropped because the disk was too slow.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// How many were handed to the writer.
    #[must_use]
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// What is recorded; `None`: nothing, as nobody wants to know.
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.lines.as_ref().map(|_| &self.shared.policy)
    }

    /// Hands over a line, unless too much waits already.
    pub(super) fn write(&self, line: Vec<u8>) {
        let length = line.len();
        let waiting = self.shared.waiting.fetch_add(length, Ordering::Relaxed);
        if waiting > QUEUED_BYTES {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.offer(Item::Line(line)) {
            self.shared.written.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.waiting.fetch_sub(length, Ordering::Relaxed);
    }

    /// Opens the file again, after it was rotated.
    pub fn reopen(&self) {
        self.offer(Item::Reopen);
    }

    /// Waits, for at most a second, until what was offered is written.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        self.offer(Item::Flush(done));
        // Nobody answers when the queue is full; then there is nothing more to do.
        let _ = written.recv_timeout(std::time::Duration::from_secs(1));
    }

    fn offer(&self, item: Item) -> bool {
        let Some(lines) = &self.lines else {
            return false;
        };
        let taken = lines.try_send(item).is_ok();
        if !taken {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

/// How long a line waits for others. A thread that is woken for each costs the requests as much as
/// the writing does.
const TOGETHER: std::time::Duration = std::time::Duration::from_millis(20);

/// The one thread that writes: everything that waits, then out with it.
struct Writer {
    shared: Arc<Shared>,
    destination: AuditLog,
    file: BufWriter<Box<dyn Write + Send>>,
}

impl Writer {
    fn run(mut self, queue: &mpsc::Receiver<Item>) {
        while let Ok(first) = queue.recv() {
            if matches!(first, Item::Line(_)) {
                #[expect(clippy::disallowed_methods, reason = "in a thread of its own")]
                std::thread::sleep(TOGETHER);
            }
            let mut result = self.write(first);
            while let Ok(item) = queue.try_recv() {
                result = result.and(self.write(item));
            }
            if let Err(error) = result.and(self.file.flush()) {
                tracing::error!(%error, "cannot write the audit log");
            }
        }
    }

    fn write(&mut self, item: Item) -> std::io::Result<()> {
        match item {
            Item::Line(line) => {
                self.shared.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                self.file.write_all(&line)
            }
            Item::Reopen => {
                self.file.flush()?;
                self.file = open(&self.destination)?;
                Ok(())
            }
            Item::Flush(done) => {
                self.file.flush()?;
                // The one who asked may have gone.
                let _ = done.send(());
                Ok(())
            }
        }
    }
}

fn open(destination: &AuditLog) -> std::io::Result<BufWriter<Box<dyn Write + Send>>> {
    let file: Box<dyn Write + Send> = match destination {
        AuditLog::Off => Box::new(std::io::sink()),
        AuditLog::Stdout => Box::new(std::io::stdout()),
        AuditLog::File(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let mut options = std::fs::OpenOptions::new();
            Box::new(options.append(true).create(true).mode(0o600).open(path)?)
        }
    };
    Ok(BufWriter::new(file))
}
