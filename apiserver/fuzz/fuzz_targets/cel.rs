//! Any expression is a rule that is asked of an object in bounded time, or refused.

#![no_main]

use apiserver::schema::{Schema, validate};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|input: &str| {
    let schema = json!({"type": "object",
    "x-kubernetes-validations": [{"rule": input, "messageExpression": input}],
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "list": {"type": "array", "maxItems": 10, "items": {"type": "integer"}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let Ok(schema) = Schema::parse(&schema) else {
        return;
    };
    let old = json!({"n": 1, "s": "a", "list": [1, 2], "map": {"k": "v"}});
    let new = json!({"n": -1, "s": "ü\n", "list": [3, 2, 1], "map": {}});
    for error in validate(&schema, &new, Some(&old)) {
        assert!(!error.to_string().is_empty());
    }
});
