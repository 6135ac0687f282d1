//! Where the objects are kept: a file in the data directory, or an etcd. One server at a time uses a
//! store: redb locks its file, and in etcd the server has a claim that it renews.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use store::backup::{Reader, Summary};
use store::{
    Claim, ClaimError, EtcdLogin, EtcdOptions, EtcdStore, EtcdTls, OpenError, RedbOptions,
    RedbStore, Store,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, EtcdSettings, StoreChoice};

/// The file of the store in the data directory.
const FILE: &str = "store.redb";
/// Locked while a server on etcd uses the data directory.
const LOCK: &str = "server.lock";

/// How long giving back what was claimed may take.
const RELEASE: Duration = Duration::from_secs(2);

/// A store that nobody else writes to, as long as this is there.
#[derive(Debug)]
pub struct Storage {
    /// The store.
    pub store: Arc<dyn Store>,
    hold: Option<Hold>,
}

/// What keeps others from a store in etcd.
#[derive(Debug)]
struct Hold {
    stop: CancellationToken,
    keeping: JoinHandle<()>,
    /// Locked while the data directory is in use.
    _directory: File,
}

/// Opens the store, which is made if there is none. `lost` is cancelled when another server has
/// taken it, which happens only after an etcd was away for long.
///
/// # Errors
/// When it cannot be opened, or another server uses it.
pub async fn open(config: &Config, lost: CancellationToken) -> anyhow::Result<Storage> {
    match &config.store {
        StoreChoice::Redb => open_redb(config).await,
        StoreChoice::Etcd(settings) => {
            let directory = lock(&config.data_file(LOCK))?;
            let store = open_etcd(settings).await?;
            let claim = store.claim(&holder(&directory)?).await;
            let claim = claim.map_err(|error| explained(error, settings))?;
            let stop = CancellationToken::new();
            let keeping = tokio::spawn(keep(claim, stop.clone(), lost));
            Ok(Storage {
                store: Arc::new(store),
                hold: Some(Hold {
                    stop,
                    keeping,
                    _directory: directory,
                }),
            })
        }
    }
}

impl Storage {
    /// Lets others have it at once.
    pub async fn release(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.stop.cancel();
            if tokio::time::timeout(RELEASE, hold.keeping).await.is_err() {
                tracing::warn!("the claim of the store ends by itself, in some seconds");
            }
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(hold) = &self.hold {
            hold.stop.cancel();
        }
    }
}

async fn keep(claim: Claim, stop: CancellationToken, lost: CancellationToken) {
    if let Err(error) = claim.keep(stop.cancelled_owned()).await {
        tracing::error!(%error, "another server has taken the store; nothing can be written any more");
        lost.cancel();
    }
}

/// Opens the store that is there, while no server uses it.
///
/// # Errors
/// When there is none, it cannot be opened, or a server uses it.
pub async fn open_existing(config: &Config) -> anyhow::Result<Storage> {
    if config.store == StoreChoice::Redb {
        let path = file(config);
        if !path.try_exists()? {
            bail!("there is no store in {}", path.display());
        }
    }
    open(config, CancellationToken::new()).await
}

/// Replaces the store by a backup, of whatever store that was taken.
///
/// # Errors
/// When there is a store and `overwrite` is not set, when it is in use, or when the backup is
/// damaged.
pub async fn restore(
    config: &Config,
    backup: Reader<File>,
    overwrite: bool,
) -> anyhow::Result<Summary> {
    let restored = match &config.store {
        StoreChoice::Redb => {
            let path = file(config);
            tokio::task::spawn_blocking(move || RedbStore::restore(&path, backup, overwrite))
                .await?
        }
        StoreChoice::Etcd(settings) => {
            let restored = EtcdStore::restore(options(settings)?, backup, overwrite).await;
            restored.map(|(_, summary)| summary)
        }
    };
    match restored {
        Err(error @ OpenError::Exists(_)) => Err(error).context("add --overwrite to replace it"),
        restored => Ok(restored?),
    }
}

/// Makes the data directory, which its owner alone may read.
///
/// # Errors
/// When it is not there and cannot be made.
pub fn make_directory(config: &Config) -> anyhow::Result<()> {
    let folder = &config.data_dir;
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot create the data directory {}", folder.display()))
}

async fn open_redb(config: &Config) -> anyhow::Result<Storage> {
    let path = file(config);
    let opening = move || RedbStore::open(&path, RedbOptions::default());
    let store = tokio::task::spawn_blocking(opening).await??;
    Ok(Storage {
        store: Arc::new(store),
        hold: None,
    })
}

async fn open_etcd(settings: &EtcdSettings) -> anyhow::Result<EtcdStore> {
    let opened = EtcdStore::open(options(settings)?).await;
    opened.with_context(|| format!("cannot use the etcd at {}", settings.endpoints.join(",")))
}

fn options(settings: &EtcdSettings) -> anyhow::Result<EtcdOptions> {
    let mut options = EtcdOptions::new(settings.endpoints.clone());
    options.prefix.clone_from(&settings.prefix);
    if let Some(ca) = &settings.ca {
        let identity = settings.identity.as_ref();
        let identity =
            identity.map(|(certificate, key)| anyhow::Ok((text(certificate)?, text(key)?)));
        options.tls = Some(EtcdTls {
            ca: text(ca)?,
            identity: identity.transpose()?,
        });
    }
    if let Some((user, password)) = &settings.login {
        options.login = Some(EtcdLogin {
            user: user.clone(),
            password: text(password)?.trim_end_matches(['\r', '\n']).to_owned(),
        });
    }
    Ok(options)
}

fn explained(error: ClaimError, settings: &EtcdSettings) -> anyhow::Error {
    let prefix = &settings.prefix;
    let taken = matches!(error, ClaimError::Taken(_));
    let error = anyhow::Error::new(error);
    if !taken {
        return error.context("cannot claim the store in etcd");
    }
    error.context(format!(
        "the store under {prefix} in this etcd is in use, and one server at a time uses a store; \
         stop the other one (what it has claimed is free 15 s after its end), or choose another \
         --etcd-prefix"
    ))
}

/// Who this is, for people and for itself: the same after a crash, so that the next start need not
/// wait, and another one for a copy of the data directory, on this machine or a second one.
fn holder(directory: &File) -> anyhow::Result<String> {
    let kernel = |name: &str| text(&Path::new("/proc/sys/kernel").join(name));
    let (host, boot) = (kernel("hostname")?, kernel("random/boot_id")?);
    let found = directory.metadata()?;
    let (device, file) = (found.dev(), found.ino());
    let (host, boot) = (host.trim(), boot.trim());
    Ok(format!(
        "server on {host}, boot {boot}, file {device}:{file}"
    ))
}

/// Makes the file, and holds a lock on it as long as it is open.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let file = options.open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("{} is in use by another process", path.display())
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// The file of the store.
fn file(config: &Config) -> PathBuf {
    config.data_file(FILE)
}
