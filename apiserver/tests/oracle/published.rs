//! What is published as protobuf is read by the library of its clients.

use std::sync::Arc;

use apiserver::builtin;
use apiserver::openapi::Documents;
use apiserver::registry::Registry;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::program;

#[test]
fn the_protobuf_of_version_2_says_what_the_json_says() {
    let mut registry = Registry::default();
    for resource in builtin::resources() {
        registry.insert(resource);
    }
    // The same kinds again as user-defined ones, of which other schemas are published.
    for mut resource in builtin::resources() {
        resource.group = format!("{}example.org", resource.group);
        resource.built_in = false;
        registry.insert(resource);
    }
    let documents = Documents::new(Arc::new(registry));
    let encoded = STANDARD.encode(&documents.v2_protobuf().bytes);
    let answer = program::ask(&[json!({"openapi": encoded})]).remove(0);
    let expected: Value = serde_json::from_slice(&documents.v2().bytes).expect("JSON");
    let found = answer.get("openapi").unwrap_or(&answer);
    if let Some(path) = difference(&expected, found) {
        panic!(
            "{path}: {:?} is read as {:?}",
            expected.pointer(&path),
            found.pointer(&path)
        );
    }
}

/// Where two values differ first, as a pointer. What protobuf cannot tell from nothing is nothing.
fn difference(one: &Value, other: &Value) -> Option<String> {
    let below = |name: &str, one: Option<&Value>, other: Option<&Value>| {
        let (one, other) = (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
        let found = difference(one, other)?;
        Some(format!(
            "/{}{found}",
            name.replace('~', "~0").replace('/', "~1")
        ))
    };
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names = one.keys().chain(other.keys());
            names.find_map(|name| below(name, one.get(name), other.get(name)))
        }
        (Value::Array(one), Value::Array(other)) => {
            let mut places = 0..one.len().max(other.len());
            places.find_map(|at| below(&at.to_string(), one.get(at), other.get(at)))
        }
        _ => (one != other).then(String::new),
    }
}
