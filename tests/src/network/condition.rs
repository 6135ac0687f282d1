//! What the network is like for as long as the loads run.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Network, Quality, Wire};

use super::world::World;

/// A state of the network in which everything has to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    /// The gateway forgets connections that are idle for so many seconds.
    IdleTimeout(u32),
    /// So many of a hundred packets are lost, in each direction.
    Loss(u8),
    /// So many megabits a second, in each direction.
    Bandwidth(u32),
    Wire(Quality),
}

/// What Linux has of itself (five days).
const USUAL_IDLE_TIMEOUT: u32 = 432_000;

/// A condition; the network is sound again when it is dropped.
pub(super) struct Standing<'a> {
    network: &'a Network,
    condition: Condition,
    wire: Option<Wire<'a>>,
}

impl Condition {
    /// Brings it about, and looks whether it is there where that can be measured.
    pub(super) fn set<'a>(self, world: &'a World<'_>) -> Result<Standing<'a>> {
        let network = world.network()?;
        let mut standing = Standing {
            network,
            condition: self,
            wire: None,
        };
        match self {
            Self::Sound => {}
            Self::IdleTimeout(seconds) => network.set_idle_timeout(seconds)?,
            Self::Loss(percent) => network.lose(percent)?,
            Self::Bandwidth(megabits) => network.limit_bandwidth(megabits)?,
            Self::Wire(quality) => {
                standing.wire = Some(network.wire(quality)?);
                let measured = dial(world)?;
                ensure!(
                    measured >= 2 * quality.delay,
                    "a round trip takes {measured:?} through a wire of {:?}",
                    quality.delay
                );
            }
        }
        Ok(standing)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let healed = match self.condition {
            Condition::Sound => Ok(()),
            Condition::IdleTimeout(_) => self.network.set_idle_timeout(USUAL_IDLE_TIMEOUT),
            Condition::Loss(_) => self.network.heal(),
            Condition::Bandwidth(_) => self.network.lift_bandwidth_limit(),
            Condition::Wire(_) => {
                self.wire = None;
                Ok(())
            }
        };
        if let Err(error) = healed {
            #[expect(clippy::print_stderr, reason = "what follows may fail because of it")]
            {
                eprintln!("the network is left as it was made: {error}");
            }
        }
    }
}

/// How long the cluster takes to reach the server: one round trip.
fn dial(world: &World<'_>) -> Result<Duration> {
    let (hub, port) = (world.stage.cluster.hub_address(), world.port);
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("exec 3<>/dev/tcp/{hub}/{port}")]);
    let mut command = world.network()?.command(&bash);
    let started = Instant::now();
    let output = command.output().context("dial from the cluster")?;
    ensure!(output.status.success(), "dial from the cluster: {output:?}");
    Ok(started.elapsed())
}
