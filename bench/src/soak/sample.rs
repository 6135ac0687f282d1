//! What the server holds at a moment.

use crate::{memory, simulator::Simulator};
use anyhow::Context as _;
use e2e::lariat::{Api, Server};
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

/// Gauges of the server that must come back to where they were; those of tunnels as well.
const GAUGES: [&str; 3] = [
    "lariat_client_connections",
    "lariat_proxy_open",
    "lariat_watches_held_bytes",
];

/// Beginning of the names of gauges of tunnels.
const TUNNELS: &str = "lariat_tunnel";

/// How often metrics are asked for, and the rest between.
const TRIES: usize = 5;
const REST: Duration = Duration::from_millis(500);

/// What the server holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// Resident, in bytes.
    pub(super) memory: u64,
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    /// Agents with a connection.
    pub(super) connected: usize,
    /// Gauges of its metrics, each the sum over its labels.
    pub(super) gauges: BTreeMap<String, f64>,
}

/// Takes samples.
pub(super) struct Recorder {
    began: Instant,
    every: Duration,
    samples: Vec<Sample>,
}

impl Recorder {
    pub(super) fn new(began: Instant, every: Duration) -> Self {
        Self {
            began,
            every,
            samples: Vec::new(),
        }
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Takes samples until then.
    pub(super) async fn until(
        &mut self,
        api: &Api,
        server: &Server<'_>,
        simulator: &Simulator,
        until: Instant,
    ) -> anyhow::Result<()> {
        while Instant::now() < until {
            let next = Instant::now() + self.every;
            self.take(api, server, simulator).await?;
            tokio::time::sleep_until(next.min(until).into()).await;
        }
        Ok(())
    }

    /// Takes one sample.
    pub(super) async fn take(
        &mut self,
        api: &Api,
        server: &Server<'_>,
        simulator: &Simulator,
    ) -> anyhow::Result<Sample> {
        let pid = server.pid();
        let page = page(api).await?;
        let sample = Sample {
            at: self.began.elapsed(),
            memory: memory::resident(pid)?,
            descriptors: entries(&format!("/proc/{pid}/fd"))?,
            threads: entries(&format!("/proc/{pid}/task"))?,
            connected: simulator.connected(),
            gauges: gauges(&page),
        };
        self.samples.push(sample.clone());
        Ok(sample)
    }
}

/// The server's metrics. A connection that was kept from before a restart fails once.
async fn page(api: &Api) -> anyhow::Result<String> {
    let mut tries = 0;
    loop {
        tries += 1;
        match api.text("/metrics").await {
            Err(_) if tries < TRIES => tokio::time::sleep(REST).await,
            answered => return answered,
        }
    }
}

fn entries(folder: &str) -> anyhow::Result<usize> {
    let read = fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    Ok(read.count())
}

/// The gauges of a page of metrics that matter here.
fn gauges(page: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut gauges = BTreeMap::new();
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            kinds.extend(kind.split_once(' '));
            continue;
        }
        let name_end = line.find(['{', ' ']).unwrap_or(line.len());
        let name = &line[..name_end];
        let matters = GAUGES.contains(&name)
            || (name.starts_with(TUNNELS) && kinds.get(name) == Some(&"gauge"));
        // A label may hold anything; what follows the last brace is the value, and maybe a time.
        let rest = line
            .rsplit_once('}')
            .map_or(&line[name_end..], |(_, rest)| rest);
        let value = rest.split_whitespace().next();
        if let Some(value) = value.and_then(|value| value.parse::<f64>().ok())
            && matters
        {
            *gauges.entry(name.to_owned()).or_default() += value;
        }
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_summed_over_their_labels_and_counters_left_out() {
        let page = "# TYPE lariat_proxy_open gauge\n\
                    lariat_proxy_open{kind=\"a}\"} 2\n\
                    lariat_proxy_open{kind=\"b\"} 3\n\
                    # TYPE lariat_tunnel_sessions gauge\n\
                    lariat_tunnel_sessions 7\n\
                    # TYPE lariat_tunnel_losses counter\n\
                    lariat_tunnel_losses_total 9\n\
                    # TYPE process_threads gauge\n\
                    process_threads 4\n\
                    # EOF\n";
        let found = gauges(page);
        let expected = [("lariat_proxy_open", 5.0), ("lariat_tunnel_sessions", 7.0)];
        assert_eq!(
            found,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }
}
