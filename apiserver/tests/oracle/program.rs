//! The Go program that knows upstream's answers.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use serde_json::Value;
use serde_json::value::RawValue;

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(build);

fn build() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Each test is a process of its own: one compiles, the others find everything compiled.
    let lock = File::create(folder.join("oracle.lock")).expect("a file to lock");
    lock.lock().expect("a lock");
    let program = folder.join("oracle");
    let output = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        .output()
        .expect("this test needs the Go toolchain, 1.25 or newer, from https://go.dev/dl");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "go build of the oracle: {complaints}"
    );
    program
}

/// One answer per case; null for one with a number that JSON may have and a value here may not.
pub fn ask(cases: &[Value]) -> Vec<Value> {
    let mut child = Command::new(&*PROGRAM)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(lines.as_bytes()).expect("the oracle reads"));
        child.wait_with_output().expect("the oracle ends")
    });
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the oracle: {complaints}");
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let answers: Vec<Value> = answers
        .map(|answer: Result<Box<RawValue>, _>| answer.expect("JSON"))
        .map(|answer| serde_json::from_str(answer.get()).unwrap_or_default())
        .collect();
    assert_eq!(answers.len(), cases.len(), "one answer per case");
    answers
}
