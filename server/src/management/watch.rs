//! Watches: a line of JSON per change.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use store::Revision;
use tokio::time::Instant;

use super::kinds::Managed;
use super::query::Query;
use super::resource::Resource;
use super::table::Form;
use crate::edge::{ApiError, Body, BoxError, with_type};
use crate::objects::{Event, EventError, Events, ListOptions};

/// Answers with a stream of changes of the objects that the query chooses and the user may see.
/// It ends with its time, with the user's token, and with the server.
pub(super) async fn watch<K: Managed>(
    target: Arc<Resource>,
    query: Query,
    form: Form,
) -> Result<Response<Body>, ApiError> {
    let mut initial = Vec::new();
    let mut after = query.revision;
    let namespace = target.namespace.clone();
    if after == Revision::ZERO {
        let options = ListOptions {
            namespace: namespace.clone(),
            ..ListOptions::default()
        };
        let list = target.app.objects.list::<K>(&options).await?;
        after = list.revision;
        initial = list.items;
        initial.reverse();
    }
    let events = target
        .app
        .objects
        .watch::<K>(namespace.as_deref(), after)
        .await?;
    let watching = Watching {
        ends: Instant::now() + query.timeout,
        target,
        query,
        form,
        initial,
        events: Some(events),
    };
    let lines = stream::unfold(watching, |mut watching| async {
        let line = watching.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(line)), watching))
    });
    let mut response = with_type(StatusCode::OK, "application/json", Bytes::new());
    *response.body_mut() = StreamBody::new(lines).boxed_unsync();
    Ok(response)
}

struct Watching<K> {
    target: Arc<Resource>,
    query: Query,
    form: Form,
    ends: Instant,
    /// Told before any change; the last one first.
    initial: Vec<K>,
    /// `None` after an error.
    events: Option<Events<K>>,
}

impl<K: Managed> Watching<K> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = match self.initial.pop() {
                Some(object) => Event::Added(object),
                None => match self.change().await? {
                    Ok(event) => event,
                    Err(error) => {
                        self.events = None;
                        return Some(line("ERROR", &failed(&error).status_object()));
                    }
                },
            };
            let (word, object) = match event {
                Event::Added(object) => ("ADDED", object),
                Event::Modified(object) => ("MODIFIED", object),
                Event::Deleted(object) => ("DELETED", object),
            };
            if self.query.selects(object.meta()) && self.target.may_see(&object) {
                return Some(line(word, &self.form.one(&object.shown())));
            }
        }
    }

    async fn change(&mut self) -> Option<Result<Event<K>, EventError>> {
        let app = &self.target.app;
        tokio::select! {
            change = self.events.as_mut()?.next() => change,
            () = tokio::time::sleep_until(self.ends) => None,
            () = self.target.who.until_ended(&app.clock) => None,
            () = app.shutdown.cancelled() => None,
        }
    }
}

fn failed(error: &EventError) -> ApiError {
    match error {
        EventError::Watch(error) => ApiError::expired(format!("{error}; list again")),
        EventError::Object(error) => ApiError::internal(error),
    }
}

fn line(word: &str, object: &Value) -> Bytes {
    let mut text = json!({"type": word, "object": object}).to_string();
    text.push('\n');
    text.into()
}
