//! Changes of the objects of one type, for as long as somebody wants them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, stream};
use http::StatusCode;
use serde_json::{Value, json};

use apiserver::serve::Body;

use super::super::caller::Caller;
use super::super::field::Described;
use super::super::kinds::Type;
use super::super::place::Scope;
use super::super::resource::View;
use crate::lines::Lines;

/// Longest event, in bytes: an object and what a watch adds to it.
const LONGEST: usize = 8 * 1024 * 1024;

/// How long to wait before a watch begins again that has ended or cannot begin.
const PAUSE: Duration = Duration::from_secs(1);

/// After how long it is looked again what somebody sees who does not see everything.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Events as clients get them.
pub(super) type Changes = Pin<Box<dyn Stream<Item = Value> + Send>>;

struct Watching {
    caller: Arc<Caller>,
    of: Type,
    described: Described,
    /// How far it has come; `None`: it begins with all objects.
    revision: Option<String>,
    lines: Option<Lines<Body>>,
    /// Whether the caller sees some of the objects only.
    limited: bool,
    /// Whether it has begun before.
    again: bool,
}

/// All objects of a type first, and then every change. Ends when the caller may no longer see any.
pub(super) fn changes(caller: Arc<Caller>, of: Type) -> Changes {
    let watching = Watching {
        described: of.described(),
        caller,
        of,
        revision: None,
        lines: None,
        limited: false,
        again: false,
    };
    Box::pin(stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((event, watching))
    }))
}

impl Watching {
    async fn next(&mut self) -> Option<Value> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.begin().await?;
                continue;
            };
            let Ok(Some(line)) = lines.next().await else {
                self.lines = None;
                // There may be objects now that were there before and that the caller did not see.
                if self.limited {
                    self.revision = None;
                }
                continue;
            };
            let Ok(mut event) = serde_json::from_slice::<Value>(&line) else {
                self.lines = None;
                continue;
            };
            let object = event["object"].take();
            let name = match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => "resource.change",
                Some("DELETED") => "resource.remove",
                Some("BOOKMARK") => {
                    self.reached(&object);
                    continue;
                }
                // It is too far behind: all objects come again.
                _ => {
                    self.revision = None;
                    self.lines = None;
                    continue;
                }
            };
            self.reached(&object);
            let view = View::new(&self.caller, &self.of, &self.described, &Scope::All);
            return Some(json!({
                "name": name,
                "resourceType": self.of.id,
                "data": view.resource(&object),
            }));
        }
    }

    fn reached(&mut self, object: &Value) {
        if let Some(revision) = object["metadata"]["resourceVersion"].as_str() {
            self.revision = Some(revision.to_owned());
        }
    }

    /// Begins to watch, or again. `None`: the caller may not.
    async fn begin(&mut self) -> Option<()> {
        if std::mem::replace(&mut self.again, true) {
            tokio::time::sleep(PAUSE).await;
        }
        let namespace = self.caller.namespace_of_own(&self.of);
        let mut path = self.of.path(&namespace, "");
        path += "?watch=true&allowWatchBookmarks=true";
        self.limited = self.caller.sees_some(&self.of);
        if self.limited {
            path += &format!("&timeoutSeconds={}", LOOK_AGAIN.as_secs());
        }
        if let Some(revision) = &self.revision {
            path += &format!("&resourceVersion={revision}");
        }
        match self.caller.watch(&path).await {
            Ok(body) => self.lines = Some(Lines::new(body, LONGEST)),
            Err(error) => match error.code() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                    return None;
                }
                StatusCode::GONE => self.revision = None,
                _ => {}
            },
        }
        Some(())
    }
}
