//! The baseline: one hop of a hyper reverse proxy with kept TLS connections to what is behind it, no authentication,
//! no tunnel.

use anyhow::Context as _;
use http::{
    Request, Response, Uri, header,
    uri::{Authority, PathAndQuery},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use kube::client::ConfigExt as _;
use std::sync::Arc;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// Kept connections to one server.
#[derive(Clone)]
pub struct Pool {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
    authority: Authority,
}

impl Pool {
    /// To what a kubeconfig points to.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub fn of_kube(config: &kube::Config) -> anyhow::Result<Self> {
        let authority = config
            .cluster_url
            .authority()
            .context("server address without a host")?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(config.rustls_https_connector()?),
            authority: authority.clone(),
        })
    }

    /// To a port of loopback, whose certificate is for `localhost`.
    ///
    /// # Errors
    /// Never for a valid port.
    pub fn local(port: u16, tls: &rustls::ClientConfig) -> anyhow::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            authority: format!("localhost:{port}").parse()?,
        })
    }

    /// Sends a request on a kept connection.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn forward(
        &self,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Incoming>> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        request.headers_mut().remove(header::HOST);
        Ok(self.client.request(request).await?)
    }

    /// Serves one connection, whose requests are passed on.
    ///
    /// # Errors
    /// When it breaks.
    pub async fn serve(self, io: impl AsyncRead + AsyncWrite + Unpin) -> hyper::Result<()> {
        let service = service_fn(move |request| {
            let pool = self.clone();
            async move { pool.forward(request).await }
        });
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(io), service)
            .await
    }
}

/// Starts the proxy to what a kubeconfig points to; returns its port on loopback.
///
/// # Errors
/// When the kubeconfig cannot be used, or there is no port.
pub async fn start(config: &kube::Config, tls: Arc<rustls::ServerConfig>) -> anyhow::Result<u16> {
    let pool = Pool::of_kube(config)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, pool) = (acceptor.clone(), pool.clone());
            tokio::spawn(async move {
                tcp.set_nodelay(true)?;
                pool.serve(acceptor.accept(tcp).await?).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(port)
}
