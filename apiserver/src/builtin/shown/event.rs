//! Events, in the old group and in the new one.

use super::{Shape, Shown, at, name, since, text};
use crate::object::Object;
use jiff::Timestamp;
use serde_json::Value;

const EVENT_COLUMNS: &[Shape] = &[
    Shape("Last Seen", "string", "lastTimestamp", 0),
    Shape("Type", "string", "type", 0),
    Shape("Reason", "string", "reason", 0),
    Shape("Object", "string", "involvedObject", 0),
    Shape("Subobject", "string", "fieldPath", 1),
    Shape("Source", "string", "source", 1),
    Shape("Message", "string", "message", 0),
    Shape("First Seen", "string", "firstTimestamp", 1),
    Shape("Count", "string", "count", 1),
    Shape("Name", "string", "name", 1),
];

/// Where an event has what is shown of it.
struct EventPaths {
    first: &'static str,
    last: &'static str,
    count: &'static str,
    object: &'static str,
    source: &'static str,
    controller: &'static str,
    message: &'static str,
}

pub(in crate::builtin) const EVENT: Shown = Shown {
    columns: EVENT_COLUMNS,
    cells: |object, now| {
        let paths = EventPaths {
            first: "/firstTimestamp",
            last: "/lastTimestamp",
            count: "/count",
            object: "/involvedObject",
            source: "/source",
            controller: "/reportingComponent",
            message: "/message",
        };
        event(object, now, &paths)
    },
};

pub(in crate::builtin) const NEW_EVENT: Shown = Shown {
    columns: EVENT_COLUMNS,
    cells: |object, now| {
        let paths = EventPaths {
            first: "/deprecatedFirstTimestamp",
            last: "/deprecatedLastTimestamp",
            count: "/deprecatedCount",
            object: "/regarding",
            source: "/deprecatedSource",
            controller: "/reportingController",
            message: "/note",
        };
        event(object, now, &paths)
    },
};

fn event(object: &Object, now: Timestamp, paths: &EventPaths) -> Vec<Value> {
    let first_of = |paths: &[&'static str]| {
        let texts = paths.iter().map(|path| at(object, path));
        texts
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    };
    let has_series = object.as_value().pointer("/series").is_some();
    let first = since(first_of(&[paths.first, "/eventTime"]), now);
    let (last, count) = match has_series {
        true => (at(object, "/series/lastObservedTime"), "/series/count"),
        false => (
            first_of(&[paths.last, paths.first, "/eventTime"]),
            paths.count,
        ),
    };
    let count = object.as_value().pointer(count).and_then(Value::as_i64);
    let about = |field: &str| at(object, &format!("{}/{field}", paths.object));
    let mut target = about("kind").to_lowercase();
    if !about("name").is_empty() {
        target = format!("{target}/{}", about("name"));
    }
    let source = |field: &str| {
        object
            .as_value()
            .pointer(&format!("{}/{field}", paths.source))
    };
    let source = |field: &str| source(field).and_then(Value::as_str).unwrap_or_default();
    let or = |one: &str, other: &str| match one {
        "" => at(object, other).to_owned(),
        one => one.to_owned(),
    };
    let mut from = or(source("component"), paths.controller);
    let instance = or(source("host"), "/reportingInstance");
    if !instance.is_empty() {
        from = format!("{from}, {instance}");
    }
    vec![
        since(last, now),
        text(object, "/type"),
        text(object, "/reason"),
        target.into(),
        about("fieldPath").into(),
        from.into(),
        at(object, paths.message).trim().into(),
        first,
        match count {
            None | Some(0) if !has_series => 1.into(),
            count => count.unwrap_or_default().into(),
        },
        name(object),
    ]
}
