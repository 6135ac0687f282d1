//! Plain HTTP in front of a tunnel: answered by the agent's kept connections, or over a new connection each time.

use super::server::Server;
use anyhow::Context as _;
use http::{Request, Response, header};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1 as client,
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::{future::Future, sync::Arc};
use tokio::{net::TcpListener, sync::OnceCell};
use tokio_rustls::TlsConnector;
use tunnel::http::StreamClient;
use tunnel_proto::stream::{Class, Target};

#[derive(Clone)]
pub(super) struct Gateway {
    server: Arc<Server>,
    tls: TlsConnector,
    kept: Arc<OnceCell<StreamClient<Incoming>>>,
}

impl Gateway {
    pub(super) fn new(server: Arc<Server>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            server,
            tls: TlsConnector::from(tls),
            kept: Arc::default(),
        }
    }

    pub(super) async fn serve_pooled(self, listener: TcpListener) {
        serve(listener, move |request| self.clone().pooled(request)).await;
    }

    pub(super) async fn serve_dialled(self, listener: TcpListener) {
        serve(listener, move |request| self.clone().dialled(request)).await;
    }

    /// Over streams that are kept, to the agent, which answers over connections that it keeps.
    async fn pooled(self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let client = self
            .kept
            .get_or_try_init(async || {
                let session = self.server.session()?;
                anyhow::Ok(tunnel::http::client(
                    session,
                    Target::KubeApi,
                    Class::Interactive,
                ))
            })
            .await?;
        *request.uri_mut() = format!("http://agent{}", request.uri()).parse()?;
        Ok(client.request(request).await?)
    }

    /// Over a connection that the agent dials and a TLS handshake with what is behind it, for this request alone.
    async fn dialled(self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let stream = self.server.dial().await?;
        let name = ServerName::try_from("localhost")?;
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        request
            .headers_mut()
            .insert(header::CONNECTION, "close".try_into()?);
        let mut response = sender.send_request(request).await?;
        // The load's own connection is kept.
        response.headers_mut().remove(header::CONNECTION);
        Ok(response)
    }
}

async fn serve<A, F, B>(listener: TcpListener, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = anyhow::Result<Response<B>>> + Send + 'static,
    B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    while let Ok((tcp, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            tcp.set_nodelay(true)?;
            server::Builder::new()
                .serve_connection(TokioIo::new(tcp), service_fn(answer))
                .await
                .context("connection of a client")
        });
    }
}
