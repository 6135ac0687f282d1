//! Requests to random clusters, and how long their answers take.

use crate::endpoint::{Connection, Endpoint};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Barrier;

/// What an answer may take. What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a connection is tried while the server starts.
const RETRY: Duration = Duration::from_millis(50);

/// What was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    latencies: Vec<Duration>,
    /// By what went wrong, how often.
    pub(super) failures: BTreeMap<String, usize>,
}

impl Asked {
    pub(super) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (why, times) in other.failures {
            *self.failures.entry(why).or_default() += times;
        }
    }

    fn one(&mut self, answered: Result<Duration, String>) {
        match answered {
            Ok(took) => self.latencies.push(took),
            Err(why) => *self.failures.entry(why).or_default() += 1,
        }
    }

    pub(super) fn answered(&self) -> usize {
        self.latencies.len()
    }

    pub(super) fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// That share of the answers took at most so long.
    pub(super) fn share(&self, share: f64) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let last = latencies.len().saturating_sub(1);
        let place = (last as f64 * share) as usize;
        latencies.get(place).copied().unwrap_or_default()
    }
}

/// One request each on kept connections, all sent at the same moment.
pub(super) async fn at_once(
    endpoint: &Endpoint,
    ids: &[String],
    requests: usize,
) -> anyhow::Result<Asked> {
    let mut connections = Vec::with_capacity(requests);
    for _ in 0..requests {
        connections.push(endpoint.connect().await?);
    }
    let barrier = Arc::new(Barrier::new(requests));
    let mut rng = StdRng::from_os_rng();
    let asking = connections.into_iter().map(|mut connection| {
        let path = path(ids, &mut rng);
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            ask(endpoint, &mut connection, &path).await
        }
    });
    Ok(gather(asking.collect()).await)
}

/// One after the other on one connection.
pub(super) async fn in_turn(
    endpoint: &Endpoint,
    ids: &[String],
    requests: usize,
) -> anyhow::Result<Asked> {
    let mut connection = endpoint.connect().await?;
    let mut rng = StdRng::from_os_rng();
    let mut asked = Asked::default();
    for _ in 0..requests {
        asked.one(ask(endpoint, &mut connection, &path(ids, &mut rng)).await);
    }
    Ok(asked)
}

/// Each cluster once, on so many connections.
pub(super) async fn each(
    endpoint: &Endpoint,
    ids: &[String],
    at_once: usize,
) -> anyhow::Result<Asked> {
    let share = ids.len().div_ceil(at_once).max(1);
    let asking = ids.chunks(share).map(|ids| async move {
        let mut asked = Asked::default();
        let mut connection = endpoint.connect().await?;
        for id in ids {
            asked.one(ask(endpoint, &mut connection, &path_in(id)).await);
        }
        anyhow::Ok(asked)
    });
    let mut all = Asked::default();
    for asked in futures::future::try_join_all(asking).await? {
        all.add(asked);
    }
    Ok(all)
}

/// One request each on new connections, as soon as the server takes these. What counts is the time from when the request
/// could be sent.
pub(super) async fn while_it_returns(
    endpoint: &Endpoint,
    ids: &[String],
    requests: usize,
    limit: Duration,
) -> Asked {
    let until = Instant::now() + limit;
    let mut rng = StdRng::from_os_rng();
    let asking = (0..requests).map(|_| {
        let path = path(ids, &mut rng);
        async move {
            loop {
                match endpoint.connect().await {
                    Ok(mut connection) => return ask(endpoint, &mut connection, &path).await,
                    Err(error) if Instant::now() > until => return Err(error.to_string()),
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        }
    });
    gather(asking.collect()).await
}

async fn gather<F: Future<Output = Result<Duration, String>>>(asking: Vec<F>) -> Asked {
    let mut asked = Asked::default();
    let mut asking: futures::stream::FuturesUnordered<F> = asking.into_iter().collect();
    while let Some(answered) = asking.next().await {
        asked.one(answered);
    }
    asked
}

async fn ask(
    endpoint: &Endpoint,
    connection: &mut Connection,
    path: &str,
) -> Result<Duration, String> {
    let request = endpoint.get(path).map_err(|error| error.to_string())?;
    let sent = Instant::now();
    let answered = async {
        let response = connection.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?;
        Ok::<_, hyper::Error>((status, body.to_bytes()))
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok((status, _))) if status.is_success() => Ok(sent.elapsed()),
        Ok(Ok((status, _))) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn path(ids: &[String], rng: &mut StdRng) -> String {
    path_in(&ids[rng.random_range(0..ids.len())])
}

/// A small object in a cluster.
fn path_in(id: &str) -> String {
    format!("/k8s/clusters/{id}/api/v1/namespaces/default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_latencies_ordered() {
        let mut asked = Asked::default();
        for answered in [Ok(3), Err("503"), Ok(1), Ok(2), Err("503")] {
            let answered = answered.map(Duration::from_secs).map_err(str::to_owned);
            asked.one(answered);
        }
        assert_eq!((asked.answered(), asked.failed()), (3, 2));
        assert_eq!(asked.share(0.5), Duration::from_secs(2));
        assert_eq!(asked.share(1.0), Duration::from_secs(3));
    }
}
