//! One connection to one server of a directory: one request at a time, everything that comes back
//! bounded.
//!
//! `ldap3` brings filters and the writing of BER. Its own connections are not used: what they read
//! may be of any length and depth, and is taken apart with `expect`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::ber::{self, Malformed};
use super::filter::Filter;
use super::message::{Answer, Body, Control, Entry, Outcome, PAGED_RESULTS, Request, Scope};

/// The longest message that is taken, in bytes. A thousand security identifiers are 28 KiB.
const MAX_MESSAGE: usize = 256 * 1024;
/// The most that a connection takes in all, in bytes.
const MAX_RECEIVED: usize = 8 * 1024 * 1024;
/// How much is read at once, in bytes.
const READ: usize = 8 * 1024;
/// How many entries a page of a search has.
const PAGE: usize = 500;
/// How many pages may come back with less than was asked for.
const SHORT_PAGES: usize = 16;

/// How a connection is protected.
#[derive(Clone, Debug)]
pub(super) enum Protection {
    /// Not at all.
    None,
    /// By TLS from the first byte.
    Tls(Arc<ClientConfig>),
    /// By TLS from when both ends have agreed on it.
    StartTls(Arc<ClientConfig>),
}

/// There is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("connection is lost: {0}")]
    Io(io::Error),
    #[error("the directory ended the connection")]
    Ended,
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
    #[error("more than {MAX_RECEIVED} bytes of answers, or {MAX_MESSAGE} bytes of one")]
    TooMuch,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("refused with code {} {:?}", .0.code, .0.text)]
    Refused(Outcome),
}

/// What a search has found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Whether there is more than that.
    pub(super) more: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a directory.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    received: usize,
    requests: u32,
    /// How long an answer may take.
    patience: Duration,
}

impl Connection {
    /// Connects, with TLS as it is wanted, within `patience`.
    pub(super) async fn open(
        host: &str,
        port: u16,
        protection: &Protection,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let open = async {
            let stream = TcpStream::connect((host, port)).await;
            let stream = stream.map_err(Failure::Connect)?;
            // Requests are small and each waits for its answer.
            stream.set_nodelay(true).map_err(Failure::Connect)?;
            let mut connection = Self::over(stream, patience);
            match protection {
                Protection::None => {}
                Protection::Tls(config) => connection = connection.secure(config, host).await?,
                Protection::StartTls(config) => {
                    connection.start_tls().await?;
                    connection = connection.secure(config, host).await?;
                }
            }
            Ok::<_, Failure>(connection)
        };
        let opened = timeout(patience, open).await;
        opened.unwrap_or(Err(Failure::TooSlow(patience)))
    }

    pub(super) fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        patience: Duration,
    ) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: BytesMut::new(),
            received: 0,
            requests: 0,
            patience,
        }
    }

    /// How long each answer may take from now on.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    async fn start_tls(&mut self) -> Result<(), Failure> {
        self.send(&Request::StartTls, &[]).await?;
        match self.receive().await?.body {
            Body::Extended(outcome) if outcome.code == 0 => {}
            Body::Extended(outcome) => return Err(Failure::Refused(outcome)),
            _ => return Err(Malformed("StartTLS has another answer").into()),
        }
        // Whoever is in between must not say anything on behalf of who is behind TLS.
        if !self.buffer.is_empty() {
            return Err(Malformed("something is said between StartTLS and TLS").into());
        }
        Ok(())
    }

    async fn secure(self, config: &Arc<ClientConfig>, host: &str) -> Result<Self, Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Failure::Tls(io::Error::other(error)))?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, self.stream).await;
        Ok(Self::over(stream.map_err(Failure::Tls)?, self.patience))
    }

    /// A simple bind. `password` must not be empty: that is a bind as nobody, and succeeds.
    pub(super) async fn bind(
        &mut self,
        name: &str,
        password: &str,
        controls: &[Control],
    ) -> Result<(Outcome, Vec<Control>), Failure> {
        let patience = self.patience;
        let bind = async {
            self.send(&Request::Bind { name, password }, controls)
                .await?;
            let answer = self.receive().await?;
            match answer.body {
                Body::Bind(outcome) => Ok((outcome, answer.controls)),
                _ => Err(Failure::from(Malformed("a bind has another answer"))),
            }
        };
        let bound = timeout(patience, bind).await;
        bound.unwrap_or(Err(Failure::TooSlow(patience)))
    }

    /// A search, page by page, for at most `limit` entries.
    pub(super) async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: &[&str],
        limit: usize,
    ) -> Result<Found, Failure> {
        let request = Request::Search {
            base,
            scope,
            filter,
            attributes,
        };
        let mut entries = Vec::new();
        let mut cookie = Vec::new();
        let patience = self.patience;
        let mut pages = limit / PAGE + SHORT_PAGES;
        loop {
            pages = pages.checked_sub(1).ok_or(Failure::TooMuch)?;
            // One more than is wanted tells whether there is more.
            let page = Control::page((limit + 1 - entries.len()).min(PAGE), &cookie);
            let page = timeout(patience, self.page(&request, page, limit, &mut entries)).await;
            cookie = page.unwrap_or(Err(Failure::TooSlow(patience)))?;
            if entries.len() > limit || cookie.is_empty() {
                break;
            }
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Found { entries, more })
    }

    /// One page of a search: up to one entry more than the limit. The cookie of the next.
    async fn page(
        &mut self,
        request: &Request<'_>,
        page: Control,
        limit: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<Vec<u8>, Failure> {
        self.send(request, &[page]).await?;
        let (outcome, controls) = loop {
            let answer = self.receive().await?;
            match answer.body {
                Body::Entry(entry) if entries.len() <= limit => entries.push(entry),
                Body::Entry(_) | Body::Other => {}
                Body::Done(outcome) => break (outcome, answer.controls),
                _ => return Err(Malformed("a search has another answer").into()),
            }
        };
        if outcome.code != 0 {
            return Err(Failure::Refused(outcome));
        }
        let next = controls.iter().find(|found| found.oid == PAGED_RESULTS);
        Ok(next.map_or(Ok(&[][..]), Control::cookie)?.to_vec())
    }

    /// Says good-bye, which nobody answers.
    pub(super) async fn close(mut self) {
        // Whether or not that arrives, the connection is over.
        let _ = self.send(&Request::Unbind, &[]).await;
        let _ = self.stream.shutdown().await;
    }

    async fn send(&mut self, request: &Request<'_>, controls: &[Control]) -> Result<(), Failure> {
        self.requests += 1;
        let bytes = request.encode(self.requests, controls);
        self.stream.write_all(&bytes).await.map_err(Failure::Io)?;
        self.stream.flush().await.map_err(Failure::Io)
    }

    /// The next answer to the last request.
    async fn receive(&mut self) -> Result<Answer, Failure> {
        let length = loop {
            if let Some(length) = ber::length(&self.buffer)? {
                if length > MAX_MESSAGE {
                    return Err(Failure::TooMuch);
                }
                if self.buffer.len() >= length {
                    break length;
                }
            }
            self.buffer.reserve(READ);
            let read = self.stream.read_buf(&mut self.buffer).await;
            let read = read.map_err(Failure::Io)?;
            if read == 0 {
                return Err(Failure::Ended);
            }
            self.received += read;
            if self.received > MAX_RECEIVED {
                return Err(Failure::TooMuch);
            }
        };
        let answer = Answer::decode(&self.buffer.split_to(length))?;
        match answer.id {
            id if id == self.requests => Ok(answer),
            // A notice of disconnection (RFC 4511, section 4.4.1).
            0 => Err(Failure::Ended),
            _ => Err(Malformed("an answer is to another request").into()),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("requests", &self.requests)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
