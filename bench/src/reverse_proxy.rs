//! The baseline: one hop of a hyper reverse proxy with TLS on both sides and kept connections, no
//! authentication, no tunnel.

use anyhow::Context as _;
use http::{Request, Response, Uri, header, uri::PathAndQuery};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use kube::client::ConfigExt as _;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Starts the proxy to what a kubeconfig points to; returns its port on loopback.
///
/// # Errors
/// When the kubeconfig cannot be used, or there is no port.
pub async fn start(config: &kube::Config, tls: Arc<rustls::ServerConfig>) -> anyhow::Result<u16> {
    let client = Client::builder(TokioExecutor::new()).build(config.rustls_https_connector()?);
    let authority = config
        .cluster_url
        .authority()
        .context("server address without a host")?
        .clone();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let acceptor = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, client, authority) =
                (acceptor.clone(), client.clone(), authority.clone());
            tokio::spawn(async move {
                tcp.set_nodelay(true)?;
                let stream = acceptor.accept(tcp).await?;
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let (client, authority) = (client.clone(), authority.clone());
                    async move {
                        let path = request
                            .uri()
                            .path_and_query()
                            .map_or("/", PathAndQuery::as_str);
                        *request.uri_mut() = Uri::builder()
                            .scheme("https")
                            .authority(authority)
                            .path_and_query(path)
                            .build()?;
                        request.headers_mut().remove(header::HOST);
                        anyhow::Ok::<Response<Incoming>>(client.request(request).await?)
                    }
                });
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(port)
}
