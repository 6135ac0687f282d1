//! Whatever is applied to whatever is there gives an object that can be stored, or an error. The input
//! is what is there, a zero byte, and what is applied.

#![no_main]

use apiserver::apply::{FieldSet, Writer, apply, update};
use apiserver::body::{Document, depth};
use apiserver::schema::Schema;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {
                "k": {"type": "string"}, "v": {"type": "integer"}}}},
        "atomic": {"type": "object", "x-kubernetes-map-type": "atomic",
            "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    Schema::parse(&schema).expect("it is structural")
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (Some(live), Some(config)) = (parts.next(), parts.next()) else {
        return;
    };
    let (Some(live), Some(config)) = (object(live), object(config)) else {
        return;
    };
    let reset = FieldSet::default();
    let writer = |manager| Writer {
        manager,
        schema: &SCHEMA,
        api_version: "g.io/v1",
        kind: "K",
        subresource: "",
        reset: &reset,
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    for force in [false, true] {
        if let Ok(applied) = apply(Some(&live), &config, &writer("applier"), force) {
            check(&applied);
            let again = apply(Some(&applied), &config, &writer("applier"), false);
            assert!(
                again.is_ok(),
                "what was applied can be applied again: {again:?}"
            );
        }
    }
    check(&update(Some(&live), config, &writer("updater")));
});

/// An object of the kind, as the API server has it when it comes to ownership.
fn object(text: &[u8]) -> Option<Value> {
    let mut value = Document::from_yaml(text).ok()?.value;
    let fields = value.as_object_mut()?;
    fields.insert("apiVersion".into(), "g.io/v1".into());
    fields.insert("kind".into(), "K".into());
    let meta = fields.entry("metadata").or_insert_with(|| json!({}));
    meta.as_object()?;
    (depth(&value) <= 100).then_some(value)
}

fn check(object: &Value) {
    let stored = object.to_string();
    let read: Result<Value, _> = serde_json::from_str(&stored);
    assert!(read.is_ok(), "what is stored can be read: {read:?}");
}
