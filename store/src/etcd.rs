//! The store in an etcd, for several server processes at once.
//!
//! Every key stands under a prefix ([`space`]); requests go to one member until it fails
//! ([`connection`]); each watch has a task of its own that opens its stream again where it ended
//! ([`follow`]). The messages are written down in [`rpc`]: the ready-made clients need `protoc`
//! on every machine that builds, and leave resuming a watch to who uses them.
//!
//! A revision is etcd's own plus a base from the store's record ([`record`]), so that revisions
//! go on rising when a store moves here from somewhere else. Others who use the same etcd take
//! revisions too; the store then has gaps in its count and is otherwise not touched.

mod claim;
mod connection;
mod follow;
mod options;
mod record;
mod rpc;
mod space;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

pub use claim::{Claim, ClaimError};
pub use options::{EtcdLogin, EtcdOptions, EtcdTls, OptionsError};

use crate::backup::{Reader, Summary};
use crate::{Entry, Error, Op, OpenError, Page, Range, Revision, Store, Txn, TxnOutcome, Watch};
use connection::{Agreement, Connection, Failure};
use rpc::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, PutRequest, RangeRequest,
    RangeResponse, Request, TxnRequest, TxnResponse,
};
use space::Space;

/// How many entries are asked for at once, so that an answer has a bound.
const PAGE: usize = 500;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

/// A [`Store`] in an etcd. Clones share its connections, which are closed with the last clone and
/// the last watch. Used inside a tokio runtime, on which each watch has a task while it is held.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    connection: Arc<Connection>,
    space: Space,
    prefix: String,
    watch_capacity: usize,
    /// The last revision that was read as that of the store, in etcd's count.
    wanted: Arc<watch::Sender<i64>>,
    /// What the claim of this process says, once it has one.
    claim: Arc<RwLock<Option<Bytes>>>,
}

impl EtcdStore {
    /// Opens the store under the prefix in the options. Makes its record if there is none.
    ///
    /// # Errors
    /// When the options make no sense, etcd cannot be reached or refuses, or the record is of
    /// another format.
    pub async fn open(options: EtcdOptions) -> Result<Self, OpenError> {
        let mut store = Self::without_record(options)?;
        store.space.base = store.read_record().await?;
        Ok(store)
    }

    /// Puts a backup into etcd, under the prefix in the options, and opens the store. It is
    /// [claimed](Self::claim) meanwhile. Revisions go on above those of the backup, by
    /// [`crate::backup::REVISION_GAP`].
    ///
    /// # Errors
    /// When there is something under the prefix and `overwrite` is not set; when somebody has
    /// claimed the store; when the backup is damaged, and then the store can be opened only after
    /// another restore; as for [`Self::open`].
    pub async fn restore(
        options: EtcdOptions,
        backup: Reader<impl std::io::Read>,
        overwrite: bool,
    ) -> Result<(Self, Summary), OpenError> {
        let mut store = Self::without_record(options)?;
        let holder = format!("a restore, process {}", std::process::id());
        let claim = store.claim(&holder).await.map_err(|error| match error {
            ClaimError::Taken(_) => OpenError::InUse(PathBuf::from(&store.prefix)),
            ClaimError::Store(error) => OpenError::Etcd(error),
        })?;
        let (restoring, restored) = oneshot::channel::<()>();
        let keeping = claim.keep(restored.map(drop));
        let restoring = async {
            let summary = store.restore_record(backup, overwrite).await;
            drop(restoring);
            summary
        };
        // Who loses the claim cannot write, and fails.
        let (summary, _) = tokio::join!(restoring, keeping);
        *store.claim.write().unwrap_or_else(PoisonError::into_inner) = None;
        Ok((store, summary?))
    }

    fn without_record(options: EtcdOptions) -> Result<Self, OpenError> {
        Ok(Self {
            connection: Arc::new(Connection::new(&options)?),
            space: Space::new(&options.prefix, 0),
            watch_capacity: options.watch_capacity,
            prefix: options.prefix,
            wanted: Arc::new(watch::Sender::new(0)),
            claim: Arc::default(),
        })
    }

    async fn read_range(
        &self,
        request: &RangeRequest,
        agreement: Agreement,
    ) -> Result<RangeResponse, Failure> {
        self.connection.read(rpc::RANGE, request, agreement).await
    }

    /// Reads at a revision: from any member that has it already, so that this also works while
    /// there is no leader.
    async fn read_at(
        &self,
        mut request: RangeRequest,
        requested: Revision,
    ) -> Result<RangeResponse, Error> {
        request.revision = self.space.to_etcd(requested)?;
        request.serializable = true;
        let mut answer = self.read_range(&request, Agreement::Member).await;
        if matches!(&answer, Err(Failure::Refused(status)) if status.message() == FUTURE) {
            request.serializable = false;
            answer = self.read_range(&request, Agreement::Majority).await;
        }
        match answer {
            Ok(answer) => Ok(answer),
            Err(failure) => Err(self.error(failure, requested).await),
        }
    }

    async fn read_now(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let answer = self.read_range(&request, Agreement::Majority).await;
        answer.map_err(plain_error)
    }

    async fn read_page(&self, range: Range) -> Result<Page, Error> {
        let limit = range.limit.unwrap_or(usize::MAX);
        let (mut key, range_end) = self.space.range(&range.prefix, range.after.as_deref());
        let mut revision = range.revision;
        let mut entries = Vec::new();
        loop {
            let wanted = PAGE.min(limit - entries.len());
            let request = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: i64::try_from(wanted).unwrap_or(i64::MAX),
                // For etcd a limit of 0 is none.
                count_only: wanted == 0,
                ..RangeRequest::default()
            };
            let answer = match revision {
                Some(revision) => self.read_at(request, revision).await?,
                None => self.read_now(request).await?,
            };
            let found = *revision.get_or_insert_with(|| self.header(answer.header.as_ref()));
            let count = usize::try_from(answer.count).unwrap_or(0);
            let remaining = count.saturating_sub(answer.kvs.len());
            entries.extend(answer.kvs.iter().map(|kv| self.space.entry(kv)));
            match answer.kvs.last() {
                Some(last) if remaining > 0 && entries.len() < limit => {
                    key = [&last.key[..], b"\0"].concat().into();
                }
                _ => {
                    return Ok(Page {
                        entries,
                        revision: found,
                        remaining,
                    });
                }
            }
        }
    }

    async fn write(&self, txn: Txn) -> Result<TxnOutcome, Error> {
        txn.check()?;
        let compared = txn.compares.iter().map(|compare| RangeRequest {
            key: self.space.key(&compare.key),
            ..RangeRequest::default()
        });
        let mut request = TxnRequest {
            compare: (txn.compares.iter())
                .map(|compare| {
                    let modified = self.space.to_compare(compare.modified);
                    Compare::modified(self.space.key(&compare.key), modified)
                })
                .collect(),
            success: txn.ops.iter().map(|op| self.operation(op).into()).collect(),
            failure: compared.map(|range| Request::Range(range).into()).collect(),
        };
        let claim = self.guard(&mut request);
        let answer: TxnResponse =
            (self.connection.write(rpc::TXN, &request).await).map_err(plain_error)?;
        if answer.succeeded {
            return Ok(TxnOutcome::Applied(self.header(answer.header.as_ref())));
        }
        let found = answer.responses.into_iter();
        let mut found = found.map(|response| response.range.unwrap_or_default().kvs);
        if let Some(claim) = claim {
            let holder = found.next_back().unwrap_or_default();
            if holder.first().is_none_or(|holder| holder.value != claim) {
                // Nothing was written. It passes when the claim is there again.
                return Err(Error::Unavailable);
            }
        }
        let found = found.map(|kvs| kvs.first().map(|kv| self.space.entry(kv)));
        Ok(TxnOutcome::Conflict(found.collect()))
    }

    fn operation(&self, op: &Op) -> Request {
        let key = self.space.key(op.key());
        match op {
            Op::Put { value, .. } => Request::Put(PutRequest {
                key,
                value: value.clone(),
                lease: 0,
            }),
            Op::Delete { .. } => Request::DeleteRange(DeleteRangeRequest {
                key,
                range_end: Bytes::new(),
            }),
        }
    }

    async fn follow(&self, prefix: &[u8], after: Revision) -> Result<Watch, Error> {
        // Reads nothing; says whether the history after that revision is there.
        self.read_at(self.probe(), after).await?;
        let (feed, watch) = Watch::new(VecDeque::new(), self.watch_capacity);
        let reader_gone = feed.reader_gone();
        let follower = follow::Follower {
            connection: Arc::clone(&self.connection),
            space: self.space.clone(),
            prefix: Bytes::copy_from_slice(prefix),
            seen: self.space.to_etcd(after)?,
            wanted: self.wanted.subscribe(),
            feed,
        };
        // Owned by the watch: it ends when that is dropped.
        tokio::spawn(async move {
            tokio::select! {
                () = reader_gone => {}
                () = follower.run() => {}
            }
        });
        Ok(watch)
    }

    async fn forget(&self, requested: Revision) -> Result<(), Error> {
        let request = CompactionRequest {
            revision: self.space.to_etcd(requested)?,
        };
        let answer: Result<CompactionResponse, _> =
            self.connection.write(rpc::COMPACT, &request).await;
        let Err(failure) = answer else { return Ok(()) };
        match self.error(failure, requested).await {
            // For etcd, to compact again at the same revision is a mistake.
            Error::Compacted { compacted, .. } if compacted == requested => Ok(()),
            error => Err(error),
        }
    }

    /// A question whose answer is only its header.
    fn probe(&self) -> RangeRequest {
        RangeRequest {
            key: self.record_key(),
            count_only: true,
            ..RangeRequest::default()
        }
    }

    fn header(&self, header: Option<&rpc::Header>) -> Revision {
        self.space.revision(rpc::revision(header))
    }

    /// What etcd's refusal of a revision means, with the numbers that it does not say.
    async fn error(&self, failure: Failure, requested: Revision) -> Error {
        let message = match &failure {
            Failure::Refused(status) => status.message(),
            Failure::Unknown => "",
        };
        match message {
            COMPACTED => match follow::compacted(&self.connection, self.record_key()).await {
                Some(compacted) => Error::Compacted {
                    requested,
                    compacted: self.space.revision(compacted),
                },
                None => Error::Unavailable,
            },
            FUTURE => match self.revision().await {
                Ok(current) => Error::FutureRevision { requested, current },
                Err(error) => error,
            },
            _ => plain_error(failure),
        }
    }
}

fn plain_error(failure: Failure) -> Error {
    match failure {
        Failure::Refused(status) => Error::Refused(status.message().into()),
        Failure::Unknown => Error::Unavailable,
    }
}

impl Store for EtcdStore {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        async move {
            let answer = self.read_now(self.probe()).await?;
            let read = rpc::revision(answer.header.as_ref());
            self.wanted.send_if_modified(|wanted| {
                let later = read > *wanted;
                *wanted = read.max(*wanted);
                later
            });
            Ok(self.space.revision(read))
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        let request = RangeRequest {
            key: self.space.key(key),
            ..RangeRequest::default()
        };
        async move {
            let answer = self.read_now(request).await?;
            let entry = answer.kvs.first().map(|kv| self.space.entry(kv));
            Ok(entry.map(Arc::unwrap_or_clone))
        }
        .boxed()
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        self.read_page(range).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        self.write(txn).boxed()
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        self.follow(prefix, after).boxed()
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.forget(revision).boxed()
    }
}
