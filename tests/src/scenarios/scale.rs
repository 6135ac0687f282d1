//! Large lists and large objects.

use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::table::{Context, Invocation, Scenario, custom, kubectl};

/// The namespace of the pods that KWOK plays.
pub const LOAD_NAMESPACE: &str = "load";

/// How many there are.
pub const LOAD_PODS: u32 = 5000;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "scale",
        prepare: Vec::new(),
        steps: vec![
            custom("5,000 pods by name, in chunks of 500", |context| {
                list(context, "get pods -n load -o name")
            }),
            custom("5,000 pods by name, in one piece", |context| {
                list(context, "get pods -n load -o name --chunk-size=0")
            }),
            custom("5,000 pods as a table", |context| {
                list(
                    context,
                    "get pods -n load --no-headers -o wide --sort-by=.metadata.name",
                )
            }),
            custom("5,000 pods in JSON", |context| {
                digest(
                    &context
                        .kubectl("get pods -n load -o json --chunk-size=0")?
                        .stdout,
                )
            }),
            custom("an object of 1 MiB, there and back", large_object),
            kubectl("get --raw /api/v1/namespaces/load/pods?limit=1 -v=0").since(37),
        ],
    }
}

fn list(context: &Context, arguments: &str) -> Result<String> {
    let outcome = context.kubectl(arguments)?;
    let text = outcome.stdout_text();
    let count = text.lines().count();
    anyhow::ensure!(
        count == LOAD_PODS as usize,
        "{count} lines: {}",
        outcome.stderr
    );
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    Ok(format!(
        "{count} lines, {}",
        digest(names.join("\n").as_bytes())?
    ))
}

fn large_object(context: &Context) -> Result<String> {
    // etcd and the API server take a little more than 1 MiB, data and all.
    let value = "0123456789abcdef".repeat((1 << 20) / 16 - 64);
    let object = format!(
        r#"{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "large"}}, "data": {{"value": "{value}"}}}}"#
    );
    let created = context.run(&Invocation::new("create -f -").stdin(object))?;
    let read = context.kubectl("get configmap large -o jsonpath={.data.value}")?;
    Ok(format!(
        "{}\n{} bytes, equal: {}",
        created.transcript(),
        read.stdout.len(),
        read.stdout == value.as_bytes()
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "the last expression of a step")]
fn digest(bytes: &[u8]) -> Result<String> {
    Ok(hex::encode(Sha256::digest(bytes)))
}
