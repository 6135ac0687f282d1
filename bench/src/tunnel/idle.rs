//! Memory of a server that has nothing but idle tunnels, each of which has carried one visitor.

use super::{
    Bench,
    cores::Cores,
    figures::Figures,
    peers::{Stage, Way},
    process::{Place, Process},
};
use std::{path::Path, time::Duration};
use tokio::time::sleep;

pub(super) const KIB: &str = "server KiB per idle tunnel";

/// For what a first use leaves behind to be given back.
const SETTLING: Duration = Duration::from_secs(5);

pub(super) async fn measure(
    bench: &Bench,
    folder: &Path,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let place = Place {
        name: "target",
        cores: Cores::Second,
        folder,
    };
    let target = Process::own(&place, "target", [""; 0]).await?;
    let stage = Stage {
        folder,
        programs: &bench.programs,
        target: target.port("tcp")?,
    };
    for way in [Way::Tunnel, Way::Remotedialer, Way::Rathole] {
        let agents = match way {
            Way::Tunnel => bench.pace.idle,
            _ => bench.pace.idle_of_others,
        };
        // What the program itself takes is in the first.
        let one = kib(&stage, way, 1).await?;
        let many = kib(&stage, way, agents).await?;
        figures.push("idle tunnels", way.name(), agents as f64);
        figures.push(KIB, way.name(), (many - one) / (agents - 1) as f64);
    }
    Ok(())
}

async fn kib(stage: &Stage<'_>, way: Way, agents: usize) -> anyhow::Result<f64> {
    let running = stage.start_many(way, agents).await?;
    sleep(SETTLING).await;
    running.ends[0].kib()
}
