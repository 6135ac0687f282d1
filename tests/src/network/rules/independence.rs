//! One direction of a stream stands still because nobody reads it; the other goes on.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sha2::{Digest as _, Sha256};
use tokio::task::block_in_place;

use super::{LIMIT, Upgrade, cut};
use crate::network::{
    client::Client,
    forwarding::Forward,
    load::within,
    pod::{LARGE, Port},
    world::World,
};

/// Twenty times a second, and it reads nothing.
const TICKING: &str = "while :; do echo tick; usleep 50000; done";

/// So many of them have to come after the other direction was filled.
const TICKS: usize = 60;

/// Writes without end, and reads what is counted.
const FLOODING: &str = "cat /dev/zero & cat > /tmp/taken";

/// How much is sent past a flood.
const PAST: usize = 1 << 20;

/// How long a direction takes nothing when it is full.
const FULL: Duration = Duration::from_secs(2);

pub(super) async fn exec_input_full(world: &World<'_>) -> Result<String> {
    let mut slowest = Duration::ZERO;
    for upgrade in Upgrade::BOTH {
        let mut kubectl = upgrade.kubectl(world)?;
        kubectl.args(["exec", "-i", "shell", "--", "sh", "-c", TICKING]);
        let name = upgrade.name("input-full");
        let (mut client, stdin, stdout) = Client::start(kubectl, &name, world.folder())?;
        client.end_after(2 * LIMIT);
        let took = ticks_on(world, upgrade, stdin, stdout).await?;
        slowest = slowest.max(took);
    }
    Ok(format!("{TICKS} lines took {slowest:.1?} at most"))
}

pub(super) async fn forward_upload_full(world: &World<'_>) -> Result<String> {
    let mut slowest = Duration::ZERO;
    for upgrade in Upgrade::BOTH {
        let name = upgrade.name("upload-full");
        let forward = Forward::start(world, upgrade.kubectl(world)?, &name, Port::OnlyTicks)?;
        let stream = forward.dial()?;
        stream.set_read_timeout(Some(LIMIT))?;
        let took = ticks_on(world, upgrade, stream.try_clone()?, stream).await?;
        slowest = slowest.max(took);
    }
    Ok(format!("{TICKS} lines took {slowest:.1?} at most"))
}

/// Fills one direction, cuts the link, and waits for ticks from the other.
async fn ticks_on(
    world: &World<'_>,
    upgrade: Upgrade,
    to: impl Write + Send + 'static,
    from: impl std::io::Read,
) -> Result<Duration> {
    let written = fill(to);
    let mut from = BufReader::new(from).lines();
    block_in_place(|| -> Result<()> {
        let (mut last, mut since) = (0, Instant::now());
        // What is not read while waiting would itself fill a direction.
        while since.elapsed() < FULL {
            let line = from.next().transpose()?;
            ensure!(line.as_deref() == Some("tick"), "{upgrade:?}: {line:?}");
            let now = written.load(std::sync::atomic::Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            }
            ensure!(now < 1 << 30, "{upgrade:?}: a gigabyte that nobody reads");
        }
        Ok(())
    })?;
    cut(world).await?;
    let started = Instant::now();
    block_in_place(|| {
        for _ in 0..TICKS {
            let line = from.next().transpose()?;
            ensure!(line.as_deref() == Some("tick"), "{upgrade:?}: {line:?}");
        }
        let took = started.elapsed();
        ensure!(took < LIMIT, "{upgrade:?}: {TICKS} lines took {took:.1?}");
        Ok(took)
    })
}

/// Writes until it is refused; how much it has written.
fn fill(mut to: impl Write + Send + 'static) -> std::sync::Arc<std::sync::atomic::AtomicUsize> {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = std::sync::Arc::clone(&written);
    std::thread::spawn(move || {
        let block = [b'x'; 16384];
        while let Ok(count @ 1..) = to.write(&block) {
            counting.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        }
    });
    written
}

pub(super) async fn exec_output_full(world: &World<'_>) -> Result<String> {
    for upgrade in Upgrade::BOTH {
        let mut kubectl = upgrade.kubectl(world)?;
        kubectl.args(["exec", "-i", "shell", "--", "sh", "-c", FLOODING]);
        let name = upgrade.name("output-full");
        let (mut client, mut stdin, mut stdout) = Client::start(kubectl, &name, world.folder())?;
        client.end_after(2 * LIMIT);
        block_in_place(|| stdout.read_exact(&mut [0; 1]))?;
        cut(world).await?;
        let mut taken = String::new();
        let came = block_in_place(|| -> Result<bool> {
            stdin.write_all(&vec![b'x'; PAST])?;
            stdin.flush()?;
            within(LIMIT, || {
                let mut count = world.operator()?;
                let script = "wc -c < /tmp/taken";
                let count = count.args(["exec", "shell", "--", "sh", "-c", script]);
                taken = String::from_utf8_lossy(&count.output()?.stdout).into_owned();
                Ok(taken.trim() == PAST.to_string())
            })
        })?;
        ensure!(
            came,
            "{upgrade:?}: of {PAST} bytes came {taken:?}: {:?}",
            client.complaints()
        );
        drop(stdout);
    }
    Ok(format!("{PAST} bytes went past it"))
}

pub(super) async fn forward_download_full(world: &World<'_>) -> Result<String> {
    for upgrade in Upgrade::BOTH {
        let name = upgrade.name("download-full");
        let forward = Forward::start(world, upgrade.kubectl(world)?, &name, Port::Floods)?;
        let mut stream = forward.dial()?;
        stream.set_read_timeout(Some(LIMIT))?;
        block_in_place(|| stream.read_exact(&mut [0; 1]))?;
        cut(world).await?;
        // Another one each time, so that each has a line of its own in the log.
        let fill = if upgrade == Upgrade::Spdy { b's' } else { b'w' };
        let sent = vec![fill; LARGE];
        let wanted = hex::encode(Sha256::digest(&sent));
        block_in_place(|| -> Result<()> {
            stream.set_write_timeout(Some(LIMIT))?;
            stream.write_all(&sent)?;
            let came = within(LIMIT, || {
                let mut logs = world.operator()?;
                let output = logs.args(["logs", "peer"]).output()?;
                Ok(String::from_utf8_lossy(&output.stdout).contains(&wanted))
            })?;
            ensure!(came, "{upgrade:?}: the upload did not arrive");
            Ok(())
        })?;
    }
    Ok(format!("{LARGE} bytes went past it"))
}
