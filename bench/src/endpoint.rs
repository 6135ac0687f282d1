//! Something that answers HTTP/1.1 over TLS, and how to be let in.

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt as _;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where requests are sent.
#[derive(Clone)]
pub struct Endpoint {
    address: String,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    authorization: Option<HeaderValue>,
    /// In front of every path.
    prefix: String,
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
        })
    }

    /// The same, with a path in front of every path.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.prefix.push_str(prefix);
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

    /// A kept HTTP/1.1 connection; its driver runs in a task that ends with it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = self.connect_tls().await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A GET of a path here.
    ///
    /// # Errors
    /// When the path is none.
    pub fn get(&self, path: &str) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(format!("{}{path}", self.prefix))
            .header(header::HOST, &self.address)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())?;
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}
