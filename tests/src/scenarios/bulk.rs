//! Much data through exec and cp, with checksums.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest, Sha256};

use super::{shell_pod, streams::EXEC_SWITCH};
use crate::table::{Context, Invocation, LIMIT, Scenario, custom, invoke};

pub(super) const MIB: usize = 1 << 20;

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "bulk",
        prepare: shell_pod().into(),
        steps: vec![
            custom("exec -i, 64 MiB of input", |context| {
                exec_input(context, &[])
            }),
            custom("exec -i over WebSockets, 64 MiB of input", |context| {
                exec_input(context, &[(EXEC_SWITCH, "true")])
            })
            .since(31),
            custom("exec -i over SPDY, 64 MiB of input", |context| {
                exec_input(context, &[(EXEC_SWITCH, "false")])
            })
            .since(31),
            custom("cp of 256 MiB into the pod", copy_in),
            custom("exec, 64 MiB of output", exec_output),
            custom("cp of 256 MiB out of the pod", copy_out),
        ],
    }
}

fn exec_input(context: &Context, env: &[(&str, &str)]) -> Result<String> {
    let input = bytes(64 * MIB);
    let invocation = with_env(Invocation::new("exec -i shell -- sha256sum"), env);
    let mut command = invocation.command(
        &context.client.program,
        &context.way.kubeconfig,
        &context.namespace,
    );
    let outcome = invoke::run(&mut command, &input, LIMIT)?;
    ensure!(
        outcome.stdout_text().starts_with(&digest(&input)),
        "the pod did not get what was sent: {}{}",
        outcome.stdout_text(),
        outcome.stderr
    );
    Ok(outcome.transcript())
}

fn exec_output(context: &Context) -> Result<String> {
    let outcome = context.kubectl("exec shell -- head -c 67108864 /tmp/large")?;
    Ok(format!(
        "{} bytes, {} {:?}",
        outcome.stdout.len(),
        digest(&outcome.stdout),
        outcome.code
    ))
}

fn copy_in(context: &Context) -> Result<String> {
    let file = large_file(context.scratch)?;
    let outcome = context.run(&Invocation {
        arguments: ["cp", &file.0, "shell:/tmp/large"]
            .map(str::to_owned)
            .to_vec(),
        ..Invocation::default()
    })?;
    let arrived = context.operate(&Invocation::new("exec shell -- sha256sum /tmp/large"))?;
    ensure!(
        arrived.starts_with(&file.1),
        "another checksum in the pod: {arrived}{}",
        outcome.stderr
    );
    Ok(format!("exit {:?} {arrived}", outcome.code))
}

fn copy_out(context: &Context) -> Result<String> {
    let (_, checksum) = large_file(context.scratch)?;
    let target = context.scratch.join(format!("back-{}", context.namespace));
    let outcome = context.run(&Invocation {
        arguments: vec![
            "cp".into(),
            "shell:/tmp/large".into(),
            target.display().to_string(),
        ],
        ..Invocation::default()
    })?;
    let arrived = file_digest(&target)?;
    fs::remove_file(&target).context("remove a copy")?;
    ensure!(
        arrived == checksum,
        "another checksum after the way back: {}",
        outcome.stderr
    );
    Ok(format!("exit {:?} {arrived}", outcome.code))
}

fn with_env(mut invocation: Invocation, env: &[(&str, &str)]) -> Invocation {
    invocation.env.extend(
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    invocation
}

/// A file of 256 MiB and its checksum.
fn large_file(scratch: &Path) -> Result<(String, String)> {
    let path = scratch.join("large");
    if !path.exists() {
        fs::write(&path, bytes(256 * MIB)).context("write a large file")?;
    }
    let checksum = file_digest(&path)?;
    Ok((path.display().to_string(), checksum))
}

fn file_digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; MIB];
    loop {
        match file.read(&mut buffer).context("read a file")? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Bytes that compress badly, always the same.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
