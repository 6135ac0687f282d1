//! The store as those see it who may read its secrets.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::envelope::SealFault;
use super::ring::KeyRing;
use crate::{
    Change, Changes, Entry, Error, Op, Page, Range, Revision, Store, Txn, TxnOutcome, Watch,
};

/// A [`Store`] over another one, with values sealed under some prefixes.
///
/// A value that does not open harms no other: [`Store::get`] fails and names its key, ranges and
/// watches yield it sealed ([`super::is_sealed`]) and log an error.
#[derive(Clone, Debug)]
pub struct SealedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) seal: Arc<Seal>,
}

/// What is sealed, and with which keys.
#[derive(Debug)]
pub(super) struct Seal {
    pub(super) ring: KeyRing,
    pub(super) prefixes: Vec<Bytes>,
}

impl SealedStore {
    /// Seals what is put under any of these prefixes.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, ring: KeyRing, prefixes: Vec<Bytes>) -> Self {
        let seal = Arc::new(Seal { ring, prefixes });
        Self { inner, seal }
    }

    /// The store beneath, where values are sealed.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// The keys.
    #[must_use]
    pub fn ring(&self) -> &KeyRing {
        &self.seal.ring
    }

    /// Whether values under a key are sealed.
    #[must_use]
    pub fn seals(&self, key: &[u8]) -> bool {
        self.seal.covers(key)
    }
}

impl Seal {
    fn covers(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Whether anything that begins with `prefix` may be sealed.
    fn touches(&self, prefix: &[u8]) -> bool {
        let touches = |sealed: &Bytes| sealed.starts_with(prefix) || prefix.starts_with(sealed);
        self.prefixes.iter().any(touches)
    }

    /// The value of an entry in the clear; `None` if it is that already.
    pub(super) fn open(&self, entry: &Entry) -> Option<Result<Bytes, SealFault>> {
        if !self.covers(&entry.key) {
            return None;
        }
        self.ring.open(&entry.key, &entry.value)
    }

    /// An entry in the clear, or as it is if it does not open.
    fn opened(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        match self.open(entry) {
            None => Arc::clone(entry),
            Some(Ok(value)) => Arc::new(Entry {
                value,
                ..Entry::clone(entry)
            }),
            Some(Err(fault)) => {
                let key = String::from_utf8_lossy(&entry.key);
                tracing::error!(%key, %fault, "a secret in the store cannot be opened");
                Arc::clone(entry)
            }
        }
    }

    fn opened_change(&self, change: &Arc<Change>) -> Arc<Change> {
        if !self.covers(&change.key) {
            return Arc::clone(change);
        }
        Arc::new(Change {
            key: change.key.clone(),
            revision: change.revision,
            current: change.current.as_ref().map(|entry| self.opened(entry)),
            previous: change.previous.as_ref().map(|entry| self.opened(entry)),
        })
    }

    fn opened_changes(&self, mut changes: Changes) -> Changes {
        for change in &mut changes.changes {
            *change = self.opened_change(change);
        }
        changes
    }

    fn sealed(&self, mut txn: Txn) -> Txn {
        for op in &mut txn.ops {
            if let Op::Put { key, value } = op
                && self.covers(key)
            {
                *value = self.ring.seal(key, value);
            }
        }
        txn
    }
}

impl Store for SealedStore {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.revision()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        if !self.seal.covers(key) {
            return self.inner.get(key);
        }
        async move {
            let Some(mut entry) = self.inner.get(key).await? else {
                return Ok(None);
            };
            match self.seal.open(&entry) {
                None => {}
                Some(Ok(value)) => entry.value = value,
                Some(Err(fault)) => {
                    let key = String::from_utf8_lossy(key).into();
                    return Err(Error::Sealed { key, fault });
                }
            }
            Ok(Some(entry))
        }
        .boxed()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        if !self.seal.touches(&range.prefix) {
            return self.inner.range(range);
        }
        async move {
            let mut page = self.inner.range(range).await?;
            for entry in &mut page.entries {
                if self.seal.covers(&entry.key) {
                    *entry = self.seal.opened(entry);
                }
            }
            Ok(page)
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        async move {
            match self.inner.txn(self.seal.sealed(txn)).await? {
                TxnOutcome::Conflict(entries) => {
                    let opened = |entry: Arc<Entry>| self.seal.opened(&entry);
                    let entries = entries.into_iter().map(|entry| entry.map(opened));
                    Ok(TxnOutcome::Conflict(entries.collect()))
                }
                applied => Ok(applied),
            }
        }
        .boxed()
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        if !self.seal.touches(prefix) {
            return self.inner.watch(prefix, after);
        }
        async move {
            let seal = Arc::clone(&self.seal);
            let watch = self.inner.watch(prefix, after).await?;
            Ok(watch.mapped(Arc::new(move |changes| seal.opened_changes(changes))))
        }
        .boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.compact(revision)
    }
}
