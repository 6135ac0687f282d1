//! A server is killed and started again: until all its agents are back. It has the first core, and they have the
//! second.

use super::{
    Bench,
    cores::Cores,
    figures::Figures,
    peers::wait_for_agents,
    process::{Place, Process},
};
use std::{path::Path, time::Instant};

/// The column of these figures.
pub(super) const WAY: &str = "tunnel";

pub(super) const RETURN: &str = "all agents back after a kill, s";
pub(super) const CPU: &str = "server CPU per agent that comes back, µs";
pub(super) const MEMORY: &str = "server memory with all agents, MiB";

pub(super) async fn measure(
    bench: &Bench,
    folder: &Path,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let place = |name, cores| Place {
        name,
        cores,
        folder,
    };
    let path = folder.display().to_string();
    let agents = bench.pace.storm;
    let mut server = Process::own(&place("storm-server", Cores::First), "server", [&path]).await?;
    let port = server.port("tunnel")?.to_string();
    let count = agents.to_string();
    let arguments = [path.as_str(), "--server", &port, "--count", &count];
    let all = Process::own(&place("storm-agents", Cores::Second), "agent", arguments).await?;
    wait_for_agents(&server, agents).await?;
    figures.push("agents", WAY, agents as f64);
    for _ in 0..bench.pace.storms {
        let killed = Instant::now();
        server.kill().await?;
        let arguments = [path.as_str(), "--port", &port];
        server = Process::own(&place("storm-server", Cores::First), "server", arguments).await?;
        wait_for_agents(&server, agents).await?;
        figures.push(RETURN, WAY, killed.elapsed().as_secs_f64());
        let cpu = server.cpu()?.as_secs_f64();
        figures.push(CPU, WAY, cpu * 1e6 / agents as f64);
        figures.push(MEMORY, WAY, server.kib()? / 1024.0);
    }
    drop(all);
    Ok(())
}
