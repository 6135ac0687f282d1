//! Which keys are in use, and writing again what is sealed with an old one or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::envelope::{KeyId, SealFault, key_id};
use super::sealed::SealedStore;
use crate::{Entry, Error, Range, Txn, TxnOutcome};

/// How many entries are read at once.
const PAGE: usize = 500;

/// How many values are written at the same time. Each is a transaction of its own, as a watch that
/// is cut off must be able to go on between any two of them.
const AT_ONCE: usize = 16;

/// How many keys of entries are told by name.
const TOLD: usize = 10;

/// With what the secrets in a store are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many values each key has sealed.
    pub by_key: BTreeMap<KeyId, u64>,
    /// The same of keys that are not in the ring.
    pub missing: BTreeMap<KeyId, u64>,
    /// How many values are in the clear.
    pub clear: u64,
    /// The first few keys of entries that are sealed with one of those.
    pub unknown: Vec<String>,
}

/// What [`SealedStore::reseal`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many values were written again.
    pub written: u64,
    /// The keys of entries that could not be opened, and were left.
    pub unreadable: Vec<String>,
}

impl Survey {
    /// How many values a key has sealed.
    #[must_use]
    pub fn sealed_with(&self, id: KeyId) -> u64 {
        self.by_key.get(&id).copied().unwrap_or_default()
    }

    fn all(&self) -> u64 {
        let sealed = self.by_key.values().chain(self.missing.values());
        self.clear + sealed.sum::<u64>()
    }
}

impl SealedStore {
    /// Looks at all values under the prefixes without opening them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn survey(&self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        for prefix in &self.seal.prefixes {
            let mut range = first_page(prefix);
            while let Some(entries) = self.page(&mut range).await? {
                for entry in &entries {
                    let Some(id) = key_id(&entry.value) else {
                        survey.clear += 1;
                        continue;
                    };
                    let known = self.seal.ring.has(id);
                    let counts = match known {
                        true => &mut survey.by_key,
                        false => &mut survey.missing,
                    };
                    *counts.entry(id).or_default() += 1;
                    if !known && survey.unknown.len() < TOLD {
                        survey.unknown.push(name(entry));
                    }
                }
            }
        }
        Ok(survey)
    }

    /// Writes every value again that is in the clear or sealed with another key than the one that
    /// seals now. `progress` is told how many of how many are done. May be stopped and begun again
    /// at any moment; values that do not open are left as they are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reseal(&self, mut progress: impl FnMut(u64, u64)) -> Result<Resealed, Error> {
        let mut resealed = Resealed::default();
        let survey = self.survey().await?;
        let good = |id| survey.sealed_with(id);
        let mut todo = survey.all() - self.seal.ring.sealing().map_or(0, good);
        if todo == 0 {
            return Ok(resealed);
        }
        for prefix in &self.seal.prefixes {
            let mut range = first_page(prefix);
            while let Some(entries) = self.page(&mut range).await? {
                let old = entries.into_iter().filter(|entry| self.is_old(entry));
                let written = stream::iter(old.map(|entry| self.reseal_one(entry)));
                let mut written = written.buffer_unordered(AT_ONCE);
                while let Some(unreadable) = written.try_next().await? {
                    match unreadable {
                        None => resealed.written += 1,
                        Some(name) => resealed.unreadable.push(name),
                    }
                    let done = resealed.written + resealed.unreadable.len() as u64;
                    // Others may have written in the clear, or under the old key, meanwhile.
                    todo = todo.max(done);
                    progress(done, todo);
                }
            }
        }
        Ok(resealed)
    }

    /// Deletes every value that does not open. Returns the keys of their entries.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn discard_unreadable(&self) -> Result<Vec<String>, Error> {
        let mut discarded = Vec::new();
        for prefix in &self.seal.prefixes {
            let mut range = first_page(prefix);
            while let Some(entries) = self.page(&mut range).await? {
                for entry in entries {
                    if !matches!(self.seal.open(&entry), Some(Err(_))) {
                        continue;
                    }
                    let txn = Txn::delete_if(entry.key.clone(), entry.modified);
                    // A conflict: somebody has written it again, or it is gone.
                    if let TxnOutcome::Applied(_) = self.inner.txn(txn).await? {
                        discarded.push(name(&entry));
                    }
                }
            }
        }
        Ok(discarded)
    }

    /// The entries that do not open, by their keys and why.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unreadable(&self) -> Result<Vec<(String, SealFault)>, Error> {
        let mut unreadable = Vec::new();
        for prefix in &self.seal.prefixes {
            let mut range = first_page(prefix);
            while let Some(entries) = self.page(&mut range).await? {
                for entry in entries {
                    if let Some(Err(fault)) = self.seal.open(&entry) {
                        unreadable.push((name(&entry), fault));
                    }
                }
            }
        }
        Ok(unreadable)
    }

    /// The next entries of a range, sealed as they are; `None` after the last.
    async fn page(&self, range: &mut Range) -> Result<Option<Vec<Arc<Entry>>>, Error> {
        // As it is now, not at one revision: what is written meanwhile is sealed with the new key.
        let page = self.inner.range(range.clone()).await?;
        let Some(last) = page.entries.last() else {
            return Ok(None);
        };
        range.after = Some(last.key.clone());
        Ok(Some(page.entries))
    }

    fn is_old(&self, entry: &Entry) -> bool {
        let sealed_with = key_id(&entry.value);
        sealed_with.is_none() || sealed_with != self.seal.ring.sealing()
    }

    /// Writes a value again, unless somebody else does. Returns its key if it does not open.
    async fn reseal_one(&self, mut entry: Arc<Entry>) -> Result<Option<String>, Error> {
        loop {
            let value = match self.seal.open(&entry) {
                None => entry.value.clone(),
                Some(Ok(value)) => value,
                Some(Err(_)) => return Ok(Some(name(&entry))),
            };
            let key = entry.key.clone();
            let sealed = self.seal.ring.seal(&key, &value);
            let txn = Txn::put_if(key, entry.modified, sealed);
            let found = match self.inner.txn(txn).await? {
                TxnOutcome::Applied(_) => return Ok(None),
                TxnOutcome::Conflict(found) => found.into_iter().next().flatten(),
            };
            match found {
                Some(found) if self.is_old(&found) => entry = found,
                _ => return Ok(None),
            }
        }
    }
}

fn first_page(prefix: &bytes::Bytes) -> Range {
    Range {
        limit: Some(PAGE),
        ..Range::prefix(prefix.clone())
    }
}

fn name(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.key).into_owned()
}
