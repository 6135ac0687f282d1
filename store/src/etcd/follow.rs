//! One watch, kept going through the loss of connections and members.
//!
//! It remembers up to which revision everything was handed over. A new stream begins at that
//! revision, not after it, and what was seen is dropped: if the revision after it was compacted
//! meanwhile, etcd says so, and nothing is skipped in silence.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::connection::Connection;
use super::rpc::{
    self, Event, WatchAsk, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use super::space::Space;
use crate::watch::Feed;
use crate::{Change, Changes};

/// A stream that is silent for so long is asked for its revision, and given up when it is silent
/// for as long again.
const QUIET: Duration = Duration::from_secs(5);
/// How long a change that is known to be there may take before its stream is asked for progress.
const GRACE: Duration = Duration::from_millis(20);
/// Before a new stream is opened.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a reader may take for a change that was made before its watch began. Such changes come
/// as fast as etcd can send them, so that no buffer is large enough for all.
const CATCH_UP: Duration = Duration::from_secs(10);

pub(super) struct Follower {
    pub(super) connection: Arc<Connection>,
    pub(super) space: Space,
    pub(super) prefix: Bytes,
    /// Everything up to here was handed over. In etcd's count.
    pub(super) seen: i64,
    /// The last revision that somebody has read. Who reads may wait until it is seen.
    pub(super) wanted: watch::Receiver<i64>,
    pub(super) feed: Feed,
}

/// Why a stream ended.
enum End {
    /// Another one can go on where it ended.
    Broken,
    /// The reader is gone or was too slow, or the history was compacted before it was read.
    CutOff,
}

/// A stream of one watch.
struct Stream {
    member: usize,
    responses: tonic::Streaming<WatchResponse>,
    ask: mpsc::Sender<WatchRequest>,
    /// The revision of the member when the watch began.
    began: i64,
    /// The pieces so far of an answer that comes in several.
    pieces: Vec<Event>,
}

impl Follower {
    /// Hands over changes until the reader is cut off.
    pub(super) async fn run(mut self) {
        while let End::Broken = self.follow_stream().await {
            sleep(PAUSE).await;
        }
    }

    async fn follow_stream(&mut self) -> End {
        let keys = self.space.range(&self.prefix, None);
        let Ok(mut stream) = Stream::open(&self.connection, keys, self.seen).await else {
            return End::Broken;
        };
        loop {
            let response = match stream.next(&mut self.wanted, self.seen).await {
                Ok(response) => response,
                Err(status) => {
                    self.connection.leave(stream.member, &status);
                    return End::Broken;
                }
            };
            if let Some(end) = self.handle(&mut stream, response).await {
                return end;
            }
        }
    }

    async fn handle(&mut self, stream: &mut Stream, response: WatchResponse) -> Option<End> {
        let revision = rpc::revision(response.header.as_ref());
        if response.canceled {
            if response.compact_revision > 0 {
                self.feed.cut_off();
                return Some(End::CutOff);
            }
            let status = Status::cancelled(response.cancel_reason);
            self.connection.leave(stream.member, &status);
            return Some(End::Broken);
        }
        if response.created {
            stream.began = revision;
            return None;
        }
        stream.pieces.extend(response.events);
        if response.fragment {
            return None;
        }
        let events = std::mem::take(&mut stream.pieces);
        if events.is_empty() {
            // Progress: everything up to this revision was sent.
            let sent = self.progress(revision);
            return (!sent).then_some(End::CutOff);
        }
        let sent = self.deliver(events, stream.began).await;
        (!sent).then_some(End::CutOff)
    }

    /// Tells how far it is. Returns whether the watch goes on.
    fn progress(&mut self, revision: i64) -> bool {
        if revision <= self.seen {
            return true;
        }
        self.seen = revision;
        self.feed.offer(Changes {
            revision: self.space.revision(revision),
            changes: Vec::new(),
        })
    }

    /// Hands over what was not seen yet, by revision. Returns whether the watch goes on.
    async fn deliver(&mut self, events: Vec<Event>, began: i64) -> bool {
        for events in events.chunk_by(|one, other| revision_of(one) == revision_of(other)) {
            let revision = events.first().map_or(0, revision_of);
            if revision <= self.seen {
                continue;
            }
            let changes: Option<Vec<_>> = (events.iter())
                .map(|event| change(&self.space, event).map(Arc::new))
                .collect();
            let Some(changes) = changes else {
                tracing::debug!(revision, "compacted while it was sent");
                self.feed.cut_off();
                return false;
            };
            let changes = Changes {
                revision: self.space.revision(revision),
                changes,
            };
            let sent = if revision <= began {
                self.feed.send(changes, CATCH_UP).await
            } else {
                self.feed.offer(changes)
            };
            if !sent {
                return false;
            }
            self.seen = revision;
        }
        true
    }
}

impl Stream {
    async fn open(
        connection: &Connection,
        (key, range_end): (Bytes, Bytes),
        start_revision: i64,
    ) -> Result<Self, Status> {
        // The first request and one for progress: there is never more on its way.
        let (ask, mut asked) = mpsc::channel(2);
        let create = WatchAsk::Create(WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: true,
            prev_kv: true,
            fragment: true,
        });
        // There is room, and the receiver is here.
        let _ = ask.try_send(WatchRequest { ask: Some(create) });
        let requests = stream::poll_fn(move |context| asked.poll_recv(context));
        let (member, responses) = connection.watch(requests).await?;
        Ok(Self {
            member,
            responses,
            ask,
            began: i64::MAX,
            pieces: Vec::new(),
        })
    }

    /// The next answer. Asks for progress when it is quiet, or when a revision after `seen` is
    /// wanted.
    async fn next(
        &mut self,
        wanted: &mut watch::Receiver<i64>,
        seen: i64,
    ) -> Result<WatchResponse, Status> {
        let ended = || Status::unavailable("the stream ended");
        // The change itself comes at once if there is one; a question on its heels costs little.
        let more_wanted = async {
            // An error: nobody reads any more.
            if wanted.wait_for(|wanted| *wanted > seen).await.is_err() {
                std::future::pending::<()>().await;
            }
            sleep(GRACE).await;
        };
        tokio::select! {
            response = self.responses.message() => return response?.ok_or_else(ended),
            () = more_wanted => {}
            () = sleep(QUIET) => {}
        }
        let ask = Some(WatchAsk::Progress(WatchProgressRequest {}));
        // No room means that it was asked before and did not even take that.
        let _ = self.ask.try_send(WatchRequest { ask });
        match timeout(QUIET, self.responses.message()).await {
            Ok(response) => response?.ok_or_else(ended),
            Err(_) => Err(Status::deadline_exceeded("the stream is silent")),
        }
    }
}

/// Where the history begins, of an etcd that has said that it does not go back to its beginning.
/// It only says so to a watch from there. `None` if it does not answer.
pub(super) async fn compacted(connection: &Connection, key: Bytes) -> Option<i64> {
    let keys = (key, Bytes::new());
    let mut stream = Stream::open(connection, keys, 1).await.ok()?;
    let (_nothing_wanted, mut wanted) = watch::channel(0);
    loop {
        let response = stream.next(&mut wanted, 0).await.ok()?;
        if response.canceled {
            return (response.compact_revision > 0).then_some(response.compact_revision);
        }
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// The change that an event tells of. `None` if the entry before it is missing: a compaction has
/// overtaken the watch.
fn change(space: &Space, event: &Event) -> Option<Change> {
    let kv = event.kv.as_ref()?;
    let current = (event.kind != Event::DELETE).then(|| space.entry(kv));
    let created = current.is_some() && kv.create_revision == kv.mod_revision;
    let previous = event.prev_kv.as_ref().map(|previous| space.entry(previous));
    if previous.is_none() && !created {
        return None;
    }
    Some(Change {
        key: space.strip(&kv.key),
        revision: space.revision(kv.mod_revision),
        current,
        previous,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::rpc::KeyValue;

    fn kv(create: i64, modified: i64) -> Option<KeyValue> {
        Some(KeyValue {
            key: "/lariat/data/x".into(),
            create_revision: create,
            mod_revision: modified,
            ..KeyValue::default()
        })
    }

    #[test]
    fn an_event_without_the_entry_before_it_is_no_change() {
        let space = Space::new("/lariat", 0);
        let event = |kind, kv, prev_kv| Event { kind, kv, prev_kv };
        let created = change(&space, &event(0, kv(7, 7), None)).unwrap();
        assert_eq!((&created.key[..], created.previous), (&b"x"[..], None));
        assert_eq!(change(&space, &event(0, kv(7, 8), None)), None);
        assert_eq!(change(&space, &event(Event::DELETE, kv(0, 9), None)), None);
        let deleted = change(&space, &event(Event::DELETE, kv(0, 9), kv(7, 8))).unwrap();
        assert_eq!(deleted.current, None);
        assert_eq!(deleted.previous.unwrap().modified.0, 8);
    }
}
