//! Copies of the store.
//!
//! The file of the store is locked while a server runs, so the running server makes the copy. It is
//! asked over a socket in its data directory, which its owner alone can open: who can read the
//! store may copy it, and nobody needs a token, an address or a CA for it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use store::backup::{self, Reader, Summary};
use store::{OpenError, RedbOptions, RedbStore, Store};
use tokio::net::UnixListener;

use crate::config::Config;

/// The file of the store in the data directory.
pub const STORE: &str = "store.redb";
const SOCKET: &str = "backup.sock";

/// How long whoever asked may take to read a copy.
const LIMIT: Duration = Duration::from_secs(3600);

/// What gives out copies of the store of this server.
#[derive(Debug)]
pub struct Backups {
    socket: Option<UnixListener>,
    store: Arc<dyn Store>,
}

impl Backups {
    /// Makes the socket. To be called by who holds the store: one that is there belongs to a
    /// server that has ended. Without a socket the server does its work all the same.
    pub fn listen(config: &Config, store: &Arc<dyn Store>) -> Self {
        let path = config.data_file(SOCKET);
        let socket = listen(&path);
        if let Err(error) = &socket {
            let path = path.display();
            tracing::warn!(%error, %path, "a backup can be taken only while the server is stopped");
        }
        Self {
            socket: socket.ok(),
            store: Arc::clone(store),
        }
    }

    /// Gives a copy of the store, as it is then, to each who connects, one after the other. To be
    /// dropped.
    pub async fn serve(self) {
        let Some(socket) = self.socket else { return };
        loop {
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept who asks for a backup");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            // A copy that is cut short is noticed by who gets it.
            match tokio::time::timeout(LIMIT, backup::write(&*self.store, stream)).await {
                Ok(Ok(Summary { revision, entries })) => {
                    tracing::info!(%revision, entries, "gave out a backup");
                }
                Ok(Err(error)) => tracing::warn!(%error, "a backup failed"),
                Err(_) => tracing::warn!("a backup was not read within an hour"),
            }
        }
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

/// Writes a backup of the store in the data directory, whether a server runs or not, to a file
/// that must not be there yet. The file gets its name when it is whole and on disk. Blocks.
///
/// # Errors
/// When there is no store, or it cannot be read, or the file cannot be written.
pub fn take(config: &Config, file: &Path) -> anyhow::Result<Summary> {
    if file.try_exists()? {
        bail!("{} exists already", file.display());
    }
    let part = Part::create(file)?;
    match UnixStream::connect(config.data_file(SOCKET)) {
        Ok(mut running) => {
            let copied = io::copy(&mut running, &mut &part.file);
            copied.context("cannot copy the store of the running server")?;
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            copy_resting(&config.data_file(STORE), &part.file)?;
        }
        Err(error) => return Err(error).context("cannot ask the running server"),
    }
    let summary = backup::verify(File::open(&part.path)?)
        .context("what the server gave is not whole; its log may say why")?;
    part.keep_as(file)?;
    Ok(summary)
}

/// Replaces the store in the data directory by a backup. No server may run. Blocks.
///
/// # Errors
/// When there is a store and `overwrite` is not set, when it is in use, or when the backup is
/// damaged.
pub fn restore(config: &Config, file: &Path, overwrite: bool) -> anyhow::Result<Summary> {
    let named = || format!("cannot restore {}", file.display());
    let reader = Reader::new(File::open(file).with_context(named)?).with_context(named)?;
    let mut folder = DirBuilder::new();
    folder
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)?;
    match RedbStore::restore(&config.data_file(STORE), reader, overwrite) {
        Err(error @ OpenError::Exists(_)) => Err(error).context("add --overwrite to replace it"),
        result => result.with_context(named),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn copy_resting(path: &Path, file: &File) -> anyhow::Result<()> {
    if !path.try_exists()? {
        bail!("there is no store in {}", path.display());
    }
    let store = RedbStore::open(path, RedbOptions::default())?;
    backup::write(&store, tokio::fs::File::from_std(file.try_clone()?)).await?;
    Ok(())
}

/// A file until it is whole; removed again if it never is.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(file: &Path) -> anyhow::Result<Self> {
        let mut path = file.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn keep_as(&self, file: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, file)?;
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
