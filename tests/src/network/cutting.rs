//! Cuts the link.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    faults::{Cut, RESETTING},
    way::Front,
    world::World,
};
use crate::lariat::{AGENT_HEALTH, Raw};

/// How far the clocks are off, one after the other, in seconds. Certificates hold an hour before their
/// making.
const JUMPS: [i64; 3] = [3600, -1800, 0];

/// How long a program may take to see a jump, which is what libfaketime is told, and a bit.
const SEEN: Duration = Duration::from_secs(8);

/// Plays one kind of cut again and again.
pub(super) struct Cutter<'a, 'b> {
    world: &'a World<'b>,
    cut: Cut,
    mended: Vec<Instant>,
}

impl<'a, 'b> Cutter<'a, 'b> {
    pub(super) fn new(world: &'a World<'b>, cut: Cut) -> Self {
        Self {
            world,
            cut,
            mended: Vec::new(),
        }
    }

    /// Cuts the link and mends it.
    pub(super) async fn cut(&mut self) -> Result<()> {
        let network = self.world.network()?;
        match self.cut {
            Cut::Never => return Ok(()),
            Cut::Flush => network.flush_translations()?,
            Cut::Silence(time) => {
                network.cut()?;
                tokio::time::sleep(time).await;
                network.mend()?;
            }
            Cut::Reset => self.reset().await?,
            Cut::Jump => {
                self.jump().await?;
                self.reset().await?;
            }
        }
        self.mended.push(Instant::now());
        Ok(())
    }

    /// When each cut was over.
    pub(super) fn mended(&self) -> &[Instant] {
        &self.mended
    }

    async fn reset(&self) -> Result<()> {
        let network = self.world.network()?;
        network.reject()?;
        tokio::time::sleep(RESETTING).await;
        Ok(network.mend()?)
    }

    async fn jump(&self) -> Result<()> {
        let Front::Clock(clock) = &self.world.front else {
            anyhow::bail!("there is no clock that could jump");
        };
        let jumps = self.mended.len();
        let off = JUMPS[jumps % JUMPS.len()];
        let before = match jumps {
            0 => 0,
            jumps => JUMPS[(jumps - 1) % JUMPS.len()],
        };
        clock.jump_to(off)?;
        let started = Instant::now();
        loop {
            let (server, agent) = self.world.clocks_off().await?;
            // A server of hyper keeps the date that it has until the clock is past it again: one that
            // went back shows in a date that stands still.
            let stands = |seen: i64| off < before && seen <= before - 2;
            let jumped = |seen: i64| (seen - off).abs() <= 1 || stands(seen);
            if jumped(server) && jumped(agent) {
                return Ok(());
            }
            ensure!(
                started.elapsed() < SEEN,
                "clocks that should be {off} s off are {server} s (server) and {agent} s (agent) off"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl World<'_> {
    /// By how many seconds the clocks of server and agent are off, as their answers say.
    async fn clocks_off(&self) -> Result<(i64, i64)> {
        let address = (self.stage.cluster.hub_address(), self.port).into();
        let authority = std::fs::read_to_string(self.stage.server.ca_file())?;
        let raw = Raw::new(address, &authority)?;
        let (_, server) = raw.request("GET", "/healthz", &[], "").await?;
        let (host, port) = AGENT_HEALTH.split_once(':').context("address and port")?;
        let ask = format!(
            "exec 3<>/dev/tcp/{host}/{port}; printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        );
        let mut bash = Command::new("bash");
        let mut bash = self.network()?.command(bash.args(["-c", &ask]));
        let output = bash.output().context("start bash")?;
        let agent = String::from_utf8_lossy(&output.stdout).into_owned();
        let server = off(&server).context("the server's clock")?;
        let agent = off(&agent).context("the agent's clock")?;
        Ok((server, agent))
    }
}

/// By how many seconds the date of an answer of HTTP is off.
fn off(answer: &str) -> Result<i64> {
    let dated = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("date").then_some(value.trim())
    });
    let date = dated.with_context(|| format!("no date in {answer:?}"))?;
    let output = Command::new("date")
        .args(["-d", date, "+%s"])
        .output()
        .context("start date")?;
    let there: i64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    let here = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(there - i64::try_from(here)?)
}
