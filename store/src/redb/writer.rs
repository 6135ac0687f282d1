//! The one thread that writes: group commit.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::file::{Batch, File};
use super::history::History;
use crate::{Change, Entry, Error, Op, Revision, Txn, TxnOutcome};

/// Most transactions in one disk transaction.
const MAX_BATCH: usize = 256;

type Reply = oneshot::Sender<Result<TxnOutcome, Error>>;

#[derive(Debug)]
pub(super) enum Request {
    Txn {
        txn: Txn,
        reply: Reply,
    },
    Compact {
        revision: Revision,
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

impl Request {
    fn refuse(self, error: Error) {
        // The one who asked may have gone.
        match self {
            Self::Txn { reply, .. } => drop(reply.send(Err(error))),
            Self::Compact { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

pub(super) struct Writer {
    file: File,
    history: Arc<RwLock<History>>,
    queue: mpsc::Receiver<Request>,
    keep_revisions: u64,
}

impl Writer {
    pub(super) fn new(
        file: File,
        history: Arc<RwLock<History>>,
        queue: mpsc::Receiver<Request>,
        keep_revisions: u64,
    ) -> Self {
        Self {
            file,
            history,
            queue,
            keep_revisions,
        }
    }

    /// Serves requests until all senders are gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            if let Err(error) = self.recover() {
                first.refuse(Error::Write(error));
                continue;
            }
            let mut pending = Pending::new(self.revision());
            let mut compactions = Vec::new();
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Txn { txn, reply } => self.prepare(&mut pending, &txn, reply),
                    Request::Compact { revision, reply } => compactions.push((revision, reply)),
                }
                next = (pending.replies.len() < MAX_BATCH)
                    .then(|| self.queue.try_recv().ok())
                    .flatten();
            }
            self.commit(pending);
            for (revision, reply) in compactions {
                // The one who asked may have gone.
                let _ = reply.send(self.compact(revision));
            }
            self.compact_old();
        }
    }

    /// Opens the file again if a full disk has closed it. A write that was refused then may be in
    /// it after all; the history gets it now.
    fn recover(&mut self) -> Result<(), Arc<redb::Error>> {
        let Some(found) = self.file.ready()? else {
            return Ok(());
        };
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let ours = history.revision();
        if found.revision() < ours || found.compacted() > ours {
            // While it was closed, nothing kept others from restoring or removing it.
            return Err(self.file.give_up("another process has replaced the file"));
        }
        tracing::info!(revision = %found.revision(), "the store can be written again");
        for (revision, changes) in found.after(ours) {
            history.apply(revision, changes);
        }
        Ok(())
    }

    /// Decides a transaction against the history and what is pending before it.
    fn prepare(&self, pending: &mut Pending, txn: &Txn, reply: Reply) {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        let outcome = txn.check().map(|()| pending.decide(&history, txn));
        pending.replies.push((reply, outcome));
    }

    fn commit(&mut self, pending: Pending) {
        let written = if pending.changes.is_empty() {
            Ok(())
        } else {
            let compacted = self.compacted();
            self.file.write(&Batch {
                changes: &pending.changes,
                superseded: &[],
                revision: pending.revision,
                compacted,
            })
        };
        if let Err(error) = written {
            tracing::error!(%error, "cannot write to the store");
            let error = Error::Write(error);
            for (reply, _) in pending.replies {
                let _ = reply.send(Err(error.clone()));
            }
            return;
        }
        self.apply(pending.changes);
        for (reply, outcome) in pending.replies {
            let _ = reply.send(outcome);
        }
    }

    fn apply(&self, changes: Vec<Arc<Change>>) {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = changes.into_iter().peekable();
        while let Some(first) = changes.next() {
            let revision = first.revision;
            let mut together = vec![first];
            while let Some(change) = changes.next_if(|change| change.revision == revision) {
                together.push(change);
            }
            history.apply(revision, together);
        }
    }

    fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        let (superseded, current) = {
            let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
            history.check_kept(revision)?;
            (history.superseded(revision), history.revision())
        };
        let batch = Batch {
            changes: &[],
            superseded: &superseded,
            revision: current,
            compacted: revision,
        };
        let written = self.file.write(&batch);
        written.map_err(Error::Write)?;
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        history.compact(revision);
        Ok(())
    }

    /// Compacts when a quarter more than the wanted history has come together, so that it costs
    /// one extra sync in many.
    fn compact_old(&mut self) {
        let current = self.revision().0;
        let kept = current - self.compacted().0;
        if kept > self.keep_revisions + self.keep_revisions / 4 {
            let revision = Revision(current - self.keep_revisions);
            if let Err(error) = self.compact(revision) {
                tracing::error!(%error, "cannot compact the store");
            }
        }
    }

    fn revision(&self) -> Revision {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        history.revision()
    }

    fn compacted(&self) -> Revision {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        history.compacted()
    }
}

/// Transactions that are decided and not yet on disk.
struct Pending {
    revision: Revision,
    changes: Vec<Arc<Change>>,
    latest: HashMap<Bytes, Option<Arc<Entry>>>,
    replies: Vec<(Reply, Result<TxnOutcome, Error>)>,
}

impl Pending {
    fn new(revision: Revision) -> Self {
        Self {
            revision,
            changes: Vec::new(),
            latest: HashMap::new(),
            replies: Vec::new(),
        }
    }

    fn decide(&mut self, history: &History, txn: &Txn) -> TxnOutcome {
        let compared: Vec<_> = (txn.compares.iter())
            .map(|compare| self.latest(history, &compare.key))
            .collect();
        let holds = txn.compares.iter().zip(&compared).all(|(compare, entry)| {
            let modified = entry
                .as_ref()
                .map_or(Revision::ZERO, |entry| entry.modified);
            modified == compare.modified
        });
        if !holds {
            return TxnOutcome::Conflict(compared);
        }
        let revision = self.revision.next();
        for op in &txn.ops {
            let previous = self.latest(history, op.key());
            let Some(change) = change(op, revision, previous) else {
                continue;
            };
            self.latest
                .insert(change.key.clone(), change.current.clone());
            self.changes.push(Arc::new(change));
            self.revision = revision;
        }
        TxnOutcome::Applied(self.revision)
    }

    fn latest(&self, history: &History, key: &Bytes) -> Option<Arc<Entry>> {
        match self.latest.get(key) {
            Some(pending) => pending.clone(),
            None => history.latest(key).cloned(),
        }
    }
}

fn change(op: &Op, revision: Revision, previous: Option<Arc<Entry>>) -> Option<Change> {
    let current = match op {
        Op::Put { key, value } => Some(Arc::new(Entry {
            key: key.clone(),
            value: value.clone(),
            created: previous.as_ref().map_or(revision, |entry| entry.created),
            modified: revision,
            version: previous.as_ref().map_or(1, |entry| entry.version + 1),
        })),
        Op::Delete { .. } if previous.is_none() => return None,
        Op::Delete { .. } => None,
    };
    Some(Change {
        key: op.key().clone(),
        revision,
        current,
        previous,
    })
}
