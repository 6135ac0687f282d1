//! The store's own record in etcd: its format, and what is added to etcd's revisions.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;

use super::connection::Agreement;
use super::rpc::{
    self, Compare, DeleteRangeRequest, PutRequest, RangeRequest, Request, TxnRequest, TxnResponse,
};
use super::{EtcdStore, plain_error};
use crate::backup::{REVISION_GAP, Reader, Summary};
use crate::{Error, MAX_TXN_BYTES, MAX_TXN_ITEMS, Op, OpenError, Store, Txn};

/// Raised when what is under the prefix changes its meaning.
const FORMAT: u64 = 1;
/// In place of the format while a backup is being put in: such a store is not to be used.
const UNFINISHED: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    format: u64,
    base: u64,
}

impl Record {
    /// Text, so that a person with `etcdctl` sees what it is.
    fn to_text(self) -> String {
        format!("format {} base {}", self.format, self.base)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let words: Vec<_> = std::str::from_utf8(text).ok()?.split(' ').collect();
        match words[..] {
            ["format", format, "base", base, ..] => Some(Self {
                format: format.parse().ok()?,
                base: base.parse().ok()?,
            }),
            _ => None,
        }
    }
}

impl EtcdStore {
    pub(super) fn record_key(&self) -> Bytes {
        Bytes::from(format!("{}/meta", self.prefix))
    }

    /// The base in the record, which is made if there is none.
    pub(super) async fn read_record(&self) -> Result<u64, OpenError> {
        if self.record().await?.is_none() {
            let new = Record {
                format: FORMAT,
                base: 0,
            };
            // Another process may make it at the same time; one of them wins.
            let none_yet = Compare::modified(self.record_key(), 0);
            self.ask(vec![none_yet], vec![self.put_record(new)]).await?;
        }
        match self.record().await? {
            Some(Record { format, base }) if format == FORMAT => Ok(base),
            record => Err(OpenError::Format {
                path: PathBuf::from(&self.prefix),
                found: record.map_or(UNFINISHED, |record| record.format),
                expected: FORMAT,
            }),
        }
    }

    /// Replaces what is under the prefix by a backup.
    pub(super) async fn restore_record(
        &mut self,
        mut backup: Reader<impl Read>,
        overwrite: bool,
    ) -> Result<Summary, OpenError> {
        let (begin, end) = self.space.range(b"", None);
        let count = RangeRequest {
            key: begin.clone(),
            range_end: end.clone(),
            count_only: true,
            ..RangeRequest::default()
        };
        let count = self.read_now(count).await?;
        if count.count > 0 && !overwrite {
            return Err(OpenError::Exists(PathBuf::from(&self.prefix)));
        }
        let old_base = self.record().await?.map_or(0, |record| record.base);
        let reached = old_base + rpc::revision(count.header.as_ref()).unsigned_abs();
        let wanted = backup.revision().0 + REVISION_GAP;
        // A base that is raised must rise above all revisions that were given out with the old
        // one, so that those are known to be old.
        self.space.base = if reached < wanted { wanted } else { old_base };
        let record = |format| Record {
            format,
            base: self.space.base,
        };
        let clear = Request::DeleteRange(DeleteRangeRequest {
            key: begin,
            range_end: end,
        });
        let unfinished = self.put_record(record(UNFINISHED));
        self.ask(Vec::new(), vec![unfinished, clear]).await?;
        let mut txn = Txn::default();
        let mut entries = 0;
        while let Some(entry) = backup.next_entry()? {
            entries += 1;
            txn.ops.push(Op::Put {
                key: entry.key,
                value: entry.value,
            });
            if txn.ops.len() > MAX_TXN_ITEMS || txn.bytes() > MAX_TXN_BYTES {
                let last = txn.ops.pop();
                self.write(std::mem::take(&mut txn)).await?;
                txn.ops.extend(last);
            }
        }
        self.write(txn).await?;
        self.ask(Vec::new(), vec![self.put_record(record(FORMAT))])
            .await?;
        Ok(Summary {
            revision: self.revision().await?,
            entries,
        })
    }

    async fn record(&self) -> Result<Option<Record>, Error> {
        let request = RangeRequest {
            key: self.record_key(),
            ..RangeRequest::default()
        };
        let found = self.read_range(&request, Agreement::Majority).await;
        let found = found.map_err(plain_error)?;
        let unreadable = Record {
            format: UNFINISHED,
            base: 0,
        };
        let record = found.kvs.first();
        Ok(record.map(|kv| Record::parse(&kv.value).unwrap_or(unreadable)))
    }

    fn put_record(&self, record: Record) -> Request {
        Request::Put(PutRequest {
            key: self.record_key(),
            value: record.to_text().into(),
            lease: 0,
        })
    }

    async fn ask(&self, compare: Vec<Compare>, success: Vec<Request>) -> Result<(), Error> {
        let request = TxnRequest {
            compare,
            success: success.into_iter().map(Into::into).collect(),
            failure: Vec::new(),
        };
        let answer: Result<TxnResponse, _> = self.connection.write(rpc::TXN, &request).await;
        answer.map(drop).map_err(plain_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let record = Record {
            format: 1,
            base: 1_000_000_007,
        };
        assert_eq!(record.to_text(), "format 1 base 1000000007");
        assert_eq!(Record::parse(record.to_text().as_bytes()), Some(record));
        assert_eq!(Record::parse(b"something else"), None);
    }
}
