//! Writers that remember what was acknowledged, and watchers that remember what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use store::{Change, Entry, Error, Range, Revision, Store, Txn, TxnOutcome, Watch, WatchError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Under which keys the load writes.
const PREFIX: &str = "load/";
/// How long a store may be without a majority before that is a failure.
const OUTAGE: Duration = Duration::from_secs(60);

/// What the writers have been told.
#[derive(Debug, Default)]
pub struct Written {
    /// How many writes were acknowledged.
    pub acknowledged: u64,
    /// How many had an unknown end.
    pub unknown: u64,
    /// How many of those turned out to be written.
    pub unknown_written: u64,
    /// The revision of each write, by key and number.
    revisions: BTreeMap<(String, u64), Revision>,
}

/// What one watcher was told.
#[derive(Debug, Default)]
pub struct Watched {
    /// How many changes.
    pub changes: u64,
    /// How often it was cut off and watched again.
    pub cut_off: u64,
    revisions: BTreeMap<(String, u64), Revision>,
    seen: Revision,
}

/// Load on a store.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Result<Written>>>,
    watchers: Vec<JoinHandle<Result<Watched>>>,
}

impl Load {
    /// Starts writers on `stores`, in turn, and a watcher on each.
    ///
    /// # Errors
    /// When a watch cannot be begun.
    pub async fn start(stores: &[Arc<dyn Store>], writers: usize) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let mut watchers = Vec::new();
        for store in stores {
            let from = store.revision().await?;
            let watch = store.watch(PREFIX.as_bytes(), from).await?;
            watchers.push(tokio::spawn(follow(
                Arc::clone(store),
                watch,
                from,
                Arc::clone(&done),
            )));
        }
        let writers = (0..writers).map(|number| {
            let store = Arc::clone(&stores[number % stores.len()]);
            let key = format!("{PREFIX}{number}");
            tokio::spawn(write(store, key, Arc::clone(&stop)))
        });
        Ok(Self {
            writers: writers.collect(),
            watchers,
            stop,
            done,
        })
    }

    /// Stops it and compares: every acknowledged write is in the store and was told to every
    /// watcher, once, in order. Says what was found.
    ///
    /// # Errors
    /// When something is lost, repeated, or out of order.
    pub async fn finish(self, store: &dyn Store) -> Result<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for writer in self.writers {
            let written = timeout(OUTAGE, writer)
                .await
                .context("a writer hangs")???;
            all.acknowledged += written.acknowledged;
            all.unknown_written += written.unknown_written;
            all.unknown += written.unknown;
            all.revisions.extend(written.revisions);
        }
        let last = all
            .revisions
            .values()
            .max()
            .context("nothing was written")?;
        self.done.store(last.0, Ordering::Relaxed);
        check_entries(store, &all).await?;
        let (mut cut_off, watchers) = (0, self.watchers.len());
        for watcher in self.watchers {
            let watched = timeout(OUTAGE, watcher)
                .await
                .context("a watcher waits in vain")???;
            cut_off += watched.cut_off;
            ensure!(
                watched.revisions == all.revisions,
                "a watcher was told of {} writes, {} were made",
                watched.revisions.len(),
                all.revisions.len()
            );
        }
        Ok(format!(
            "{} acknowledged writes, none lost; {} with an unknown end, of which {} were written; \
             {watchers} watchers were told of each once and in order ({cut_off} times cut off)",
            all.acknowledged, all.unknown, all.unknown_written,
        ))
    }
}

async fn check_entries(store: &dyn Store, all: &Written) -> Result<()> {
    let page = store.range(Range::prefix(PREFIX)).await?;
    let found: BTreeMap<_, _> = (page.entries.iter())
        .map(|entry| Ok(((key_of(&entry.key), number_of(entry)?), entry.modified)))
        .collect::<Result<_>>()?;
    let mut last: BTreeMap<&String, (&(String, u64), &Revision)> = BTreeMap::new();
    for write in &all.revisions {
        last.insert(&write.0.0, write);
    }
    let expected: BTreeMap<_, _> = (last.into_values())
        .map(|(write, revision)| (write.clone(), *revision))
        .collect();
    ensure!(
        found == expected,
        "the store holds {found:?}, expected is {expected:?}"
    );
    Ok(())
}

/// Counts up in one key, each number on the condition that the one before is there. A write with
/// an unknown end is tried again as it is: if it was written after all, the condition fails.
async fn write(store: Arc<dyn Store>, key: String, stop: Arc<AtomicBool>) -> Result<Written> {
    let mut written = Written::default();
    let (mut number, mut modified) = (1, Revision::ZERO);
    let mut unknown_since = None;
    while unknown_since.is_some() || !stop.load(Ordering::Relaxed) {
        match store
            .txn(Txn::put_if(key.clone(), modified, number.to_string()))
            .await
        {
            Ok(TxnOutcome::Applied(revision)) => {
                written.acknowledged += 1;
                modified = revision;
            }
            Ok(TxnOutcome::Conflict(found)) => match found.into_iter().next().flatten() {
                Some(entry) if unknown_since.is_some() && number_of(&entry)? == number => {
                    written.unknown_written += 1;
                    modified = entry.modified;
                }
                found => bail!("{key}: {} is lost, there is {found:?}", number - 1),
            },
            Err(Error::Unavailable) => {
                written.unknown += 1;
                let since = *unknown_since.get_or_insert_with(Instant::now);
                ensure!(
                    since.elapsed() < OUTAGE,
                    "{key}: cannot be written for a minute"
                );
                sleep(Duration::from_millis(20)).await;
                continue;
            }
            Err(error) => return Err(error).context(format!("{key}: write {number}")),
        }
        unknown_since = None;
        written.revisions.insert((key.clone(), number), modified);
        number += 1;
    }
    Ok(written)
}

async fn follow(
    store: Arc<dyn Store>,
    mut watch: Watch,
    from: Revision,
    done: Arc<AtomicU64>,
) -> Result<Watched> {
    let mut watched = Watched {
        seen: from,
        ..Watched::default()
    };
    loop {
        let end = done.load(Ordering::Relaxed);
        if end > 0 && watched.seen.0 >= end {
            return Ok(watched);
        }
        // Looks up now and then, because the end is said only after the last change.
        let Ok(next) = timeout(Duration::from_secs(1), watch.next()).await else {
            continue;
        };
        match next.context("a watch ended without an error")? {
            Ok(changes) => {
                ensure!(
                    changes.revision > watched.seen,
                    "{} came twice",
                    changes.revision
                );
                watched.seen = changes.revision;
                for change in &changes.changes {
                    watched.note(change)?;
                }
            }
            Err(WatchError::Lagged) => {
                watched.cut_off += 1;
                watch = store.watch(PREFIX.as_bytes(), watched.seen).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Watched {
    fn note(&mut self, change: &Change) -> Result<()> {
        let entry = change.current.as_ref().context("nothing was deleted")?;
        let (key, number) = (key_of(&change.key), number_of(entry)?);
        let before = change.previous.as_deref().map_or(Ok(0), number_of)?;
        ensure!(before + 1 == number, "{key}: {number} follows {before}");
        self.changes += 1;
        let again = self
            .revisions
            .insert((key.clone(), number), change.revision);
        ensure!(again.is_none(), "{key}: {number} came twice");
        Ok(())
    }
}

fn key_of(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn number_of(entry: &Entry) -> Result<u64> {
    Ok(std::str::from_utf8(&entry.value)?.parse()?)
}
