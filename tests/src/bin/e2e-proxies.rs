//! The agent behind real HTTP proxies: through them with the right password, a clear word in its log
//! with a wrong one, past them where NO_PROXY says so.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::{Context as _, ensure};
use e2e::lariat::{Stage, start_process_with};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use testbed::{
    Testbed,
    forward_proxy::{ForwardProxy, Kind},
};

/// How long a connection, or a word in a log, may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A password that must be encoded in a URL.
const ODD: &str = "p@ss:w/rd %";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let testbed = Testbed::open("e2e-proxies")?;
    let folder = std::env::current_dir()?.join("target/e2e-proxies");
    let _ = std::fs::remove_dir_all(&folder);
    println!("starting a cluster behind a gateway, a server and two proxies");
    let cluster = testbed.cluster("proxies").start()?;
    let hub = cluster.hub_address();
    let start = |kind, password, name| {
        ForwardProxy::start(&testbed, kind, hub, password, &folder.join(name))
    };
    let mut squid = start(Kind::Squid, ODD, "squid")?;
    let tinyproxy = start(Kind::Tinyproxy, "plain", "tinyproxy")?;
    let mut stage = Stage::start(&testbed, cluster, &folder).await?;
    stage.end_agent_pod()?;
    std::fs::File::create(log_of(&stage))?;
    let mut tally = Tally::default();

    for (name, proxy) in [("squid", &squid), ("tinyproxy", &tinyproxy)] {
        let result = through(&mut stage, &proxy.url(), "").await;
        let result = match result {
            Ok(()) => went_through(&mut stage, proxy).await,
            Err(error) => Err(error),
        };
        tally.count(&format!("{name}: the right password"), result);
        let wrong = proxy.url_with("wrong");
        let said = says(&mut stage, &wrong, "wants a user name and password");
        tally.count(&format!("{name}: a wrong password"), said.await);
        let nobody = format!("http://{}", proxy.address());
        let said = says(&mut stage, &nobody, "wants a user name and password");
        tally.count(&format!("{name}: no password"), said.await);
    }
    let dead = "http://127.0.0.1:1";
    tally.count(
        "no proxy there",
        says(&mut stage, dead, "cannot connect to proxy 127.0.0.1:1").await,
    );
    tally.count(
        "NO_PROXY with the server's network",
        through(&mut stage, dead, &format!(".example.org,{hub}/24")).await,
    );
    tally.count(
        "lower-case variables",
        lower_case(&mut stage, &tinyproxy).await,
    );
    let result = match through(&mut stage, &squid.url(), "").await {
        Ok(()) => restarted(&stage, &testbed, &mut squid).await,
        Err(error) => Err(error),
    };
    tally.count("a proxy that is killed and started again", result);
    println!("{} passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.failed == 0, "logs are in {}", folder.display());
    Ok(())
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn count(&mut self, name: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
}

fn log_of(stage: &Stage<'_>) -> PathBuf {
    stage.cluster.logs().join("cattle-cluster-agent.log")
}

/// Replaces the agent by one with these proxy settings.
fn restart_agent(stage: &mut Stage<'_>, proxy: &str, exceptions: &str) -> anyhow::Result<()> {
    restart_agent_with(stage, &[("HTTPS_PROXY", proxy), ("NO_PROXY", exceptions)])
}

fn restart_agent_with(stage: &mut Stage<'_>, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    stage.agent = None;
    let agent = start_process_with(&stage.server, &stage.cluster, &stage.import, environment)?;
    stage.agent = Some(agent);
    Ok(())
}

async fn lower_case(stage: &mut Stage<'_>, proxy: &ForwardProxy) -> anyhow::Result<()> {
    let url = proxy.url();
    restart_agent_with(
        stage,
        &[("https_proxy", &url), ("no_proxy", ".example.org")],
    )?;
    stage.kubectl_works(LIMIT).await?;
    went_through(stage, proxy).await
}

async fn through(stage: &mut Stage<'_>, proxy: &str, exceptions: &str) -> anyhow::Result<()> {
    restart_agent(stage, proxy, exceptions)?;
    stage.kubectl_works(LIMIT).await.map(drop)
}

/// What a proxy has in its log of a tunnel: it writes it at the tunnel's end at the latest.
async fn went_through(stage: &mut Stage<'_>, proxy: &ForwardProxy) -> anyhow::Result<()> {
    stage.agent = None;
    let server = stage.server.url();
    let wanted = format!("CONNECT {}", server.trim_start_matches("https://"));
    within(|| Ok(proxy.access_log()?.contains(&wanted)))
        .await
        .with_context(|| format!("{wanted} is not in the proxy's log"))
}

/// The agent's log says why it does not connect.
async fn says(stage: &mut Stage<'_>, proxy: &str, word: &str) -> anyhow::Result<()> {
    stage.agent = None;
    let log = log_of(stage);
    let before = std::fs::read_to_string(&log)?.len();
    restart_agent(stage, proxy, "")?;
    within(|| Ok(std::fs::read_to_string(&log)?[before..].contains(word)))
        .await
        .with_context(|| format!("{word:?} is not in {}", log.display()))
}

async fn restarted(
    stage: &Stage<'_>,
    testbed: &Testbed,
    proxy: &mut ForwardProxy,
) -> anyhow::Result<()> {
    proxy.restart(testbed)?;
    stage.kubectl_works(LIMIT).await.map(drop)
}

async fn within(mut holds: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds()? {
        ensure!(
            started.elapsed() < LIMIT,
            "not within {} s",
            LIMIT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
