//! `testbed up`: starting clusters, here or in the background.
#![allow(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use std::{
    fs::File,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use testbed::{Testbed, Tier, owners, tools};

use crate::Up;

/// Starts the clusters and keeps them until a signal.
pub fn in_foreground(up: &Up) -> Result<()> {
    let testbed = Testbed::open(&up.names.join(" "))?;
    let root = nix::unistd::geteuid().is_root();
    let tier = if up.loopback || !root {
        Tier::Loopback
    } else {
        Tier::Full
    };
    if !root && !up.loopback {
        println!("not root: the clusters get no real node (see `testbed up --help`)");
    }
    let mut clusters = Vec::new();
    for name in &up.names {
        let start = Instant::now();
        let cluster = testbed
            .cluster(name)
            .version(up.kubernetes)
            .tier(tier)
            .kwok_nodes(up.kwok_nodes)
            .metrics(up.metrics)
            .start()
            .with_context(|| format!("start the cluster {name}"))?;
        if up.kwok_pods > 0 {
            cluster.add_kwok_pods("default", up.kwok_pods)?;
        }
        println!(
            "{name} ({}) is ready after {:.1?}",
            cluster.version(),
            start.elapsed()
        );
        println!("  export KUBECONFIG={}", cluster.kubeconfig().display());
        clusters.push(cluster);
    }
    println!("Ctrl-C ends everything");
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
        for cluster in &clusters {
            if let Some(ended) = cluster.ended_parts().first() {
                bail!(
                    "{}: {ended}; the logs are in {}",
                    cluster.name(),
                    cluster.logs().display()
                );
            }
        }
    }
}

/// Starts this program again without `--background`, waits until the clusters are ready, and
/// leaves it running.
pub fn in_background(purpose: &str) -> Result<()> {
    let log = tools::cache_folder()?.join("up.log");
    let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let program = std::env::current_exe().context("find this program")?;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--background");
    let mut owner = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("share the log")?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("start the owner of the clusters")?;
    println!(
        "starting {purpose} in the background; its log is {}",
        log.display()
    );
    let names: Vec<&str> = purpose.split(' ').collect();
    loop {
        if let Some(status) = owner.try_wait().context("look at the owner")? {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the clusters did not start ({status}):\n{text}");
        }
        let pid = owner.id().cast_signed();
        let state = owners()?.into_iter().find(|other| other.state.pid == pid);
        let ready = state.map_or(0, |owner| owner.state.clusters.len());
        if ready == names.len() {
            println!("ready; `testbed status` shows them, `testbed down` ends them");
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
