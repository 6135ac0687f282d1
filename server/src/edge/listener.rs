//! Accepting connections: nothing slow in the loop, every phase with a deadline, a drain with a
//! limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lariat_api::ClusterId;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tunnel::{CHANNEL_BINDING_LABEL, ReadAhead};

use super::context::Connection;
use super::greeting;
use super::limits::{ConnectionLimits, ConnectionPermit};
use super::router;
use crate::state::App;

/// Connections that wait to be accepted, as far as the system lets (`net.core.somaxconn`). When thousands of agents come
/// back at once, each that finds no room tries again a second later at the earliest.
const BACKLOG: u32 = 16_384;
/// Waits between attempts after an error of `accept`, such as no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Buffer of an HTTP/1.1 connection, in bytes, and so the largest head of a request.
const HTTP1_BUFFER: usize = 128 * 1024;
/// Streams of one HTTP/2 connection. kube-apiserver's limit, on which clients rely.
const HTTP2_STREAMS: u32 = 250;
/// Window of one HTTP/2 stream and of a connection, in bytes.
const HTTP2_WINDOW: u32 = 1024 * 1024;
/// Silence after which an HTTP/2 client is asked whether it is there, and how long it may take to
/// answer.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// Listens for connections. They wait from now on, also while the server still reads its store.
///
/// # Errors
/// When the system refuses.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As the standard library does: a server that starts again does not wait for what is left of its connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the server is told to stop, then lets open requests end, for at most
/// `drain`. Returns how many connections had to be cut.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    limits: ConnectionLimits,
    app: Arc<App>,
    drain: Duration,
) -> usize {
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &limits) => accepted,
            () = app.shutdown.cancelled() => break,
        };
        let Some((stream, peer, permit)) = accepted else {
            continue;
        };
        let serving = connection(stream, peer, permit, tls.clone(), Arc::clone(&app));
        let cut = cut.clone();
        app.tasks.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    app.tasks.close();
    if tokio::time::timeout(drain, app.tasks.wait()).await.is_ok() {
        return 0;
    }
    let left = app.tasks.len();
    app.cut.cancel();
    cut.cancel();
    left
}

/// The next connection that may be served. Does nothing that a client can slow down.
async fn accept(
    listener: &TcpListener,
    limits: &ConnectionLimits,
) -> Option<(TcpStream, SocketAddr, ConnectionPermit)> {
    let room = limits.room().await;
    let (stream, peer) = match listener.accept().await {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            return None;
        }
    };
    let Some(permit) = limits.admit(room, peer.ip()) else {
        tracing::debug!(%peer, "too many connections from this address");
        return None;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection is gone");
        return None;
    }
    Some((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    tls: TlsAcceptor,
    app: Arc<App>,
) {
    // Boxed, so that an idle connection does not keep the room of its handshake.
    let stream = match Box::pin(greeting::greet(stream, &tls, &app)).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
    };
    let session = stream.get_ref().1;
    let cluster = session.server_name().and_then(ClusterId::from_server_name);
    let channel = session
        .export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
        .ok();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let connection = Arc::new(Connection {
        peer,
        cluster,
        channel,
        _permit: permit,
    });
    let result = if http2 {
        Box::pin(serve_http2(stream, connection, app)).await
    } else {
        Box::pin(serve_http1(stream, connection, app)).await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn serve_http1(
    stream: TlsStream<ReadAhead<TcpStream>>,
    connection: Arc<Connection>,
    app: Arc<App>,
) -> Result<(), hyper::Error> {
    let shutdown = app.shutdown.clone();
    let header = app.config.limits.header;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        router::answer(Arc::clone(&app), Arc::clone(&connection), request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_buf_size(HTTP1_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => return result,
        () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

async fn serve_http2(
    stream: TlsStream<ReadAhead<TcpStream>>,
    connection: Arc<Connection>,
    app: Arc<App>,
) -> Result<(), hyper::Error> {
    let shutdown = app.shutdown.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        router::answer(Arc::clone(&app), Arc::clone(&connection), request)
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_WINDOW)
        .initial_connection_window_size(HTTP2_WINDOW)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => return result,
        () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}
