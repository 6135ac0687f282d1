//! Numbered lines: `logs -f` of a container that counts, and a watch of an object that is counted up.

use std::{
    io::{BufRead as _, BufReader},
    process::ChildStdout,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    client::Client,
    counted::Counted,
    load::{BEGINNING, CATCHING_UP, Load, Tally, within},
    numbers::Numbers,
    world::World,
};

/// How often the watched object changes.
const CHANGES: Duration = Duration::from_millis(100);

/// A kubectl that prints numbered lines.
struct Lines<E> {
    name: &'static str,
    client: Client,
    count: Counted,
    end: E,
}

/// Says which line is the last that must arrive.
trait End {
    fn last(self) -> Result<u64>;
}

impl<E: End> Load for Lines<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn finish(self: Box<Self>) -> Tally {
        let Self {
            mut client,
            count,
            end,
            ..
        } = *self;
        let last = match end.last() {
            Ok(last) => last,
            Err(error) => return count.end(0, vec![format!("{error:#}")]),
        };
        let _ = within(CATCHING_UP, || Ok(count.has(last) || client.has_ended()));
        count.end(last, client.complaints())
    }
}

fn start<E: End + 'static>(
    world: &World<'_>,
    name: &'static str,
    arguments: &[&str],
    end: E,
) -> Result<Box<dyn Load>> {
    let mut kubectl = world.kubectl()?;
    kubectl.args(arguments);
    let (mut client, _, stdout) = Client::start(kubectl, name, world.folder())?;
    let count = Counted::new(Numbers::default());
    let counting = count.clone();
    std::thread::spawn(move || read(stdout, &counting));
    let begun = within(BEGINNING, || Ok(count.has_begun() || client.has_ended()))?;
    ensure!(
        begun && !client.has_ended(),
        "{name}: no line came: {:?}",
        client.complaints()
    );
    Ok(Box::new(Lines {
        name,
        client,
        count,
        end,
    }))
}

fn read(stdout: ChildStdout, count: &Counted) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        count.take(line.parse().ok(), line.len() + 1, &line);
    }
}

/// `logs -f` of the container that counts.
pub(super) fn logs(world: &World<'_>) -> Result<Box<dyn Load>> {
    let arguments = ["logs", "--follow", "--tail=1", "counter"];
    start(world, "logs -f", &arguments, LastLine(world.operator()?))
}

/// What the container has printed last, asked for without the tunnel.
struct LastLine(std::process::Command);

impl End for LastLine {
    fn last(mut self) -> Result<u64> {
        let output = self.0.args(["logs", "--tail=1", "counter"]).output()?;
        let line = String::from_utf8_lossy(&output.stdout);
        line.trim()
            .parse()
            .with_context(|| format!("the last line of the log is {line:?}: {output:?}"))
    }
}

/// A watch of an object that changes ten times a second.
pub(super) fn watch(world: &World<'_>) -> Result<Box<dyn Load>> {
    let changing = Changing::start(world)?;
    let format = "jsonpath={.data.count}{\"\\n\"}";
    // Of a list: of one object by its name, kubectl leaves out what changes before its watch begins.
    let only = "--field-selector=metadata.name=counted";
    let arguments = ["get", "configmaps", only, "--watch", "-o", format];
    start(world, "watch", &arguments, changing)
}

/// Counts an object up, without the tunnel, until it is dropped.
struct Changing {
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
    writing: JoinHandle<Result<u64>>,
}

impl Changing {
    fn start(world: &World<'_>) -> Result<Self> {
        let objects = Api::default_namespaced(world.direct_client());
        let first = world.next_count();
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Handle::current();
        let writing = runtime.spawn(count_up(objects, first, stopped));
        Ok(Self {
            stop,
            runtime,
            writing,
        })
    }
}

impl End for Changing {
    fn last(self) -> Result<u64> {
        self.stop.send_replace(true);
        self.runtime.block_on(self.writing)?
    }
}

/// Writes one number after the other; the last one.
async fn count_up(
    objects: Api<k8s_openapi::api::core::v1::ConfigMap>,
    first: u64,
    mut stopped: watch::Receiver<bool>,
) -> Result<u64> {
    let mut number = first;
    loop {
        let patch = serde_json::json!({"data": {"count": number.to_string()}});
        objects
            .patch("counted", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .context("count an object up")?;
        let stop = stopped.wait_for(|stop| *stop);
        // A sender that is gone ends it as well.
        if tokio::time::timeout(CHANGES, stop).await.is_ok() {
            return Ok(number);
        }
        number += 1;
    }
}
