//! Watches: a line of JSON, or a frame of protobuf, for each change.

use super::{ApiServer, Body, Call, Clock, answer, read};
use crate::builtin;
use crate::cache::{Event, Item, Seen, WatchStart, Watcher, watch_line};
use crate::error::ApiError;
use crate::media::{Encoding, Form, Wanted};
use crate::metrics::{self, Count, Watching};
use crate::object::Object;
use crate::protobuf;
use crate::registry::{Resource, Version};
use crate::request::{ListOptions, RevisionMatch};
use crate::table::{Carried, metadata_of};
use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, Sleep};
use tokio_util::sync::CancellationToken;

/// How long a watch lasts that does not say.
const LIFETIME: Duration = Duration::from_secs(1800);

/// How often a quiet watch is told how far it is.
const BOOKMARK: Duration = Duration::from_secs(60);

pub(super) async fn watch(
    server: &ApiServer,
    call: &Call,
    labels: &metrics::Request,
) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query)?;
    let filter = call.filter(&options)?;
    let start = match options.revision {
        RevisionMatch::NotOlderThan(revision) if !options.send_initial_events => {
            WatchStart::After(revision)
        }
        _ => WatchStart::Objects,
    };
    read::catch_up(server, options.revision).await?;
    let form = LineForm::of(call)?;
    let kind = call.kind(server.cache()).await?;
    let watched = kind.watch(filter, start, server.cache().revision());
    let (open, watching) = server.metrics.watching(labels);
    let media_type = match call.wanted.encoding {
        Encoding::Json | Encoding::Yaml => "application/json",
        Encoding::Protobuf => protobuf::WATCH_MEDIA_TYPE,
    };
    let answered = |body| answer::typed(StatusCode::OK, media_type, body);
    let (initial, watcher) = match watched {
        Ok(watched) => watched,
        // As upstream: the watch begins, and its one event says that it cannot go on.
        Err(old) => {
            let event = form.error(&ApiError::expired(old.to_string()));
            return Ok(answered(Body::whole(event)));
        }
    };
    let lines = Lines {
        _open: open,
        watching,
        announce: options.send_initial_events.then_some(initial.revision),
        told: initial.revision,
        initial: initial.items.into(),
        bookmarks: options.bookmarks.then(bookmarks),
        ends: Box::pin(tokio::time::sleep(options.timeout.unwrap_or(LIFETIME))),
        shutdown: server.shutdown().clone(),
        now: Arc::clone(&server.clock),
        form,
        watcher,
        applied: server.cache().applied(),
    };
    let lines = stream::unfold(lines, |mut lines| async {
        let line = lines.next().await?;
        lines.watching.sent(line.len());
        Some((line, lines))
    });
    Ok(answered(Body::lines(lines)))
}

fn bookmarks() -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK, BOOKMARK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

struct Lines {
    _open: Count,
    watching: Watching,
    /// Objects that are told before any change.
    initial: VecDeque<Item>,
    /// The revision of those, if the client wants to hear when it has all of them.
    announce: Option<u64>,
    /// The last revision that the client has heard of.
    told: u64,
    bookmarks: Option<Interval>,
    ends: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
    now: Clock,
    form: LineForm,
    watcher: Watcher,
    /// The revision up to which everything has been handed to watchers.
    applied: tokio::sync::watch::Receiver<u64>,
}

impl Lines {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(item) = self.initial.pop_front() {
            return Some(self.form.initial(&item, (self.now)()));
        }
        if let Some(revision) = self.announce.take() {
            return Some(self.form.bookmark(revision, true, (self.now)()));
        }
        loop {
            let tick = async {
                match &mut self.bookmarks {
                    Some(bookmarks) => bookmarks.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = self.watcher.next() => {
                    let (seen, event) = event?;
                    self.told = event.revision;
                    return Some(self.form.change(seen, &event, (self.now)()));
                }
                () = self.ends.as_mut() => return None,
                () = self.shutdown.cancelled() => return None,
                _ = tick => {
                    // Read before looking: what was applied until then has been handed over.
                    let applied = *self.applied.borrow();
                    if self.watcher.is_idle() && applied >= self.told {
                        self.told = applied;
                        return Some(self.form.bookmark(applied, false, (self.now)()));
                    }
                }
            }
        }
    }
}

/// How a line is written.
enum LineForm {
    /// As stored, once for all watchers.
    Stored { kind: String, api_version: String },
    /// For this watcher alone.
    Own(OwnForm),
}

struct OwnForm {
    resource: Arc<Resource>,
    kind: String,
    api_version: String,
    version: Arc<Version>,
    wanted: Wanted,
    carried: Carried,
    /// Whether the columns of the table have been sent, which only the first line has.
    told_columns: bool,
}

impl LineForm {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let (kind, api_version) = (call.resource.kind.clone(), call.api_version());
        if call.sends_stored() {
            return Ok(Self::Stored { kind, api_version });
        }
        Ok(Self::Own(OwnForm {
            resource: Arc::clone(&call.resource),
            kind,
            api_version,
            version: Arc::clone(&call.version),
            wanted: call.wanted,
            carried: match call.wanted.form {
                Form::Table => call.carried()?,
                _ => Carried::default(),
            },
            told_columns: false,
        }))
    }

    fn initial(&mut self, item: &Item, now: Timestamp) -> Bytes {
        let revision = item.entry.modified.0;
        match self {
            Self::Stored { .. } => watch_line(Seen::Added, &item.entry.value, revision),
            Self::Own(own) => own.line(Seen::Added, item, revision, now),
        }
    }

    fn change(&mut self, seen: Seen, event: &Event, now: Timestamp) -> Bytes {
        match (self, event.object(seen)) {
            (Self::Own(own), Some(item)) => own.line(seen, item, event.revision, now),
            (_, _) => event.line(seen),
        }
    }

    fn bookmark(&mut self, revision: u64, ends_initial: bool, now: Timestamp) -> Bytes {
        let (kind, api_version) = match &*self {
            Self::Stored { kind, api_version } => (kind, api_version),
            Self::Own(own) => (&own.kind, &own.api_version),
        };
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if ends_initial {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": meta});
        let Self::Own(own) = self else {
            return line("BOOKMARK", &object);
        };
        let Ok(object) = Object::new(object) else {
            return Bytes::new();
        };
        let value = own.shaped(object, revision, now);
        own.written("BOOKMARK", value)
    }

    fn error(&self, error: &ApiError) -> Bytes {
        match self {
            Self::Stored { .. } => line("ERROR", &error.to_status()),
            Self::Own(own) => own.written("ERROR", error.to_status()),
        }
    }
}

impl OwnForm {
    fn line(&mut self, seen: Seen, item: &Item, revision: u64, now: Timestamp) -> Bytes {
        let decoded = Object::decode(&item.entry.value, revision);
        let fit = decoded.and_then(|mut object| {
            builtin::from_kept(&self.resource, &mut object);
            self.version.fit(&self.api_version, object)
        });
        let Ok(object) = fit else {
            return Bytes::new();
        };
        let value = self.shaped(object, revision, now);
        self.written(seen.as_str(), value)
    }

    fn shaped(&mut self, object: Object, revision: u64, now: Timestamp) -> Value {
        match self.wanted.form {
            Form::Objects => object.into_value(),
            Form::Metadata => metadata_of(&object),
            Form::Table => {
                let meta = json!({"resourceVersion": revision.to_string()});
                let row = self.version.printer.row(&object, self.carried, now);
                let mut table = self.version.printer.table(&meta, &[row]);
                if std::mem::replace(&mut self.told_columns, true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
        }
    }

    fn written(&self, word: &str, object: Value) -> Bytes {
        let object = self.wanted.versioned(object);
        match self.wanted.encoding {
            Encoding::Json | Encoding::Yaml => line(word, &object),
            // There is a message for all that is sent as protobuf.
            Encoding::Protobuf => protobuf::watch_frame(word, &object)
                .unwrap_or_default()
                .into(),
        }
    }
}

fn line(word: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": word, "object": object}).to_string();
    text.push('\n');
    text.into()
}
