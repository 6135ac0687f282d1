//! Something that answers HTTP over TLS, and how to be let in.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt as _;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Windows of an HTTP/2 stream and connection, in bytes: those of Go's client.
const HTTP2_WINDOWS: (u32, u32) = (4 << 20, 1 << 30);

/// Where requests are sent.
#[derive(Clone)]
pub struct Endpoint {
    address: String,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    authorization: Option<HeaderValue>,
    /// In front of every path.
    prefix: String,
    protocol: Protocol,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// A kept connection.
pub enum Connection {
    /// One request after the other.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Several at once.
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Endpoint {
    /// What a kubeconfig points to.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub fn of_kube(config: &kube::Config, token: Option<&str>) -> anyhow::Result<Self> {
        let uri = &config.cluster_url;
        let host = uri.host().context("server address without a host")?;
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authorization = token
            .map(|token| HeaderValue::from_str(&format!("Bearer {token}")))
            .transpose()?;
        Ok(Self {
            address: format!("{host}:{}", uri.port_u16().unwrap_or(443)),
            name: ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?,
            tls: Arc::new(tls),
            authorization,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            protocol: Protocol::Http1,
        })
    }

    /// A server on loopback whose certificate is for `localhost`.
    ///
    /// # Errors
    /// Never for a valid name.
    pub fn local(port: u16, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Self> {
        Ok(Self {
            address: format!("127.0.0.1:{port}"),
            name: ServerName::try_from("localhost")?,
            tls,
            authorization: None,
            prefix: String::new(),
            protocol: Protocol::Http1,
        })
    }

    /// The same over HTTP/2, as clients written in Go ask.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        self.tls = Arc::new(tls);
        self.protocol = Protocol::Http2;
        self
    }

    /// A TLS connection.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect_tls(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await?)
    }

    /// A kept connection; its driver runs in a task that ends with it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TokioIo::new(self.connect_tls().await?);
        match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Ok(Connection::Http1(sender))
            }
            Protocol::Http2 => {
                let (of_stream, of_connection) = HTTP2_WINDOWS;
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(of_stream)
                    .initial_connection_window_size(of_connection)
                    .handshake(stream)
                    .await?;
                tokio::spawn(connection);
                Ok(Connection::Http2(sender))
            }
        }
    }

    /// A GET of a path here.
    ///
    /// # Errors
    /// When the path is none.
    pub fn get(&self, path: &str) -> anyhow::Result<Request<Full<Bytes>>> {
        self.request(Method::GET, path, Bytes::new())
    }

    /// A request to a path here; a body is JSON.
    ///
    /// # Errors
    /// When the path is none.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let (address, prefix) = (&self.address, &self.prefix);
        let request = match self.protocol {
            Protocol::Http1 => Request::builder()
                .uri(format!("{prefix}{path}"))
                .header(header::HOST, address),
            Protocol::Http2 => Request::builder().uri(format!("https://{address}{prefix}{path}")),
        };
        let mut request = request
            .method(method)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "bench/1.0");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request.body(Full::new(body))?)
    }

    /// Sends one request on a connection of its own; the body of its answer.
    ///
    /// # Errors
    /// When there is no answer, or it is no success.
    pub async fn ask(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let request = self.request(method, path, body)?;
        self.connect().await?.ask(request).await
    }
}

impl Connection {
    /// Sends a request.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request; the body of its answer.
    ///
    /// # Errors
    /// When there is no answer, or it is no success.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let response = self.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{what}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}
