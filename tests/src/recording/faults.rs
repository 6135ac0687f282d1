//! Sessions that cannot be recorded, or not to their end; and who must be recorded.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use serde_json::{Value, json};

use super::{LIMIT, Way, World};
use crate::cases::Case;
use crate::table::invoke;

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("a connection that is cut", |world| cut(world).boxed()),
        ("a full disk ends a session", |world| full(world).boxed()),
        ("a full disk refuses a session", |world| {
            refused(world).boxed()
        }),
        ("a deleted recording ends its session", |world| {
            deleted(world).boxed()
        }),
        ("a role demands it, and closes other ways", |world| {
            role(world).boxed()
        }),
    ]
}

const CHATTER: &str = "while true; do echo tick; sleep 0.1; done";

/// A session that prints without end, after its first line.
fn chatter(world: &World<'_>, way: Way) -> Result<Child> {
    let mut kubectl = world.kubectl(way, &["exec", "shell", "--", "sh", "-c", CHATTER])?;
    let piped = kubectl.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.as_mut().context("no output")?;
    let mut line = [0; 5];
    stdout.read_exact(&mut line)?;
    ensure!(line == *b"tick\n", "{line:?}");
    Ok(child)
}

/// Waits until it ends by itself; what it says then.
fn last_words(mut child: Child) -> Result<String> {
    let began = Instant::now();
    // What it prints must be read, or it never ends.
    let stdout = child.stdout.take().context("no output")?;
    let reader = std::thread::spawn(move || BufReader::new(stdout).lines().count());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > LIMIT {
            child.kill()?;
            anyhow::bail!("it goes on");
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    };
    ensure!(!status.success(), "it ended as if nothing were wrong");
    let _ = reader.join();
    let mut words = String::new();
    let stderr = child.stderr.as_mut().context("no errors")?;
    stderr.read_to_string(&mut words)?;
    Ok(words)
}

async fn cut(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let session = || {
            let mut child = chatter(world, way)?;
            child.kill()?;
            child.wait()?;
            Ok(())
        };
        let ((), recorded) = world.recorded(session).await?;
        let status = recorded.status();
        ensure!(
            status["phase"] == "Complete" && status["exitCode"].is_null(),
            "{status}"
        );
        let output = recorded.output();
        ensure!(output.starts_with("tick\r\n"), "{output:?}");
    }
    Ok("is recorded until then".to_owned())
}

async fn full(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let session = || {
            let child = chatter(world, way)?;
            let filler = world.disk.fill()?;
            let words = last_words(child)?;
            drop(filler);
            Ok(words)
        };
        let (words, recorded) = world.recorded(session).await?;
        ensure!(
            words.contains("cannot be any longer"),
            "kubectl says {words:?}"
        );
        ensure!(words.contains("No space left"), "kubectl says {words:?}");
        let reason = recorded.status()["reason"].to_string();
        ensure!(reason.contains("No space left"), "{reason}");
    }
    Ok("and kubectl says why".to_owned())
}

async fn refused(world: &World<'_>) -> Result<String> {
    let before = world.names().await?;
    let filler = world.disk.fill()?;
    for way in Way::BOTH {
        let run = || world.run(way, &["exec", "shell", "--", "touch", "/tmp/unseen"], "");
        let outcome = tokio::task::block_in_place(run)?;
        ensure!(outcome.code == Some(1), "{}", outcome.transcript());
        ensure!(
            outcome.stderr.contains("must be recorded"),
            "{}",
            outcome.transcript()
        );
    }
    drop(filler);
    let run = || world.run(Way::Spdy, &["exec", "shell", "--", "ls", "/tmp/unseen"], "");
    let outcome = tokio::task::block_in_place(run)?;
    ensure!(
        outcome.code == Some(1),
        "it was run: {}",
        outcome.transcript()
    );
    let recorded = world.since(&before).await?;
    ensure!(recorded.len() == 1, "{recorded:?}");
    Ok("before anything is run; with room again, one begins".to_owned())
}

async fn deleted(world: &World<'_>) -> Result<String> {
    let before = world.names().await?;
    let child = tokio::task::block_in_place(|| chatter(world, Way::WebSocket))?;
    let now = world.names().await?;
    let name = now.difference(&before).next().context("no recording")?;
    let folder = world
        .folder
        .join("server/data/recordings")
        .join(&world.stage.id);
    std::fs::remove_file(folder.join(format!("{name}.cast")))?;
    let words = tokio::task::block_in_place(|| last_words(child))?;
    ensure!(
        words.contains("its recording was deleted"),
        "kubectl says {words:?}"
    );
    Ok("and kubectl says why".to_owned())
}

async fn role(world: &World<'_>) -> Result<String> {
    world.demand(Value::Null).await?;
    let (_, watched) = world
        .somebody("watched", json!({"sessionRecording": "required"}))
        .await?;
    let (_, trusted) = world.somebody("trusted", json!({})).await?;
    let kubectl = |config: &std::path::Path, arguments: &[&str]| {
        let mut kubectl = world.kubectl(Way::WebSocket, arguments)?;
        let kubectl = kubectl.env("KUBECONFIG", config);
        tokio::task::block_in_place(|| invoke::run(kubectl, b"", LIMIT))
    };
    let exec = ["exec", "shell", "--", "echo", "hello"];
    let before = world.names().await?;
    let outcome = kubectl(&trusted, &exec)?;
    ensure!(
        outcome.stdout_text() == "hello\n",
        "{}",
        outcome.transcript()
    );
    ensure!(
        world.names().await? == before,
        "who need not be is recorded"
    );
    let outcome = kubectl(&watched, &exec)?;
    ensure!(
        outcome.stdout_text() == "hello\n",
        "{}",
        outcome.transcript()
    );
    let recorded = world.since(&before).await?;
    let [one] = recorded.as_slice() else {
        anyhow::bail!("{} recordings", recorded.len());
    };
    ensure!(one.object["spec"]["username"] == "watched", "{one:?}");
    // The kubelet runs commands as well.
    let nodes = kubectl(
        &trusted,
        &["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"],
    )?;
    let node = nodes.stdout_text();
    let run = format!("/api/v1/nodes/{node}/proxy/run/default/shell/shell?cmd=hostname");
    let outcome = kubectl(&trusted, &["create", "--raw", &run, "-f", "/dev/null"])?;
    ensure!(
        outcome.stdout_text().contains("shell"),
        "{}",
        outcome.transcript()
    );
    let outcome = kubectl(&watched, &["create", "--raw", &run, "-f", "/dev/null"])?;
    ensure!(
        outcome.stderr.contains("must be recorded"),
        "{}",
        outcome.transcript()
    );
    let metrics = format!("/api/v1/nodes/{node}/proxy/metrics");
    let outcome = kubectl(&watched, &["get", "--raw", &metrics])?;
    ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    world.demand(json!({"required": true})).await?;
    Ok("exec is recorded, the node's own API is closed".to_owned())
}
