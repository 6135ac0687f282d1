//! What loads are sent to: it takes bytes, sends bytes, sends them back, or answers requests, as the first byte of a
//! connection asks. It computes as little as possible.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};
use tunnel::Io;

/// Bytes of one read or write of bulk.
pub const BLOCK: usize = 64 * 1024;

/// What a connection is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// All is sent back.
    Echo = b'E',
    /// All is taken and counted; a number to count it under follows.
    Upload = b'U',
    /// Bytes come until they are stopped; a number follows as well, and is not used.
    Download = b'D',
}

/// A request begins with this, and is answered with 1 KiB.
const REQUEST: u8 = b'G';

/// Bytes of [`Mode::Upload`] or [`Mode::Download`] and the number that follows.
pub const HEADER: usize = 9;

/// One of it serves many connections.
pub struct Service {
    received: Mutex<BTreeMap<u64, Arc<AtomicU64>>>,
    open: AtomicUsize,
    stops: watch::Sender<u64>,
    page: Vec<u8>,
}

impl Default for Service {
    fn default() -> Self {
        let body = "x".repeat(1024);
        let page = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            received: Mutex::default(),
            open: AtomicUsize::new(0),
            stops: watch::Sender::new(0),
            page: page.into_bytes(),
        }
    }
}

impl Service {
    /// Answers a word of the control: `received` (what came in over each upload that goes on), `stop` (of all
    /// downloads), `open` (uploads and downloads that go on).
    #[must_use]
    pub fn control(&self, word: &str) -> String {
        match word {
            "received" => {
                let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
                let counts = received
                    .iter()
                    .map(|(number, bytes)| format!("{number}:{}", bytes.load(Ordering::Relaxed)));
                counts.collect::<Vec<_>>().join(" ")
            }
            "stop" => {
                self.stops.send_modify(|stops| *stops += 1);
                "stopped".to_owned()
            }
            "open" => self.open.load(Ordering::Relaxed).to_string(),
            unknown => format!("no answer to {unknown}"),
        }
    }

    /// Serves a connection to its end.
    ///
    /// # Errors
    /// When it breaks.
    pub async fn serve(&self, mut io: impl Io) -> io::Result<()> {
        let mut begin = vec![0; 1024];
        let mut read = io.read(&mut begin).await?;
        let bulk = |first| first == Mode::Upload as u8 || first == Mode::Download as u8;
        while read > 0 && read < HEADER && bulk(begin[0]) {
            read += io.read(&mut begin[read..]).await?;
        }
        if read == 0 {
            return Ok(());
        }
        let first = begin[0];
        if first == REQUEST {
            return self.pages(io, begin, read).await;
        }
        if !bulk(first) {
            io.write_all(&begin[1..read]).await?;
            io.flush().await?;
            return echo(io, begin).await;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let done = if first == Mode::Download as u8 {
            self.send(io).await
        } else {
            let mut number = [0; 8];
            number.copy_from_slice(&begin[1..HEADER]);
            self.take(io, u64::from_be_bytes(number), read - HEADER)
                .await
        };
        self.open.fetch_sub(1, Ordering::Relaxed);
        done
    }

    async fn pages(
        &self,
        mut io: impl Io,
        mut buffer: Vec<u8>,
        mut filled: usize,
    ) -> io::Result<()> {
        loop {
            if buffer[..filled].ends_with(b"\r\n\r\n") {
                io.write_all(&self.page).await?;
                io.flush().await?;
                filled = 0;
            }
            match io.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                read => filled += read,
            }
        }
    }

    async fn send(&self, mut io: impl Io) -> io::Result<()> {
        let mut stops = self.stops.subscribe();
        let block = vec![0x5a; BLOCK];
        while !stops.has_changed().unwrap_or(true) {
            tokio::select! {
                written = io.write_all(&block) => written?,
                // Whoever is slow to read is not waited for.
                _ = stops.changed() => break,
            }
        }
        io.shutdown().await
    }

    async fn take(&self, mut io: impl Io, number: u64, already: usize) -> io::Result<()> {
        let count = Arc::new(AtomicU64::new(already as u64));
        let received = || self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received().insert(number, Arc::clone(&count));
        let mut block = vec![0; BLOCK];
        let end = loop {
            match io.read(&mut block).await {
                Ok(0) => break Ok(()),
                Ok(read) => count.fetch_add(read as u64, Ordering::Relaxed),
                Err(error) => break Err(error),
            };
        };
        received().remove(&number);
        end
    }
}

async fn echo(mut io: impl Io, mut buffer: Vec<u8>) -> io::Result<()> {
    loop {
        match io.read(&mut buffer).await? {
            0 => return Ok(()),
            read => io.write_all(&buffer[..read]).await?,
        }
        io.flush().await?;
    }
}
