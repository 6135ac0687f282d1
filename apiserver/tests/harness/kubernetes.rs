//! The source of Kubernetes, for what it publishes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::Command;

pub const MODULE: &str = "k8s.io/kubernetes@v1.35.4";

/// An OpenAPI v3 document, for example `apis__apps__v1`. Go downloads it when it is not there.
pub fn document(name: &str) -> Value {
    let path = module().join(format!("api/openapi-spec/v3/{name}_openapi.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A file, by its path.
#[allow(dead_code, reason = "not every test reads files")]
pub fn file(path: &str) -> String {
    std::fs::read_to_string(module().join(path)).unwrap()
}

/// The types in a document.
pub fn types(document: &Value) -> &Map<String, Value> {
    document["components"]["schemas"].as_object().unwrap()
}

fn module() -> PathBuf {
    let output = Command::new("go")
        .args(["mod", "download", "-json", MODULE])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("GOWORK", "off")
        .output()
        .expect("this test needs the Go toolchain, 1.25 or newer, from https://go.dev/dl");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{MODULE}: {complaints}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    PathBuf::from(said["Dir"].as_str().unwrap())
}
