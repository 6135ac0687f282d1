//! How keys and revisions of the store are written in etcd.

use std::sync::Arc;

use bytes::Bytes;

use super::rpc::KeyValue;
use crate::{Entry, Error, Revision};

/// The place of one store in an etcd that others may use too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// What stands before every key.
    data: Bytes,
    /// What is added to etcd's revisions.
    pub(super) base: u64,
}

impl Space {
    /// The space under a prefix. The keys are under `PREFIX/data/`; beside them is only the record
    /// of the [`record`](super::record).
    pub(super) fn new(prefix: &str, base: u64) -> Self {
        Self {
            data: Bytes::from(format!("{prefix}/data/")),
            base,
        }
    }

    pub(super) fn key(&self, key: &[u8]) -> Bytes {
        [&self.data, key].concat().into()
    }

    /// The keys that start with `prefix`, from the first one after `after`: as etcd wants it,
    /// begin and end.
    pub(super) fn range(&self, prefix: &[u8], after: Option<&[u8]>) -> (Bytes, Bytes) {
        let begin = match after {
            // The very next key there can be.
            Some(after) if after >= prefix => [&self.data, after, b"\0"].concat().into(),
            _ => self.key(prefix),
        };
        (begin, end_of(&self.key(prefix)))
    }

    /// The revision that etcd has for one of the store.
    ///
    /// # Errors
    /// When it was taken before the store came into this etcd.
    pub(super) fn to_etcd(&self, revision: Revision) -> Result<i64, Error> {
        let Some(own) = revision.0.checked_sub(self.base) else {
            return Err(Error::Compacted {
                requested: revision,
                compacted: Revision(self.base),
            });
        };
        // 0 would mean now. An etcd begins at revision 1, at which nothing is written.
        Ok(i64::try_from(own).unwrap_or(i64::MAX).max(1))
    }

    /// The revision to compare a key with; a revision that no key here can have stays one.
    pub(super) fn to_compare(&self, revision: Revision) -> i64 {
        const NEVER: i64 = -1;
        match revision {
            Revision::ZERO => 0,
            revision if revision.0 <= self.base => NEVER,
            revision => i64::try_from(revision.0 - self.base).unwrap_or(NEVER),
        }
    }

    pub(super) fn revision(&self, etcd: i64) -> Revision {
        Revision(self.base.saturating_add(etcd.unsigned_abs()))
    }

    /// The key as the store has it. A key outside the space cannot come: it was not asked for.
    pub(super) fn strip(&self, key: &Bytes) -> Bytes {
        key.slice(self.data.len().min(key.len())..)
    }

    /// Copied: as slices of an answer they would keep all of it in memory as long as one of them lives.
    pub(super) fn entry(&self, found: &KeyValue) -> Arc<Entry> {
        let key = self.strip(&found.key);
        let both = Bytes::from([&key[..], &found.value[..]].concat());
        Arc::new(Entry {
            key: both.slice(..key.len()),
            value: both.slice(key.len()..),
            created: self.revision(found.create_revision),
            modified: self.revision(found.mod_revision),
            version: found.version.unsigned_abs(),
        })
    }
}

/// The first key after all that start with `prefix`.
fn end_of(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX);
    // The key begins with the text of the space, so there is such a byte.
    let kept = kept.map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space::new("/lariat", 1000)
    }

    #[test]
    fn a_range_ends_before_the_next_prefix() {
        let (begin, end) = space().range(b"a/", None);
        assert_eq!(
            (&begin[..], &end[..]),
            (&b"/lariat/data/a/"[..], &b"/lariat/data/a0"[..])
        );
        let (_, end) = space().range(b"a\xff\xff", None);
        assert_eq!(end, "/lariat/data/b");
        let (_, end) = space().range(b"", None);
        assert_eq!(end, "/lariat/data0");
    }

    #[test]
    fn a_page_begins_after_the_last_key_and_never_before_its_prefix() {
        let (begin, _) = space().range(b"b/", Some(b"b/1"));
        assert_eq!(begin, "/lariat/data/b/1\0");
        let (begin, _) = space().range(b"b/", Some(b"a"));
        assert_eq!(begin, "/lariat/data/b/");
    }

    #[test]
    fn a_revision_from_before_the_base_is_compacted_and_equals_no_key() {
        assert!(matches!(
            space().to_etcd(Revision(999)),
            Err(Error::Compacted { .. })
        ));
        assert_eq!(space().to_etcd(Revision(1000)).ok(), Some(1));
        assert_eq!(space().to_etcd(Revision(1007)).ok(), Some(7));
        assert_eq!(space().to_compare(Revision(1000)), -1);
        assert_eq!(space().to_compare(Revision(1)), -1);
        assert_eq!(space().to_compare(Revision(1007)), 7);
        assert_eq!(space().to_compare(Revision::ZERO), 0);
        assert_eq!(space().revision(7), Revision(1007));
    }
}
