//! TLS with who connects. Agents, which come by thousands at once when a server starts, offer no protocol to be spoken over
//! it, and wait for their turn. Everybody else has it at once.

use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use rustls::server::Acceptor;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tunnel::ReadAhead;

use crate::state::App;

/// After this the next one has its turn, though this one has not answered yet.
const TURN: Duration = Duration::from_secs(1);

/// Speaks TLS with a client.
///
/// # Errors
/// When that fails, takes too long, or the client has gone before it was its turn.
pub(super) async fn greet(
    stream: TcpStream,
    tls: &TlsAcceptor,
    app: &App,
) -> io::Result<TlsStream<ReadAhead<TcpStream>>> {
    let limit = app.config.limits.handshake;
    let hello = LazyConfigAcceptor::new(Acceptor::default(), ReadAhead::new(stream));
    let hello = timeout(limit, hello).await.map_err(late)??;
    if hello.client_hello().alpn().is_some() {
        let shaking = hello.into_stream(tls.config().clone());
        return timeout(limit, shaking).await.map_err(late)?;
    }
    let turn = app.tunnels.greet().await;
    if has_gone(hello.io.get_ref()) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut shaking = hello.into_stream(tls.config().clone());
    match timeout(TURN.min(limit), &mut shaking).await {
        Ok(shaken) => shaken,
        Err(_) => {
            drop(turn);
            timeout(limit, shaking).await.map_err(late)?
        }
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it took too long")
}

/// Whether a client that waited has closed its connection.
fn has_gone(stream: &TcpStream) -> bool {
    let ready = stream.ready(Interest::READABLE).now_or_never();
    matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
}
