//! One change, told to many watchers.
//!
//! First as many changes as can be told, with few on their way at once: how many lines arrive per
//! second. Then changes at a steady pace: how long after a change is sent each watcher has its line.

use super::{
    objects::{after, collection},
    requests::Update,
};
use crate::{endpoint::Endpoint, load::Work as _};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Who changes objects, each its own.
pub(super) const WRITERS: usize = 16;
/// Changes that may be on their way at once, while as many as possible are told.
const AT_ONCE: u64 = WRITERS as u64;
/// Between two changes at a steady pace.
const PACE: Duration = Duration::from_millis(100);
/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that are made at once.
const DIALS: usize = 64;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    /// Lines that arrived per second, of all watchers.
    pub per_second: f64,
    /// Half of the lines arrived so long after the change was sent.
    pub p50: Duration,
    /// Ninety-nine of a hundred did.
    pub p99: Duration,
    /// Watches that the server ended and that were begun again.
    pub cut: u64,
}

/// What all watchers share.
struct Shared {
    endpoint: Endpoint,
    list: String,
    epoch: Instant,
    received: AtomicU64,
    cut: AtomicU64,
    /// Lines of changes sent before are not timed.
    timed_from: AtomicU64,
    end: CancellationToken,
}

/// Measures for twice `time`.
///
/// # Errors
/// When the server fails, or a watcher does not get every line.
pub(super) async fn measure(
    endpoint: &Endpoint,
    namespace: &str,
    watchers: usize,
    time: Duration,
) -> anyhow::Result<FanOut> {
    let list = collection(namespace);
    let answer = endpoint.connect().await?.ask(endpoint.get(&list)?).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let revision = answer["metadata"]["resourceVersion"].as_str();
    let revision = revision.context("no revision")?.to_owned();
    let shared = Arc::new(Shared {
        endpoint: endpoint.clone(),
        list,
        epoch: Instant::now(),
        received: AtomicU64::new(0),
        cut: AtomicU64::new(0),
        timed_from: AtomicU64::new(u64::MAX),
        end: CancellationToken::new(),
    });
    let tasks: Vec<JoinHandle<anyhow::Result<Vec<u64>>>> = futures::stream::iter(0..watchers)
        .map(async |_| {
            let watch = shared.begin(&revision).await?;
            let watching = Arc::clone(&shared).watch(watch, revision.clone());
            anyhow::Ok(tokio::spawn(watching))
        })
        .buffer_unordered(DIALS)
        .try_collect()
        .await?;
    let watchers = watchers as u64;
    let mut updates = Vec::new();
    for number in 0..WRITERS {
        updates.push(Update::with(endpoint, namespace, number).await?);
    }
    let (per_second, sent, mut updates) = shared.flood(updates, watchers, time).await?;
    let update = updates.pop().context("no writer")?;
    shared.pace(update, sent, watchers, time).await?;
    shared.end.cancel();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    ensure!(!latencies.is_empty(), "no line was timed");
    let at = |share: usize| Duration::from_micros(latencies[(latencies.len() - 1) * share / 100]);
    Ok(FanOut {
        per_second,
        p50: at(50),
        p99: at(99),
        cut: shared.cut.load(Ordering::Relaxed),
    })
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Begins a watch on a connection of its own.
    async fn begin(&self, revision: &str) -> anyhow::Result<Incoming> {
        let path = format!("{}?watch=true&resourceVersion={revision}", self.list);
        let mut connection = self.endpoint.connect().await?;
        let response = connection.send(self.endpoint.get(&path)?).await?;
        ensure!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        Ok(response.into_body())
    }

    /// Watches until told to end, again from where it was if the server ends it. How long the lines
    /// took that are timed.
    async fn watch(
        self: Arc<Self>,
        mut watch: Incoming,
        mut revision: String,
    ) -> anyhow::Result<Vec<u64>> {
        let mut latencies = Vec::new();
        let mut rest = Vec::new();
        loop {
            let frame = tokio::select! {
                frame = watch.frame() => frame,
                () = self.end.cancelled() => return Ok(latencies),
            };
            let Some(Ok(frame)) = frame else {
                self.cut.fetch_add(1, Ordering::Relaxed);
                rest.clear();
                watch = self.begin(&revision).await?;
                continue;
            };
            let data = frame.into_data().unwrap_or_default();
            self.lines(&mut rest, &data, &mut revision, &mut latencies)?;
        }
    }

    fn lines(
        &self,
        rest: &mut Vec<u8>,
        data: &Bytes,
        revision: &mut String,
        latencies: &mut Vec<u64>,
    ) -> anyhow::Result<()> {
        rest.extend_from_slice(data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[..end])?;
            let stamp = after(line, "\"stamp\":").with_context(|| format!("a line: {line}"))?;
            let stamp: u64 = stamp.parse()?;
            if stamp >= self.timed_from.load(Ordering::Relaxed) {
                latencies.push(self.now().saturating_sub(stamp));
            }
            let seen = after(line, "\"resourceVersion\":\"").context("no revision")?;
            seen.clone_into(revision);
            rest.drain(..=end);
            self.received.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// As many changes as can be told for a while, the first third not counted. Lines per second,
    /// how many changes there were, and the writers.
    async fn flood(
        self: &Arc<Self>,
        updates: Vec<Update>,
        watchers: u64,
        time: Duration,
    ) -> anyhow::Result<(f64, u64, Vec<Update>)> {
        let begin = Instant::now() + time / 3;
        let end = begin + time;
        let sent = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = updates
            .into_iter()
            .map(|update| {
                let (shared, sent) = (Arc::clone(self), Arc::clone(&sent));
                tokio::spawn(async move { shared.write(update, &sent, watchers, end).await })
            })
            .collect();
        tokio::time::sleep_until(begin.into()).await;
        let (before, begin) = (self.received.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep_until(end.into()).await;
        let arrived = self.received.load(Ordering::Relaxed) - before;
        let per_second = arrived as f64 / begin.elapsed().as_secs_f64();
        let mut updates = Vec::new();
        for writer in writers {
            updates.push(writer.await??);
        }
        let sent = sent.load(Ordering::Relaxed);
        self.all_received(sent * watchers).await?;
        Ok((per_second, sent, updates))
    }

    async fn write(
        &self,
        mut update: Update,
        sent: &AtomicU64,
        watchers: u64,
        end: Instant,
    ) -> anyhow::Result<Update> {
        let mut connection = self.endpoint.connect().await?;
        while Instant::now() < end {
            let told = self.received.load(Ordering::Relaxed) / watchers;
            if sent.load(Ordering::Relaxed) >= told + AT_ONCE {
                tokio::time::sleep(Duration::from_micros(500)).await;
                continue;
            }
            sent.fetch_add(1, Ordering::Relaxed);
            let answer = connection.ask(update.stamped(self.now())?).await?;
            update.take(answer)?;
        }
        Ok(update)
    }

    /// Changes at a steady pace for a while, timed.
    async fn pace(
        &self,
        mut update: Update,
        mut sent: u64,
        watchers: u64,
        time: Duration,
    ) -> anyhow::Result<()> {
        let mut connection = self.endpoint.connect().await?;
        self.timed_from.store(self.now(), Ordering::Relaxed);
        let mut tick = tokio::time::interval(PACE);
        let end = Instant::now() + time;
        while Instant::now() < end {
            tick.tick().await;
            let answer = connection.ask(update.stamped(self.now())?).await?;
            update.take(answer)?;
            sent += 1;
        }
        self.all_received(sent * watchers).await
    }

    async fn all_received(&self, lines: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.received.load(Ordering::Relaxed) < lines {
            let received = self.received.load(Ordering::Relaxed);
            ensure!(begun.elapsed() < PATIENCE, "{received} lines of {lines}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let received = self.received.load(Ordering::Relaxed);
        ensure!(received == lines, "{received} lines of {lines}");
        Ok(())
    }
}
