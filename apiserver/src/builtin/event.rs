//! Events, in the old group and in the new one.

use super::Rules;
use crate::names;
use crate::schema::FieldError;
use serde_json::Value;

/// Most bytes of an action, a reason and the name of what reports.
const MAX_WORD: usize = 128;

/// Most bytes of the text.
const MAX_NOTE: usize = 1024;

/// What an event says never changes in the new group; in upstream's words, which are those of the
/// old one.
const FIXED: [(&str, &str); 11] = [
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("action", "action"),
    ("related", "related"),
    ("reportingInstance", "reportingInstance"),
];

pub(super) const CORE: Rules = Rules {
    prepare: |_, _| {},
    validate: |new, _| {
        let words = Words {
            object: "involvedObject",
            note: "message",
            controller: "reportingComponent",
        };
        legacy(new, &words)
    },
};

pub(super) const EVENTS: Rules = Rules {
    prepare: |_, _| {},
    validate: |new, old| {
        let words = Words {
            object: "regarding",
            note: "note",
            controller: "reportingController",
        };
        let mut errors = legacy(new, &words);
        match old {
            None => strict(new, &mut errors),
            Some(old) => check_fixed(new, old, &mut errors),
        }
        errors
    },
};

/// What the groups call a few fields.
struct Words {
    object: &'static str,
    note: &'static str,
    controller: &'static str,
}

/// What holds in both groups.
fn legacy(event: &Value, words: &Words) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let place = text(&event["metadata"], "namespace");
    let about = text(&event[words.object], "namespace");
    let is_new = !text(event, "eventTime").is_empty();
    let agrees = match (is_new, about) {
        (true, "") => matches!(place, "default" | "kube-system"),
        (true, _) => true,
        (false, "") => matches!(place, "" | "default"),
        (false, about) => place == about,
    };
    if !agrees {
        let path = "involvedObject.namespace";
        errors.push(FieldError::invalid(
            path,
            about,
            "does not match event.namespace",
        ));
    }
    if !is_new {
        return errors;
    }
    let controller = text(event, words.controller);
    if controller.is_empty() {
        errors.push(FieldError::required(words.controller, ""));
    }
    if let Err(rule) = names::qualified(controller) {
        errors.push(FieldError::invalid(words.controller, controller, rule));
    }
    for field in ["reportingInstance", "action", "reason"] {
        if text(event, field).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
        check_length(event, field, field, MAX_WORD, &mut errors);
    }
    check_length(event, words.note, "message", MAX_NOTE, &mut errors);
    errors
}

fn check_length(
    event: &Value,
    field: &str,
    called: &str,
    most: usize,
    errors: &mut Vec<FieldError>,
) {
    if text(event, field).len() > most {
        let detail = format!("can have at most {most} characters");
        errors.push(FieldError::invalid(called, "", detail));
    }
}

/// What holds for what is made in the new group.
fn strict(event: &Value, errors: &mut Vec<FieldError>) {
    check_series(event, errors);
    if text(event, "eventTime").is_empty() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        let detail = format!("has invalid value: {kind}");
        errors.push(FieldError::invalid("type", "", detail));
    }
    for (field, called) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ] {
        let is_empty = match &event[field] {
            Value::Null => true,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::Object(fields) => fields.values().all(|value| value == ""),
            _ => false,
        };
        if !is_empty {
            errors.push(FieldError::invalid(called, "", "needs to be unset"));
        }
    }
}

fn check_series(event: &Value, errors: &mut Vec<FieldError>) {
    let Some(series) = event.get("series") else {
        return;
    };
    if series["count"].as_i64().unwrap_or_default() < 2 {
        errors.push(FieldError::invalid(
            "series.count",
            "",
            "should be at least 2",
        ));
    }
    if text(series, "lastObservedTime").is_empty() {
        errors.push(FieldError::required("series.lastObservedTime", ""));
    }
}

fn check_fixed(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new["series"] != old["series"] {
        check_series(new, errors);
    }
    for (field, called) in FIXED.into_iter().chain([
        ("eventTime", "eventTime"),
        ("reportingController", "reportingController"),
    ]) {
        if new[field] != old[field] {
            let value = new[field].clone();
            errors.push(FieldError::invalid(called, value, "field is immutable"));
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
