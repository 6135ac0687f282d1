//! Watches that see changes.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::table::{Context, Invocation, Scenario, custom};

const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "watch",
        prepare: vec![Invocation::new("create configmap first")],
        steps: vec![
            custom(
                "get configmaps --watch sees add, change and delete",
                |context| see_changes(context, "get configmaps --watch -o name", "two"),
            ),
            custom("get configmaps --watch --output-watch-events", |context| {
                see_changes(
                    context,
                    "get configmaps --watch --output-watch-events --no-headers",
                    "three",
                )
            }),
            custom("get --watch-only in JSON", |context| {
                see_changes(
                    context,
                    "get configmaps --watch-only -o jsonpath={.metadata.name}{.data}{\"\\n\"}",
                    "four",
                )
            }),
        ],
    }
}

/// Starts a watch, makes changes once it has begun, and returns the lines up to the last of them.
fn see_changes(context: &Context, watch: &str, name: &str) -> Result<String> {
    let mut child = context
        .command(watch)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start a watch")?;
    let stdout = child.stdout.take().context("standard output")?;
    let (sender, receiver) = mpsc::sync_channel(1000);
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let result = changes(context, name, &receiver);
    child.kill().context("end a watch")?;
    child.wait().context("wait for a watch")?;
    drop(receiver);
    let _ = reader.join();
    result
}

fn changes(context: &Context, name: &str, lines: &mpsc::Receiver<String>) -> Result<String> {
    let start = Instant::now();
    // Objects made before the watch began are not seen; probe until one is.
    let mut probe = 0;
    while !drain_until(lines, Duration::from_secs(1), &format!("{name}-probe"))?.1 {
        if start.elapsed() > LIMIT {
            bail!("the watch showed nothing within {LIMIT:?}");
        }
        context.operate(&Invocation::new(&format!(
            "create configmap {name}-probe-{probe}"
        )))?;
        probe += 1;
    }
    // Whatever else the probes cause comes before this.
    context.operate(&Invocation::new(&format!("create configmap {name}-begin")))?;
    drain_until(lines, LIMIT, &format!("{name}-begin"))?;
    for change in [
        format!("create configmap {name}-object --from-literal=a=b"),
        format!("patch configmap {name}-object -p '{{\"data\": {{\"a\": \"c\"}}}}'"),
        format!("delete configmap {name}-object"),
        format!("create configmap {name}-end"),
    ] {
        context.operate(&Invocation::new(&change))?;
    }
    let (seen, is_complete) = drain_until(lines, LIMIT, &format!("{name}-end"))?;
    if !is_complete {
        bail!(
            "the watch did not show the last change; it showed:\n{}",
            seen.join("\n")
        );
    }
    Ok(seen.join("\n"))
}

/// The lines up to one that contains `mark`, and whether it came within `limit`.
fn drain_until(
    lines: &mpsc::Receiver<String>,
    limit: Duration,
    mark: &str,
) -> Result<(Vec<String>, bool)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                let is_last = line.contains(mark);
                seen.push(line);
                if is_last {
                    return Ok((seen, true));
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return Ok((seen, false)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("the watch ended by itself after:\n{}", seen.join("\n"));
            }
        }
    }
}
