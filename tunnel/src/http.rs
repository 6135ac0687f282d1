//! HTTP/1.1 over streams: a client whose connections are streams of a session, and what both
//! ends of a proxy need to pass a request on unharmed.
//!
//! Connections are kept alive and reused, so a request costs one round trip and no handshake.
//! Bodies, trailers and upgraded connections are streamed, never collected.

mod unframed;
mod watch;

pub use unframed::{AnswerBody, Asker, ask_unframed};
pub use watch::{EndingWatch, end_watch_when, is_watch};

use crate::session::{OpenError, Session, Stream, refusal_in};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tower_service::Service;
use tunnel_proto::stream::{Class, OpenV1, Refusal, Target};

/// How long an unused kept connection stays open.
const IDLE: Duration = Duration::from_secs(60);

/// Kept connections per session. One is about 24 KiB on either side while it is idle, which are the
/// buffers of hyper.
const MOST_IDLE: usize = 64;

/// Copy buffer of each direction of an upgraded connection. tokio's default of 8 KiB costs 2.5
/// times the CPU.
const SPLICE_BUFFER: usize = 64 * 1024;

/// An HTTP client whose connections are streams of one session to one target.
pub type StreamClient<B> = Client<StreamConnector, B>;

/// A client over `session`. The authority of a request's URI only tells kept connections apart.
/// For [`Class::Bulk`] none is kept: what carries a lot has a stream of its own, and goes over the
/// lane that is there when it begins.
pub fn client<B>(session: Session, target: Target, class: Class) -> StreamClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let kept = if class == Class::Bulk { 0 } else { MOST_IDLE };
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(kept)
        .set_host(false)
        .build(StreamConnector {
            session,
            target,
            class,
        })
}

/// Opens streams for [`StreamClient`].
#[derive(Clone, Debug)]
pub struct StreamConnector {
    session: Session,
    target: Target,
    class: Class,
}

impl Service<Uri> for StreamConnector {
    type Response = StreamConnection;
    type Error = OpenError;
    type Future = Pin<Box<dyn Future<Output = Result<StreamConnection, OpenError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let session = self.session.clone();
        let open = OpenV1 {
            target: self.target.clone(),
            class: self.class,
            trace: [0; 16],
            deadline_ms: 10_000,
        };
        Box::pin(async move { Ok(StreamConnection(TokioIo::new(session.open(&open).await?))) })
    }
}

/// One kept connection.
pub struct StreamConnection(TokioIo<Stream>);

impl Connection for StreamConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for StreamConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for StreamConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Why a request over a session failed, as far as the error's chain tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The peer refused the stream.
    Refused(Refusal),
    /// No stream could be opened.
    Open(OpenError),
    /// The stream broke.
    Broken,
}

/// Looks for the cause in an error of a [`StreamClient`].
#[must_use]
pub fn cause_of(error: &(dyn std::error::Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(open) = error.downcast_ref::<OpenError>() {
            return Cause::Open(open.clone());
        }
        if let Some(refusal) = error.downcast_ref().and_then(refusal_in) {
            return Cause::Refused(refusal.clone());
        }
        next = error.source();
    }
    Cause::Broken
}

/// Removes the headers that speak of one connection only (RFC 9110, section 7.6.1), among them
/// those that `Connection` names. An upgrade is kept: the returned protocol was put back. `TE:
/// trailers` is kept as well, as without it the next hop may drop trailers.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let upgrade = headers
        .get(header::UPGRADE)
        .filter(|_| named.contains(&header::UPGRADE))
        .cloned();
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRANSFER_ENCODING,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    upgrade
}

/// Joins two upgraded connections until both directions have ended; each is half-closed on its
/// own.
///
/// A side that takes nothing more may still have sent what was not read yet, so that a failed
/// write ends its own direction only.
///
/// # Errors
///
/// A connection broke.
pub async fn splice(
    left: impl AsyncRead + AsyncWrite,
    right: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (left_reader, left_writer) = tokio::io::split(left);
    let (right_reader, right_writer) = tokio::io::split(right);
    let (there, back) = tokio::try_join!(
        carry(left_reader, right_writer),
        carry(right_reader, left_writer)
    )?;
    there.and(back)
}

/// Carries bytes to the end of one direction: the outer error is one of reading, the inner one of
/// writing.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<io::Result<()>> {
    let mut buffer = vec![0; SPLICE_BUFFER];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) if length > 0 => length,
            end => {
                let ended = to.shutdown().await;
                return end.map(|_| ended);
            }
        };
        let written = match to.write_all(&buffer[..length]).await {
            Ok(()) => to.flush().await,
            failed => failed,
        };
        if written.is_err() {
            return Ok(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_side_has_sent_arrives_though_it_takes_nothing_more() {
        let (mut client, left) = tokio::io::duplex(64);
        let (right, cluster) = tokio::io::duplex(64 * 1024);
        let (cluster_reader, mut cluster_writer) = tokio::io::split(cluster);
        cluster_writer.write_all(&[7; 64 * 1024]).await.unwrap();
        // A side that refuses what is written to it, as a closed socket does.
        let right = tokio::io::join(right, Refusing);
        let joined = tokio::spawn(splice(left, right));
        client.write_all(b"anything").await.unwrap();
        drop((cluster_reader, cluster_writer));
        let mut arrived = Vec::new();
        client.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived.len(), 64 * 1024);
        drop(client);
        let error = joined.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    struct Refusing;

    impl AsyncWrite for Refusing {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = name.parse::<HeaderName>().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn headers_of_one_connection_are_removed_with_those_that_connection_names() {
        let mut found = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        assert_eq!(strip_hop_by_hop(&mut found), None);
        assert_eq!(found, headers(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn an_upgrade_is_kept() {
        let mut found = headers(&[
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "SPDY/3.1"),
        ]);
        assert_eq!(strip_hop_by_hop(&mut found).unwrap(), "SPDY/3.1");
        assert_eq!(
            found,
            headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])
        );
    }

    #[test]
    fn an_upgrade_that_connection_does_not_name_is_none() {
        let mut found = headers(&[("upgrade", "h2c")]);
        assert_eq!(strip_hop_by_hop(&mut found), None);
        assert!(found.is_empty());
    }
}
