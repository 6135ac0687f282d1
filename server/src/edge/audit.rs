//! One line per request: who did what, where from, with which answer.

use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Instant;

use jiff::Timestamp;
use lariat_api::ClusterId;
use serde::Serialize;

use crate::authn::Identity;
use crate::config::AuditLog;

/// How many lines may wait for the disk. More are dropped and counted.
const QUEUE: usize = 8192;

/// Where lines go. Clones share the queue.
#[derive(Clone, Debug)]
pub struct AuditSink {
    lines: Option<mpsc::SyncSender<Item>>,
    dropped: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    Reopen,
    /// Answered when everything before it is written.
    Flush(mpsc::SyncSender<()>),
}

impl AuditSink {
    /// Opens the destination and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(destination: &AuditLog) -> std::io::Result<Self> {
        let dropped = Arc::new(AtomicUsize::new(0));
        if *destination == AuditLog::Off {
            return Ok(Self {
                lines: None,
                dropped,
            });
        }
        let (lines, queue) = mpsc::sync_channel(QUEUE);
        let writer = Writer {
            file: open(destination)?,
            destination: destination.clone(),
        };
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || writer.run(&queue))?;
        Ok(Self {
            lines: Some(lines),
            dropped,
        })
    }

    /// How many lines were dropped because the disk was too slow.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
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

    fn offer(&self, item: Item) {
        if let Some(lines) = &self.lines
            && lines.try_send(item).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How long a line waits for others. A thread that is woken for each costs the requests as much as
/// the writing does.
const TOGETHER: std::time::Duration = std::time::Duration::from_millis(20);

/// The one thread that writes: everything that waits, then out with it.
struct Writer {
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
            Item::Line(line) => self.file.write_all(&line),
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

/// The record of one request. The line is written when the last clone is dropped: whoever works
/// for the request (the body of its answer, the two directions of an upgrade) holds one.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Record>);

#[derive(Debug)]
struct Record {
    sink: AuditSink,
    started: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    line: Mutex<Line>,
}

#[derive(Debug, Default, Serialize)]
struct Line {
    time: Timestamp,
    id: String,
    from: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    method: String,
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'static str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    received: u64,
    sent: u64,
    milliseconds: u64,
}

impl Audit {
    /// Begins the record of a request. `uri` must not hold a secret.
    #[must_use]
    pub fn begin(sink: &AuditSink, now: Timestamp, request: Begin<'_>) -> Self {
        Self(Arc::new(Record {
            sink: sink.clone(),
            started: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            line: Mutex::new(Line {
                time: now,
                id: request.id.to_owned(),
                from: Some(request.from),
                method: request.method.to_owned(),
                uri: request.uri,
                ..Line::default()
            }),
        }))
    }

    /// Who it is.
    pub fn set_identity(&self, identity: &Identity) {
        self.with(|line| {
            line.user = Some(identity.user.to_string());
            line.username = Some(identity.username.clone());
            line.token = Some(identity.token.to_string());
        });
    }

    /// Which cluster it goes to.
    pub fn set_cluster(&self, cluster: &ClusterId) {
        self.with(|line| line.cluster = Some(cluster.clone()));
    }

    /// What is done to what, in the words of Kubernetes.
    pub fn set_action(&self, verb: &'static str, resource: String) {
        self.with(|line| {
            line.verb = Some(verb);
            line.resource = Some(resource);
        });
    }

    /// By which path the cluster was reached, for example `cluster-agent`.
    pub fn set_via(&self, via: &'static str) {
        self.with(|line| line.via = Some(via));
    }

    /// The status of the answer.
    pub fn set_status(&self, status: u16) {
        self.with(|line| line.status = status);
    }

    /// Why it was refused or failed.
    pub fn set_reason(&self, reason: &str) {
        self.with(|line| line.reason = Some(reason.to_owned()));
    }

    /// So many bytes of body, or of an upgraded connection, came from the client.
    pub fn add_received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many went to the client.
    pub fn add_sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn with(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.0.line.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is known of a request at its beginning.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    /// Request id.
    pub id: &'a str,
    /// Address of the client.
    pub from: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Path and query, without secrets.
    pub uri: String,
}

impl Drop for Record {
    fn drop(&mut self) {
        let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
        line.received = *self.received.get_mut();
        line.sent = *self.sent.get_mut();
        line.milliseconds = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A line of these types always serialises.
        if let Ok(mut text) = serde_json::to_vec(line) {
            text.push(b'\n');
            self.sink.offer(Item::Line(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_written_when_the_last_holder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let sink = AuditSink::open(&AuditLog::File(path.clone())).unwrap();
        let begin = Begin {
            id: "1",
            from: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            uri: "/ping".to_owned(),
        };
        let audit = Audit::begin(&sink, Timestamp::UNIX_EPOCH, begin);
        let holder = audit.clone();
        audit.set_status(101);
        drop(audit);
        sink.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        holder.add_sent(5);
        drop(holder);
        sink.flush();
        let line: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(line["uri"], "/ping");
        assert_eq!(line["status"], 101);
        assert_eq!(line["sent"], 5);
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let sink = AuditSink::open(&AuditLog::File(path.clone())).unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        sink.reopen();
        sink.flush();
        assert!(path.exists());
    }
}
