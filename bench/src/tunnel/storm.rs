//! A server is killed and started again: until all its agents are back. It has the first core, and they have the
//! second. The server is `lariat-server`, as who is let in first decides.

use super::{Bench, figures::Figures};
use crate::{memory, scale::Herd};
use std::{path::Path, time::Duration};
use testbed::Testbed;

/// The column of these figures.
pub(super) const WAY: &str = "lariat-server";

pub(super) const RETURN: &str = "all agents back after a kill, s";
pub(super) const CPU: &str = "server CPU per agent that comes back, µs";
const START: &str = "server CPU until the first is back, s";
const MEMORY: &str = "server memory with all agents, MiB";

/// What comes after a return is over after so long.
const SETTLE: Duration = Duration::from_secs(30);

pub(super) async fn measure(
    bench: &Bench,
    folder: &Path,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let agents = bench.pace.storm;
    let folder = folder.join("storm");
    let _ = std::fs::remove_dir_all(&folder);
    let testbed = Testbed::open("bench-tunnel")?;
    let mut herd = Herd::start(&testbed, &folder, agents, |_| {}).await?;
    herd.register().await?;
    figures.push("agents", WAY, agents as f64);
    for _ in 0..bench.pace.storms {
        tokio::time::sleep(SETTLE).await;
        let (returned, spent) = herd.kill_and_wait().await?;
        figures.push(RETURN, WAY, returned.share(1.0).as_secs_f64());
        figures.push(START, WAY, spent.start.as_secs_f64());
        let handshakes = spent.handshakes.as_secs_f64();
        figures.push(CPU, WAY, handshakes * 1e6 / agents as f64);
        let resident = memory::resident(herd.server.pid())?;
        figures.push(MEMORY, WAY, resident as f64 / f64::from(1 << 20));
    }
    herd.simulator.stop().await;
    Ok(())
}
