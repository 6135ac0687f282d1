//! Following what is under a prefix for ever, whatever becomes of the store meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::{Changes, Entry, Error, Range, Revision, Store, Watch, WatchError};

/// Entries that are read at once.
const PAGE: usize = 10_000;

/// How long to wait before the store is asked again after it failed: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Everything under a prefix, and then its changes. It ends only with the store: an etcd that is away
/// is asked until it is back, and what cannot be caught up with is read again.
#[derive(Debug)]
pub struct Follow {
    store: Arc<dyn Store>,
    prefix: Bytes,
    /// What is read of it: all, unless somebody wants less.
    read: Vec<Bytes>,
    /// Everything up to here was told; `None`: nothing was.
    seen: Option<Revision>,
    watch: Option<Watch>,
    /// The store failed, and is not to be asked before that moment.
    resting: Option<Instant>,
    retry: Duration,
}

/// What there is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Everything, as it is at a revision, in place of what was known before.
    All(Vec<Arc<Entry>>, Revision),
    /// What has changed; nothing, if only the revision went on.
    Changes(Changes),
}

impl Follow {
    /// Begins with everything.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        Self {
            store,
            read: vec![prefix.clone()],
            prefix,
            seen: None,
            watch: None,
            resting: None,
            retry: RETRY.0,
        }
    }

    /// Begins with what changes after a revision, for who [has read](read_all) what was then.
    #[must_use]
    pub fn after(store: Arc<dyn Store>, prefix: impl Into<Bytes>, revision: Revision) -> Self {
        Self {
            seen: Some(revision),
            ..Self::new(store, prefix)
        }
    }

    /// When everything is told, then only of these prefixes. Changes of all are told nevertheless.
    #[must_use]
    pub fn reading(self, prefixes: Vec<Bytes>) -> Self {
        Self {
            read: prefixes,
            ..self
        }
    }

    /// What is next to know; `None` when the store has stopped for good. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            if let Some(until) = self.resting {
                sleep_until(until).await;
                self.resting = None;
            }
            let Some(seen) = self.seen else {
                match read_all(&*self.store, &self.read).await {
                    Ok((entries, revision)) => {
                        self.seen = Some(revision);
                        self.retry = RETRY.0;
                        return Some(Followed::All(entries, revision));
                    }
                    Err(error) => self.rest(&error),
                }
                continue;
            };
            let Some(watch) = &mut self.watch else {
                match self.store.watch(&self.prefix, seen).await {
                    Ok(watch) => self.watch = Some(watch.with_progress()),
                    // What happened meanwhile is no longer kept, or the store is an older one now.
                    Err(Error::Compacted { .. } | Error::FutureRevision { .. }) => self.seen = None,
                    Err(error) => self.rest(&error),
                }
                continue;
            };
            match watch.next().await {
                Some(Ok(changes)) => {
                    self.seen = Some(changes.revision);
                    self.retry = RETRY.0;
                    return Some(Followed::Changes(changes));
                }
                Some(Err(WatchError::Lagged)) => self.watch = None,
                Some(Err(WatchError::Stopped)) | None => return None,
            }
        }
    }

    fn rest(&mut self, error: &Error) {
        let prefix = String::from_utf8_lossy(&self.prefix);
        tracing::warn!(%error, %prefix, "the store cannot be followed; trying again");
        self.resting = Some(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }
}

/// Everything under some prefixes, as it was at one revision.
///
/// # Errors
/// When the store cannot be read.
pub async fn read_all(
    store: &dyn Store,
    prefixes: &[Bytes],
) -> Result<(Vec<Arc<Entry>>, Revision), Error> {
    let mut entries = Vec::new();
    let revision = read_pages(store, prefixes, |page| entries.extend(page)).await?;
    Ok((entries, revision))
}

/// The same page by page, for who need not have all of it in memory.
///
/// # Errors
/// When the store cannot be read. Some pages may have been told by then.
pub async fn read_pages(
    store: &dyn Store,
    prefixes: &[Bytes],
    mut tell: impl FnMut(Vec<Arc<Entry>>) + Send,
) -> Result<Revision, Error> {
    let mut revision = None;
    for prefix in prefixes {
        let mut range = Range {
            limit: Some(PAGE),
            ..Range::prefix(prefix.clone())
        };
        loop {
            range.revision = revision;
            let page = store.range(range.clone()).await?;
            range.after = page.entries.last().map(|entry| entry.key.clone());
            revision = Some(page.revision);
            tell(page.entries);
            if page.remaining == 0 {
                break;
            }
        }
    }
    Ok(revision.unwrap_or_default())
}
