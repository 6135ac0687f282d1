//! Mixed load through the server, in which every byte is looked at.

mod echo;

use crate::{
    endpoint::Endpoint,
    simulator::{FILLING, PAYLOAD, Simulated},
};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest that one piece of work takes. What takes longer is broken off.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long streams without an end are kept, in seconds.
const KEPT: std::ops::Range<u64> = 5..40;

/// Bytes of a bulk transfer.
const BULK: u64 = 8 << 20;

/// Rest of a worker whose work came to nothing.
const REST: Duration = Duration::from_millis(500);

/// What a worker does, again and again, in a random cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    List,
    Watch,
    Log,
    Echo,
    Download,
    SlowDownload,
    Upload,
    Open,
}

/// Kinds, with as many workers.
const WORKERS: [(Kind, usize); 8] = [
    (Kind::List, 4),
    (Kind::Watch, 16),
    (Kind::Log, 16),
    (Kind::Echo, 8),
    (Kind::Download, 2),
    (Kind::SlowDownload, 4),
    (Kind::Upload, 2),
    (Kind::Open, 4),
];

/// What became of the work of a kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) done: u64,
    /// The server or the connection said no, as may be while there are faults.
    pub(super) failed: u64,
    /// What came was not what should have come. Never allowed.
    pub(super) wrong: u64,
    pub(super) first_wrong: Option<String>,
}

/// What became of all work.
pub(super) type Figures = BTreeMap<Kind, Counts>;

/// What came was not what should have come.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Load on the clusters of these agents.
pub(super) struct Load {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    agents: Vec<Arc<Simulated>>,
    figures: Mutex<Figures>,
}

impl Load {
    pub(super) fn new(endpoint: Endpoint, agents: &[Arc<Simulated>]) -> Self {
        let shared = Shared {
            endpoint,
            agents: agents.to_vec(),
            figures: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts all workers; they end soon after they are told to.
    pub(super) fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for (kind, workers) in WORKERS {
            for _ in 0..workers {
                tasks.spawn(work(Arc::clone(&self.shared), kind, stop.clone()));
            }
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.shared.lock().clone()
    }

    /// How many clusters do not answer a request, which is sent again while their agents come and go.
    pub(super) async fn unreachable(&self) -> usize {
        let mut unreachable = 0;
        for agent in &self.shared.agents {
            let path = format!("/k8s/clusters/{}/api/v1/namespaces/default", agent.id());
            let answered = async {
                let ask = || self.shared.endpoint.ask(Method::GET, &path, Bytes::new());
                while ask().await.is_err() {
                    tokio::time::sleep(REST).await;
                }
            };
            let answered = tokio::time::timeout(PATIENCE, answered).await;
            unreachable += usize::from(answered.is_err());
        }
        unreachable
    }
}

impl Shared {
    fn count(&self, kind: Kind, done: anyhow::Result<()>) {
        let mut figures = self.lock();
        let counts = figures.entry(kind).or_default();
        match done {
            Ok(()) => counts.done += 1,
            Err(error) if error.is::<Wrong>() => {
                counts.wrong += 1;
                counts.first_wrong.get_or_insert_with(|| error.to_string());
            }
            Err(_) => counts.failed += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(shared: Arc<Shared>, kind: Kind, stop: CancellationToken) {
    let mut rng = StdRng::from_os_rng();
    while !stop.is_cancelled() {
        let place = rng.random_range(0..shared.agents.len());
        let agent = Arc::clone(&shared.agents[place]);
        let one = one(&shared.endpoint, &agent, kind, &mut rng);
        let done = tokio::select! {
            done = tokio::time::timeout(PATIENCE, one) => done,
            () = stop.cancelled() => return,
        };
        let is_done = matches!(done, Ok(Ok(())));
        shared.count(kind, done.unwrap_or_else(|late| Err(late.into())));
        if !is_done {
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

async fn one(
    endpoint: &Endpoint,
    agent: &Simulated,
    kind: Kind,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let cluster = format!("/k8s/clusters/{}", agent.id());
    let kept = Duration::from_secs(rng.random_range(KEPT));
    match kind {
        Kind::List => list(endpoint, &cluster).await,
        Kind::Watch => watch(endpoint, &cluster, agent, kept, rng.random()).await,
        Kind::Log => log(endpoint, &cluster, kept).await,
        Kind::Echo => echo::run(endpoint, &cluster, kept).await,
        Kind::Download => download(endpoint, &cluster, BULK, None).await,
        Kind::SlowDownload => {
            let rest = Duration::from_millis(20);
            download(endpoint, &cluster, BULK / 2, Some(rest)).await
        }
        Kind::Upload => upload(endpoint, &cluster).await,
        Kind::Open => {
            let path = format!("{cluster}/version");
            endpoint.ask(Method::GET, &path, Bytes::new()).await?;
            Ok(())
        }
    }
}

/// Some lists on a kept connection.
async fn list(endpoint: &Endpoint, cluster: &str) -> anyhow::Result<()> {
    let mut connection = endpoint.connect().await?;
    for _ in 0..20 {
        let request = endpoint.get(&format!("{cluster}/api/v1/namespaces"))?;
        let list: Value = read_json(&connection.ask(request).await?)?;
        let has = list["items"].as_array().is_some_and(|items| {
            items
                .iter()
                .any(|item| item["metadata"]["name"] == "default")
        });
        ensure!(
            has,
            Wrong(format!("a list without the namespace default: {list}"))
        );
    }
    Ok(())
}

/// A watch of an object that is changed every now and then, until it has been kept for long enough. Each change must come once,
/// in its order.
async fn watch(
    endpoint: &Endpoint,
    cluster: &str,
    agent: &Simulated,
    kept: Duration,
    number: u64,
) -> anyhow::Result<()> {
    // A namespace for the objects of this watch alone.
    let namespace = format!("watch-{number:x}");
    let path =
        format!("{cluster}/api/v1/namespaces/{namespace}/configmaps?watch=true&resourceVersion=0");
    let mut connection = endpoint.connect().await?;
    let response = connection.send(endpoint.get(&path)?).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let until = tokio::time::Instant::now() + kept;
    let mut sent = 0_u64;
    let mut line = Vec::new();
    while tokio::time::Instant::now() < until {
        sent += 1;
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "counted", "namespace": namespace}, "data": {"number": sent.to_string()}});
        agent.cluster().put("configmaps", object);
        let event = next_line(&mut body, &mut line).await?;
        let event: Value = read_json(&event)?;
        let number = event["object"]["data"]["number"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            number == sent.to_string(),
            Wrong(format!("change {sent} of a watch came as {event}"))
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    agent.cluster().delete("configmaps", &namespace, "counted");
    Ok(())
}

/// A log whose lines are counted.
async fn log(endpoint: &Endpoint, cluster: &str, kept: Duration) -> anyhow::Result<()> {
    let path = format!("{cluster}/api/v1/namespaces/default/pods/one/log?follow=true");
    let mut connection = endpoint.connect().await?;
    let response = connection.send(endpoint.get(&path)?).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let until = tokio::time::Instant::now() + kept;
    let (mut number, mut line) = (0_u64, Vec::new());
    while tokio::time::Instant::now() < until {
        let text = next_line(&mut body, &mut line).await?;
        ensure!(
            text == number.to_string().as_bytes(),
            Wrong(format!(
                "line {number} of a log is {:?}",
                String::from_utf8_lossy(&text)
            ))
        );
        number += 1;
    }
    Ok(())
}

async fn download(
    endpoint: &Endpoint,
    cluster: &str,
    bytes: u64,
    rest: Option<Duration>,
) -> anyhow::Result<()> {
    let mut connection = endpoint.connect().await?;
    let request = endpoint.get(&format!("{cluster}{PAYLOAD}?bytes={bytes}"))?;
    let response = connection.send(request).await?;
    ensure!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        ensure!(
            data.iter().all(|byte| *byte == FILLING),
            Wrong(format!("other bytes than were sent, after {received}"))
        );
        received += data.len() as u64;
        if let Some(rest) = rest {
            tokio::time::sleep(rest).await;
        }
    }
    ensure!(
        received == bytes,
        Wrong(format!("an answer of {bytes} bytes had {received}"))
    );
    Ok(())
}

async fn upload(endpoint: &Endpoint, cluster: &str) -> anyhow::Result<()> {
    let body = Bytes::from(vec![FILLING; BULK as usize]);
    let path = format!("{cluster}{PAYLOAD}");
    let counted = endpoint.ask(Method::POST, &path, body).await?;
    ensure!(
        counted == BULK.to_string().as_bytes(),
        Wrong(format!(
            "{BULK} bytes were sent, and {} came",
            String::from_utf8_lossy(&counted)
        ))
    );
    Ok(())
}

/// The next line of a body, without its end; `rest` is what has come of the one after.
async fn next_line(
    body: &mut hyper::body::Incoming,
    rest: &mut Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.drain(..=end).take(end).collect();
            return Ok(line);
        }
        let Some(frame) = body.frame().await else {
            bail!("the stream has ended");
        };
        rest.extend_from_slice(frame?.data_ref().context("trailers in a stream")?);
    }
}

fn read_json(bytes: &[u8]) -> anyhow::Result<Value> {
    let read = serde_json::from_slice(bytes);
    read.map_err(|_| Wrong(format!("no JSON: {:?}", String::from_utf8_lossy(bytes))).into())
}
