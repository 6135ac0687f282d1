//! Requests one after the other on each of some connections, for a while.

use crate::endpoint::Endpoint;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use std::time::{Duration, Instant};
use tunnel::session::Session;
use tunnel_proto::stream::{Class, Target};

/// What a load found.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Answers per second.
    pub per_second: f64,
    /// Half of the answers took at most this long.
    pub p50: Duration,
    /// Ninety-nine of a hundred took at most this long.
    pub p99: Duration,
}

/// What is asked on one connection, again and again.
pub trait Work: Send + 'static {
    /// The next request.
    ///
    /// # Errors
    /// When there is none.
    fn next(&mut self) -> anyhow::Result<Request<Full<Bytes>>>;

    /// Takes the answer to it.
    ///
    /// # Errors
    /// When it is not as expected.
    fn take(&mut self, _answer: Bytes) -> anyhow::Result<()> {
        Ok(())
    }
}

/// GETs of one path.
struct Get {
    endpoint: Endpoint,
    path: String,
}

impl Work for Get {
    fn next(&mut self) -> anyhow::Result<Request<Full<Bytes>>> {
        self.endpoint.get(&self.path)
    }
}

/// GETs `path` on `connections` kept connections for `time`, after a tenth of it that is not
/// counted. Every answer must be a success.
///
/// # Errors
/// When a connection or an answer fails.
pub async fn get(
    endpoint: &Endpoint,
    path: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Measured> {
    let work = || Get {
        endpoint: endpoint.clone(),
        path: path.to_owned(),
    };
    let all = std::iter::repeat_with(work).take(connections).collect();
    run(endpoint, all, time).await
}

/// Does each work on a kept connection of its own for `time`, after a tenth of it that is not
/// counted, and at least one request of each.
///
/// # Errors
/// When a connection or an answer fails.
pub async fn run<W: Work>(
    endpoint: &Endpoint,
    works: Vec<W>,
    time: Duration,
) -> anyhow::Result<Measured> {
    let begin = Instant::now() + time / 10;
    let end = begin + time;
    let workers: Vec<_> = works
        .into_iter()
        .map(|work| tokio::spawn(worker(endpoint.clone(), work, begin, end)))
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    Measured::of(latencies, time)
}

impl Measured {
    /// What answers within `time` amount to.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(mut latencies: Vec<Duration>, time: Duration) -> anyhow::Result<Self> {
        if latencies.is_empty() {
            bail!("no answer within {time:?}");
        }
        latencies.sort_unstable();
        let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
        Ok(Self {
            per_second: latencies.len() as f64 / time.as_secs_f64(),
            p50: at(50),
            p99: at(99),
        })
    }
}

async fn worker(
    endpoint: Endpoint,
    mut work: impl Work,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = endpoint.connect().await?;
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end && !latencies.is_empty() {
            return Ok(latencies);
        }
        let answer = connection.ask(work.next()?).await?;
        let done = Instant::now();
        work.take(answer)?;
        if sent >= begin && (done <= end || latencies.is_empty()) {
            latencies.push(done - sent);
        }
    }
}

/// Downloads `path` once and returns MiB per second.
///
/// # Errors
/// When it fails, or is not as long as `bytes`.
pub async fn download(endpoint: &Endpoint, path: &str, bytes: u64) -> anyhow::Result<f64> {
    let mut connection = endpoint.connect().await?;
    let started = Instant::now();
    let response = connection.send(endpoint.get(path)?).await?;
    received(response, bytes, started).await
}

/// Downloads `path` once from the agent of a session and returns MiB per second.
///
/// # Errors
/// When it fails, or is not as long as `bytes`.
pub async fn download_over(session: &Session, path: &str, bytes: u64) -> anyhow::Result<f64> {
    let client = tunnel::http::client(session.clone(), Target::KubeApi, Class::Interactive);
    let started = Instant::now();
    let request = Request::get(format!("http://agent{path}")).body(Empty::<Bytes>::new())?;
    received(client.request(request).await?, bytes, started).await
}

async fn received(
    response: Response<Incoming>,
    bytes: u64,
    started: Instant,
) -> anyhow::Result<f64> {
    let status = response.status();
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame
            .context("body broke off")?
            .data_ref()
            .map_or(0, Bytes::len) as u64;
    }
    if !status.is_success() || received != bytes {
        bail!("{status}, {received} bytes of {bytes}");
    }
    Ok(bytes as f64 / (1 << 20) as f64 / started.elapsed().as_secs_f64())
}
