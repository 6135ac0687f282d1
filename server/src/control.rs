//! What the owner of a server asks it for on its own machine: copies of the store, changes of keys.
//!
//! The file of the store is locked while a server runs, so the running server does the work. It is
//! asked over a socket in its data directory, which the owner of that alone can open: who can read
//! the store may do all this, and nobody needs a token, an address or a CA for it.
//!
//! A request is a line. The answer to `backup` is the backup; to `keys` and a command, lines to
//! print and then `ok`, or `error: ` and why.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Client;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use store::backup::{self, Summary};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::encryption::{self, Encryption, KeysCommand};

const SOCKET: &str = "control.sock";

/// How long whoever connects may take to ask.
const ASKING: Duration = Duration::from_secs(5);

/// Longest request.
const MAX_REQUEST: u64 = 64;

/// How long an answer may take, with the time that whoever asked needs to read it.
const ANSWERING: Duration = Duration::from_secs(3600);

/// How many are answered at the same time.
const AT_ONCE: usize = 4;

/// Lines that wait until they are read.
const LINES: usize = 64;

/// What answers.
#[derive(Debug)]
pub struct Control {
    socket: Option<UnixListener>,
    encryption: Encryption,
    clock: Clock,
}

impl Control {
    /// Makes the socket. To be called by who holds the store: one that is there belongs to a
    /// server that has ended. Without a socket the server does its work all the same.
    #[must_use]
    pub fn listen(config: &Config, encryption: Encryption, clock: Clock) -> Self {
        let path = config.data_file(SOCKET);
        let socket = listen(&path);
        if let Err(error) = &socket {
            let path = path.display();
            tracing::warn!(%error, %path, "backups and changes of keys need the server stopped");
        }
        Self {
            socket: socket.ok(),
            encryption,
            clock,
        }
    }

    /// Answers, for ever; to be dropped.
    pub async fn serve(self) {
        let Some(socket) = &self.socket else { return };
        let connections = stream::unfold((), |()| async move { Some((accept(socket).await, ())) });
        let control = &self;
        let answered = connections.for_each_concurrent(AT_ONCE, |stream| async move {
            match timeout(ANSWERING, control.answer(stream)).await {
                Ok(Ok(())) => {}
                // An answer that is cut short is noticed by who gets it.
                Ok(Err(error)) => tracing::warn!("a request of the owner failed: {error:#}"),
                Err(_) => tracing::warn!("a request of the owner took more than an hour"),
            }
        });
        answered.await;
    }

    async fn answer(&self, stream: UnixStream) -> anyhow::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut request = String::new();
        let mut asked = (&mut stream).take(MAX_REQUEST);
        timeout(ASKING, asked.read_line(&mut request)).await??;
        let stream = stream.into_inner();
        let request = request.trim_end();
        if request == "backup" {
            return self.give_backup(stream).await;
        }
        let command = request.strip_prefix("keys ").and_then(KeysCommand::named);
        match command {
            Some(command) => self.change_keys(command, stream).await,
            None => anyhow::bail!("{request:?} is not understood"),
        }
    }

    async fn give_backup(&self, stream: UnixStream) -> anyhow::Result<()> {
        // The store beneath: a backup has secrets as they are sealed.
        let store = self.encryption.store().inner();
        let Summary { revision, entries } = backup::write(&**store, stream).await?;
        tracing::info!(%revision, entries, "gave out a backup");
        Ok(())
    }

    async fn change_keys(
        &self,
        command: KeysCommand,
        mut stream: UnixStream,
    ) -> anyhow::Result<()> {
        let (lines, mut said) = mpsc::channel(LINES);
        let now = self.clock.now();
        let working = async move {
            let done = encryption::run(command, &self.encryption, now, &lines).await;
            let last = match &done {
                Ok(()) => "ok".to_owned(),
                Err(error) => format!("error: {error:#}"),
            };
            // Whoever asked may have gone; the work is done all the same.
            let _ = lines.send(last).await;
            done
        };
        let telling = async move {
            while let Some(line) = said.recv().await {
                stream.write_all(format!("{line}\n").as_bytes()).await?;
            }
            io::Result::Ok(())
        };
        let (done, _) = tokio::join!(working, telling);
        done
    }
}

/// Asks the server that runs on a data directory; `None` if none does. Blocks.
///
/// # Errors
/// When it cannot be asked.
pub fn ask(config: &Config, request: &str) -> io::Result<Option<Client>> {
    match Client::connect(config.data_file(SOCKET)) {
        Ok(mut running) => {
            writeln!(running, "{request}")?;
            Ok(Some(running))
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(socket: &UnixListener) -> UnixStream {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a request of the owner");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
