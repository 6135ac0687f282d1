//! A terminal-like connection: what is typed comes back.

use super::Wrong;
use crate::endpoint::Endpoint;
use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

/// Bytes at a time.
const TYPED: usize = 512;

/// Types into an exec of a pod that sends everything back, for so long.
pub(super) async fn run(endpoint: &Endpoint, cluster: &str, kept: Duration) -> anyhow::Result<()> {
    let stream = TokioIo::new(endpoint.connect_tls().await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection.with_upgrades());
    let path = format!("{cluster}/api/v1/namespaces/default/pods/one/exec?command=cat&stdin=true");
    let mut request = endpoint.request(Method::POST, &path, Bytes::new())?;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    let response = sender.send_request(request).await?;
    ensure!(
        response.status() == StatusCode::SWITCHING_PROTOCOLS,
        "{}",
        response.status()
    );
    let mut io = TokioIo::new(hyper::upgrade::on(response).await?);
    let until = Instant::now() + kept;
    let mut number = 0_u8;
    while Instant::now() < until {
        let typed = [number; TYPED];
        io.write_all(&typed).await?;
        io.flush().await?;
        let mut back = [0; TYPED];
        io.read_exact(&mut back).await?;
        ensure!(
            back == typed,
            Wrong(format!("other bytes than were typed, in round {number}"))
        );
        number = number.wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    io.shutdown().await?;
    // Its other direction ends as well, and nothing more comes.
    let more = io.read(&mut [0; 1]).await?;
    ensure!(more == 0, Wrong("bytes behind the end".into()));
    Ok(())
}
