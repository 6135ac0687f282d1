//! The keys that seal secrets in the store: where they are, and that the right ones are there before
//! anything is served.

mod commands;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use store::{KeyRing, SealedStore, Store, Survey};
use tokio::sync::Notify;

pub use commands::{KeysCommand, ask_or_run, run};

use crate::config::Config;
use crate::management;

/// The key ring in the data directory.
const KEYS: &str = "encryption.keys";

/// How long to wait before secrets are sealed again after that failed.
const RETRY: Duration = Duration::from_secs(5);

/// The store with its secrets in the clear, and what keeps them sealed beneath.
#[derive(Clone, Debug)]
pub struct Encryption {
    store: SealedStore,
    /// Something may be left that is not sealed with the newest key.
    again: Arc<Notify>,
}

impl Encryption {
    /// Reads the key ring, or makes it if nothing is sealed yet, and looks whether it has all keys
    /// that are in use.
    ///
    /// # Errors
    /// When it has not, or cannot be read or made.
    pub async fn open(
        config: &Config,
        store: Arc<dyn Store>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let mut found = Self::open_as_it_is(config, Arc::clone(&store))?;
        let ring = found.store.ring();
        refuse_missing(&found.store.survey().await?, ring.path())?;
        if ring.keys().is_empty() {
            let made = KeyRing::create(ring.path(), &second(now));
            made.context("secrets cannot be encrypted without a key")?;
            found = Self::open_as_it_is(config, store)?;
        }
        found.again.notify_one();
        Ok(found)
    }

    /// The same, without a look whether keys are missing. Only for those who write nothing.
    pub(crate) fn open_as_it_is(config: &Config, store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let store = SealedStore::new(store, ring(config)?, management::secret_prefixes());
        Ok(Self {
            store,
            again: Arc::default(),
        })
    }

    /// The store for who may read secrets.
    #[must_use]
    pub fn store(&self) -> &SealedStore {
        &self.store
    }

    /// Seals what is in the clear or sealed with an old key, now and whenever a change of keys was
    /// not finished; for ever, to be dropped.
    pub async fn keep(self) {
        loop {
            self.again.notified().await;
            loop {
                match self.store.reseal(|_, _| {}).await {
                    Ok(resealed) => {
                        if resealed.written > 0 {
                            let secrets = resealed.written;
                            tracing::info!(secrets, "sealed with the newest key");
                        }
                        break;
                    }
                    Err(error) => tracing::warn!(%error, "secrets cannot be sealed again yet"),
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Refuses a backup that this server could not read after it is restored.
///
/// # Errors
/// When the key ring cannot be read or does not have a key that an entry was sealed with.
pub fn check_backup(
    config: &Config,
    mut backup: store::backup::Reader<impl std::io::Read>,
) -> anyhow::Result<()> {
    let ring = ring(config)?;
    while let Some(entry) = backup.next_entry()? {
        if let Some(id) = ring.lacks(&entry.value) {
            bail!(
                "it is sealed with key {id}, which is not in the key ring {path}; add the line of \
                 that key to the file, from the copy of the key ring that was kept beside the \
                 backup",
                path = ring.path().display(),
            );
        }
    }
    Ok(())
}

/// The key ring; an empty one if the file is not there.
fn ring(config: &Config) -> anyhow::Result<KeyRing> {
    let path = match &config.encryption_keys {
        Some(path) => path.clone(),
        None => config.data_file(KEYS),
    };
    Ok(match path.try_exists()? {
        true => KeyRing::read(&path)?,
        false => KeyRing::empty(&path),
    })
}

fn refuse_missing(survey: &Survey, path: &Path) -> anyhow::Result<()> {
    if survey.missing.is_empty() {
        return Ok(());
    }
    let keys = survey.missing.iter().map(|(id, count)| {
        let plural = if *count == 1 { "value" } else { "values" };
        format!("key {id} ({count} {plural})")
    });
    bail!(
        "the store holds secrets that are sealed with {keys}, which the key ring {path} does not \
         have; among them {names}. Put the key ring back, or add the line of the missing key from \
         its copy. If the key is lost for ever, `lariat-server keys discard --yes` deletes what it \
         sealed",
        keys = keys.collect::<Vec<_>>().join(" and "),
        path = path.display(),
        names = survey.unknown.join(", "),
    )
}

/// A time as the key ring has it.
fn second(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
