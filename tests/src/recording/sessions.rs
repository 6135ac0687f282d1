//! Sessions as people have them, and what is recorded of them.

use anyhow::{Result, ensure};
use futures::FutureExt as _;
use serde_json::json;

use super::{Recorded, Way, World};
use crate::cases::Case;

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("exec: output, errors and exit code", |world| {
            output(world).boxed()
        }),
        ("exec: what is typed is not recorded", |world| {
            unrecorded_input(world).boxed()
        }),
        (
            "exec: what is typed is recorded where it is asked for",
            |world| recorded_input(world).boxed(),
        ),
        ("exec: a terminal and the size of its window", |world| {
            terminal(world).boxed()
        }),
        ("exec: three megabytes", |world| large(world).boxed()),
        ("exec: text that is no UTF-8", |world| bytes(world).boxed()),
        ("attach", |world| attach(world).boxed()),
        ("cp", |world| copy(world).boxed()),
        ("debug: attach to an ephemeral container", |world| {
            debug(world).boxed()
        }),
        ("exec: refused by the cluster", |world| {
            refused(world).boxed()
        }),
        ("port-forward and logs are not recorded", |world| {
            others(world).boxed()
        }),
    ]
}

fn check(recorded: &Recorded, code: &str, expected: &str) -> Result<()> {
    let found = recorded.texts(code);
    ensure!(
        found == expected,
        "{found:?} instead of {expected:?}: {recorded:?}"
    );
    Ok(())
}

async fn output(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let command = "echo out; sleep 0.2; echo err >&2; sleep 0.2; exit 3";
        let arguments = ["exec", "shell", "--", "sh", "-c", command];
        let (outcome, recorded) = world.recorded(|| world.run(way, &arguments, "")).await?;
        ensure!(outcome.code == Some(3), "{}", outcome.transcript());
        ensure!(outcome.stdout_text() == "out\n", "{}", outcome.transcript());
        check(&recorded, "o", "out\r\nerr\r\n")?;
        let status = recorded.status();
        ensure!(
            status["exitCode"] == 3 && status["phase"] == "Complete",
            "{status}"
        );
        let spec = &recorded.object["spec"];
        let expected = json!(["sh", "-c", command]);
        ensure!(
            spec["command"] == expected && spec["action"] == "exec",
            "{spec}"
        );
        ensure!(
            spec["podNamespace"] == "default" && spec["pod"] == "shell",
            "{spec}"
        );
        ensure!(
            spec["username"] == "admin" && spec["terminal"] == false,
            "{spec}"
        );
        let header = &recorded.header;
        ensure!(
            header["version"] == 2 && header["session"] == *spec,
            "{header}"
        );
    }
    Ok("the same over WebSocket and SPDY".to_owned())
}

async fn unrecorded_input(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let arguments = ["exec", "-i", "shell", "--", "sh", "-c", "wc -c"];
        let run = || world.run(way, &arguments, "very secret");
        let (outcome, recorded) = world.recorded(run).await?;
        ensure!(outcome.code == Some(0), "{}", outcome.transcript());
        check(&recorded, "o", "11\r\n")?;
        check(&recorded, "i", "")?;
    }
    Ok("no trace of it".to_owned())
}

async fn recorded_input(world: &World<'_>) -> Result<String> {
    world
        .demand(json!({"required": true, "input": true}))
        .await?;
    for way in Way::BOTH {
        let arguments = ["exec", "-i", "shell", "--", "tr", "a-z", "A-Z"];
        let (_, recorded) = world
            .recorded(|| world.run(way, &arguments, "typed\n"))
            .await?;
        check(&recorded, "i", "typed\n")?;
        check(&recorded, "o", "TYPED\r\n")?;
    }
    world.demand(json!({"required": true})).await?;
    Ok("as it was".to_owned())
}

async fn terminal(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        // The size arrives a moment after the start of the program.
        let arguments =
            "exec -it shell -- sh -c 'sleep 1; stty size; read word; echo got $word; exit 5'";
        let run = || world.in_terminal(way, arguments, "typed\n");
        let (outcome, recorded) = world.recorded(run).await?;
        ensure!(outcome.code == Some(5), "{}", outcome.transcript());
        let output = recorded.output();
        ensure!(
            output.contains("33 111") && output.contains("got typed"),
            "{output:?}"
        );
        let sizes = recorded.texts("r");
        ensure!(sizes.contains("111x33"), "{sizes:?}");
        ensure!(recorded.object["spec"]["terminal"] == true, "{recorded:?}");
        ensure!(recorded.status()["exitCode"] == 5, "{recorded:?}");
    }
    Ok("111x33, and what was printed".to_owned())
}

async fn large(world: &World<'_>) -> Result<String> {
    const LENGTH: usize = 3_000_000;
    for way in Way::BOTH {
        let command = format!("head -c {LENGTH} /dev/zero | tr '\\0' x");
        let arguments = ["exec", "shell", "--", "sh", "-c", &command];
        let (outcome, recorded) = world.recorded(|| world.run(way, &arguments, "")).await?;
        ensure!(
            outcome.stdout.len() == LENGTH,
            "kubectl got {}",
            outcome.stdout.len()
        );
        let output = recorded.output();
        ensure!(output.len() == LENGTH, "recorded are {}", output.len());
        ensure!(
            output.bytes().all(|byte| byte == b'x'),
            "something else is in it"
        );
    }
    Ok("all of it".to_owned())
}

async fn bytes(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let command = "printf 'a\\377b'; sleep 0.3; printf '\\342'; sleep 0.3; printf '\\202\\254'";
        let arguments = ["exec", "shell", "--", "sh", "-c", command];
        let (outcome, recorded) = world.recorded(|| world.run(way, &arguments, "")).await?;
        ensure!(
            outcome.stdout == b"a\xffb\xe2\x82\xac",
            "{}",
            outcome.transcript()
        );
        check(&recorded, "o", "a\u{fffd}b€")?;
    }
    Ok("replaced, and put together".to_owned())
}

async fn attach(world: &World<'_>) -> Result<String> {
    for way in Way::BOTH {
        let mut kubectl = world.kubectl(way, &["attach", "-i", "reader"])?;
        let attached = || {
            use std::io::{Read as _, Write as _};
            use std::process::Stdio;
            let piped = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = piped.stderr(Stdio::null()).spawn()?;
            let (stdin, stdout) = (child.stdin.as_mut(), child.stdout.as_mut());
            if let (Some(stdin), Some(stdout)) = (stdin, stdout) {
                stdin.write_all(b"hello\n")?;
                stdin.flush()?;
                let mut echoed = [0; 6];
                stdout.read_exact(&mut echoed)?;
                ensure!(echoed == *b"hello\n", "{echoed:?}");
            }
            // The container goes on; it is the client that leaves.
            child.kill()?;
            child.wait()?;
            Ok(())
        };
        let ((), recorded) = world.recorded(attached).await?;
        let spec = &recorded.object["spec"];
        ensure!(
            spec["action"] == "attach" && spec["pod"] == "reader",
            "{spec}"
        );
        check(&recorded, "o", "hello\r\n")?;
    }
    Ok("recorded until the client left".to_owned())
}

async fn copy(world: &World<'_>) -> Result<String> {
    let before = world.names().await?;
    let arguments = ["cp", "/etc/hostname", "shell:/tmp/copied"];
    let outcome = tokio::task::block_in_place(|| world.run(Way::WebSocket, &arguments, ""))?;
    ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    let recorded = world.since(&before).await?;
    let tars = recorded.iter().filter(|one| {
        let command = one.object["spec"]["command"].to_string();
        command.contains("tar")
    });
    ensure!(tars.count() == 1, "{recorded:?}");
    Ok("is an exec of tar".to_owned())
}

async fn debug(world: &World<'_>) -> Result<String> {
    let image = format!("--image={}", testbed::BUSYBOX);
    let arguments = [
        "debug",
        "shell",
        &image,
        "--image-pull-policy=Never",
        "-c",
        "inspector",
        "-i",
        "--",
        "sh",
        "-c",
        "read word; echo seen $word; sleep 1",
    ];
    let run = || world.run(Way::WebSocket, &arguments, "me\n");
    let (outcome, recorded) = world.recorded(run).await?;
    let spec = &recorded.object["spec"];
    ensure!(
        spec["action"] == "attach" && spec["container"] == "inspector",
        "{spec}"
    );
    check(&recorded, "o", &outcome.stdout_text().replace('\n', "\r\n"))?;
    Ok("is recorded".to_owned())
}

async fn refused(world: &World<'_>) -> Result<String> {
    let before = world.names().await?;
    for way in Way::BOTH {
        let run = || world.run(way, &["exec", "missing", "--", "true"], "");
        let outcome = tokio::task::block_in_place(run)?;
        ensure!(
            outcome.stderr.contains("not found"),
            "{}",
            outcome.transcript()
        );
    }
    // What was begun for it is taken away behind the answer.
    let began = std::time::Instant::now();
    while world.names().await? != before {
        ensure!(
            began.elapsed() < super::LIMIT,
            "a recording of nothing stays"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok("leaves nothing".to_owned())
}

async fn others(world: &World<'_>) -> Result<String> {
    let before = world.names().await?;
    let run = |arguments: &[&str]| world.run(Way::WebSocket, arguments, "");
    let outcome = tokio::task::block_in_place(|| run(&["logs", "reader"]))?;
    ensure!(outcome.code == Some(0), "{}", outcome.transcript());
    let mut forward = world.kubectl(Way::WebSocket, &["port-forward", "pod/shell", ":8080"])?;
    let forwarded = tokio::task::block_in_place(|| -> Result<String> {
        use std::io::{BufRead as _, BufReader};
        let mut child = forward.stdout(std::process::Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        child.kill()?;
        child.wait()?;
        Ok(line)
    })?;
    ensure!(forwarded.contains("Forwarding from"), "{forwarded:?}");
    ensure!(world.names().await? == before, "something was recorded");
    Ok("and work".to_owned())
}
