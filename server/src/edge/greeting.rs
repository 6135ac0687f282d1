//! TLS with who connects. Agents, which come by thousands at once when a server starts, offer no protocol to be spoken over
//! it, and wait for their turn. Everybody else has it at once.

use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use rustls::server::Acceptor;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tunnel::ReadAhead;

use crate::state::App;
use crate::turns;

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
    let turn = match hello.client_hello().alpn() {
        Some(_) => None,
        None => Some(app.tunnels.greet().await),
    };
    if turn.is_some() && has_gone(hello.io.get_ref()) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let shaking = hello.into_stream(Arc::clone(tls.config()));
    let shaken = turns::take(turn, timeout(limit, shaking)).await;
    shaken.map_err(late)?
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it took too long")
}

/// Whether a client that waited has closed its connection.
fn has_gone(stream: &TcpStream) -> bool {
    let ready = stream.ready(Interest::READABLE).now_or_never();
    matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
}
