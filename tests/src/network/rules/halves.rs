//! One direction of a stream ends, the link is cut, and the other direction goes on to its end.
//!
//! It is always the client's that ends first. When a container's output ends, the container runtime
//! ends its input; when a pod ends its direction of a forwarded connection, kubectl ends the other;
//! and kube-apiserver ends both directions of an upgraded connection when one has ended. All of that
//! is so without a tunnel, so the other half is a matter of the tunnel's own tests.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
};

use anyhow::{Context as _, Result, ensure};
use testbed::BUSYBOX;
use tokio::task::block_in_place;

use super::{LIMIT, Upgrade, cut, ended_well, line, to_the_end};
use crate::network::{
    client::Client,
    forwarding::Forward,
    pod::{ANSWER, LARGE, Port},
    world::{World, run},
};

/// Tells how much it has read, then writes a lot, and ends when that has had time to arrive.
const INPUT_FIRST: &str = "wc -c; sleep 1; head -c 4194304 /dev/zero; sleep 4";

pub(super) async fn exec_input_first(world: &World<'_>) -> Result<String> {
    for upgrade in Upgrade::BOTH {
        let arguments = ["exec", "-i", "shell", "--", "sh", "-c", INPUT_FIRST];
        input_first(world, upgrade, &arguments).await?;
    }
    Ok(format!("{LARGE} bytes after it, both ways to upgrade"))
}

pub(super) async fn attach_input_first(world: &World<'_>) -> Result<String> {
    for upgrade in Upgrade::BOTH {
        let pod = upgrade.name("input-first");
        start_pod(world, &pod, INPUT_FIRST)?;
        input_first(world, upgrade, &["attach", "-i", "-q", &pod]).await?;
    }
    Ok(format!("{LARGE} bytes after it, both ways to upgrade"))
}

async fn input_first(world: &World<'_>, upgrade: Upgrade, arguments: &[&str]) -> Result<()> {
    let mut kubectl = upgrade.kubectl(world)?;
    kubectl.args(arguments);
    let name = upgrade.name(&format!("{}-input", arguments[0]));
    let (mut client, mut stdin, mut stdout) = Client::start(kubectl, &name, world.folder())?;
    client.end_after(2 * LIMIT);
    let counted = block_in_place(|| {
        stdin.write_all(&vec![b'x'; LARGE])?;
        drop(stdin);
        line(&mut stdout)
    })?;
    ensure!(
        counted == LARGE.to_string(),
        "{upgrade:?}: {counted:?} bytes of input came: {:?}",
        client.complaints()
    );
    let reading = to_the_end(stdout);
    cut(world).await?;
    block_in_place(|| {
        ended_well(&mut client).with_context(|| format!("{upgrade:?}"))?;
        let read = reading.join().unwrap_or_else(|_| Ok(Vec::new()))?;
        ensure!(
            read.len() == LARGE && read.iter().all(|byte| *byte == 0),
            "{upgrade:?}: {} bytes of output came",
            read.len()
        );
        Ok(())
    })
}

/// A pod to whose one program people attach.
fn start_pod(world: &World<'_>, name: &str, script: &str) -> Result<()> {
    let mut start = world.operator()?;
    start
        .args(["run", name, "--image", BUSYBOX, "--image-pull-policy=Never"])
        .args(["-i", "--attach=false", "--restart=Never", "--command"])
        .args(["--", "sh", "-c", script]);
    run(start)?;
    let mut wait = world.operator()?;
    let pod = format!("pod/{name}");
    wait.args(["wait", &pod, "--for=condition=Ready", "--timeout=60s"]);
    run(wait)
}

/// That the client has ended does not reach the pod: containerd forwards no half-close, and ends the
/// connection half a second later. What the pod has sent until then is less than what the parts of
/// the cluster take while the link is cut.
pub(super) async fn forward_client_first(world: &World<'_>) -> Result<String> {
    for upgrade in Upgrade::BOTH {
        let name = upgrade.name("forward-half");
        let forward = Forward::start(world, upgrade.kubectl(world)?, &name, Port::AnswersLate)?;
        let mut stream = forward.dial()?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"word\n")?;
        stream.shutdown(Shutdown::Write)?;
        cut(world).await?;
        let mut read = Vec::new();
        block_in_place(|| stream.read_to_end(&mut read)).with_context(|| format!("{upgrade:?}"))?;
        ensure!(
            read.len() == ANSWER,
            "{upgrade:?}: {} bytes came",
            read.len()
        );
    }
    Ok(format!("{ANSWER} bytes after it, both ways to upgrade"))
}
