//! What must hold besides that nothing is lost: streams in halves, silence, and the first request after it.

mod halves;
mod independence;
mod silence;

use std::{
    io::Read as _,
    process::{ChildStdout, Command},
    time::Duration,
};

use anyhow::{Result, ensure};
use futures::FutureExt as _;

use super::{client::Client, faults::RESETTING, load::within, world::World};
use crate::cases::Case;

/// How long a stream may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// A rule by its name.
pub type Rule<'a> = (&'static str, Case<World<'a>>);

/// All rules.
#[must_use]
pub fn rules<'a>() -> Vec<Rule<'a>> {
    vec![
        ("exec: input ends first", |world| {
            halves::exec_input_first(world).boxed_local()
        }),
        ("attach: input ends first", |world| {
            halves::attach_input_first(world).boxed_local()
        }),
        ("port-forward: the client ends first", |world| {
            halves::forward_client_first(world).boxed_local()
        }),
        ("exec: input that nobody reads", |world| {
            independence::exec_input_full(world).boxed_local()
        }),
        ("exec: output that nobody reads", |world| {
            independence::exec_output_full(world).boxed_local()
        }),
        ("port-forward: an upload that nobody reads", |world| {
            independence::forward_upload_full(world).boxed_local()
        }),
        ("port-forward: a download that nobody reads", |world| {
            independence::forward_download_full(world).boxed_local()
        }),
        ("a request after a reset", |world| {
            silence::after_a_reset(world).boxed_local()
        }),
        ("silence is noticed by both ends", |world| {
            silence::noticed(world).boxed_local()
        }),
        (
            "an idle session behind a NAT that forgets after 3 s",
            |world| silence::idle(world).boxed_local(),
        ),
        ("requests during a long silence and after it", |world| {
            silence::long(world).boxed_local()
        }),
    ]
}

/// The two ways in which kubectl upgrades a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    WebSocket,
    Spdy,
}

impl Upgrade {
    const BOTH: [Self; 2] = [Self::WebSocket, Self::Spdy];

    /// kubectl that upgrades in this way.
    fn kubectl(self, world: &World<'_>) -> Result<Command> {
        let mut kubectl = world.kubectl()?;
        let websockets = (self == Self::WebSocket).to_string();
        for name in [
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS",
            "KUBECTL_PORT_FORWARD_WEBSOCKETS",
        ] {
            kubectl.env(name, &websockets);
        }
        Ok(kubectl)
    }

    /// A name for what is kept of it.
    fn name(self, rule: &str) -> String {
        format!("{rule}-{self:?}").to_lowercase()
    }
}

/// Resets the link once, unless the rules are tried without cuts.
async fn cut(world: &World<'_>) -> Result<()> {
    if !world.cuts() {
        return Ok(());
    }
    let network = world.network()?;
    network.reject()?;
    tokio::time::sleep(RESETTING).await;
    Ok(network.mend()?)
}

/// Waits until kubectl has ended as it should.
fn ended_well(client: &mut Client) -> Result<()> {
    let ended = within(LIMIT, || Ok(client.has_ended()))?;
    let complaints = client.complaints();
    ensure!(
        ended && client.code() == Some(0) && complaints.len() == 1,
        "{complaints:?}"
    );
    Ok(())
}

/// Reads to the end on a thread of its own; whoever joins it knows that the end came.
fn to_the_end(mut stdout: ChildStdout) -> std::thread::JoinHandle<std::io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut read = Vec::new();
        stdout.read_to_end(&mut read).map(|_| read)
    })
}

/// One line, a byte at a time, so that what follows stays where it is.
fn line(stdout: &mut impl std::io::Read) -> Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && stdout.read(&mut byte)? == 1 {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
