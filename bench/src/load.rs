//! Requests one after the other on each of some connections, for a while.

use crate::endpoint::Endpoint;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
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

/// GETs `path` on `connections` kept connections for `time`, after a tenth of it that is not
/// counted. Every answer must be a 200.
///
/// # Errors
/// When a connection or an answer fails.
pub async fn get(
    endpoint: &Endpoint,
    path: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Measured> {
    let begin = Instant::now() + time / 10;
    let end = begin + time;
    let workers: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(worker(endpoint.clone(), path.to_owned(), begin, end)))
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    if latencies.is_empty() {
        bail!("no answer within {time:?}");
    }
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    Ok(Measured {
        per_second: latencies.len() as f64 / time.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    })
}

async fn worker(
    endpoint: Endpoint,
    path: String,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut sender = endpoint.connect().await?;
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        sender.ready().await?;
        let response = sender.send_request(endpoint.get(&path)?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("GET {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        let done = Instant::now();
        if sent >= begin && done <= end {
            latencies.push(done - sent);
        }
    }
}

/// Downloads `path` once and returns MiB per second.
///
/// # Errors
/// When it fails, or is not as long as `bytes`.
pub async fn download(endpoint: &Endpoint, path: &str, bytes: u64) -> anyhow::Result<f64> {
    let mut sender = endpoint.connect().await?;
    let started = Instant::now();
    let response = sender.send_request(endpoint.get(path)?).await?;
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
