//! A server in this process, and agents that serve what a test wants over real tunnels.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "test support, of which each test binary uses a part"
)]

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lariat_api::{Cluster, ClusterRegistrationToken, Kind as _};
use lariat_server::Server;
use lariat_server::clock::Clock;
use lariat_server::config::{Config, Sources};
use lariat_server::state::App;
use lariat_server::tokens::{self, NewToken};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tunnel::dial::{Connected, DialError, Dialer, Introduction, Trust};
use tunnel::http::Asker;
use tunnel::identity::KeyPair;
use tunnel::session::Session;
use tunnel_proto::hello::AgentKind;

pub type Sender = SendRequest<UnsyncBoxBody<Bytes, Infallible>>;

pub type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A running server with one administrator's token.
pub struct Running {
    pub app: Arc<App>,
    pub port: u16,
    pub token: String,
    pub token_name: String,
    pub ca: String,
    stop: CancellationToken,
    running: JoinHandle<usize>,
    pub data: tempfile::TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 0, flags).await
    }

    /// Starts a server in a folder, where there may have been one before, at a port; 0 is any.
    pub async fn start_in(data: tempfile::TempDir, port: u16, flags: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let folder = data.path().to_str().unwrap().to_owned();
        let audit = format!("{folder}/audit.log");
        let args = [
            "--data-dir",
            &folder,
            "--listen",
            &listen,
            "--drain-timeout",
            "2s",
            "--audit-log",
            &audit,
        ];
        let sources = Sources::collect(
            args.iter().chain(flags).map(ToString::to_string),
            |_| None,
            |path| std::fs::read_to_string(path),
        );
        let config = Config::new(&sources).unwrap();
        let stop = CancellationToken::new();
        let server = Server::bind(config, Clock::system(), stop.clone())
            .await
            .unwrap();
        let port = server.address().unwrap().port();
        let app = Arc::clone(server.app());
        let running = tokio::spawn(server.run());
        let admin = app.directory.login("admin").unwrap().0;
        let new = NewToken {
            user: admin.to_string(),
            ..NewToken::default()
        };
        let made = tokens::create(&app, new).await.unwrap();
        let ca = app.certificates.private_authority().to_owned();
        Self {
            port,
            token: made.token.clone(),
            token_name: made.name().to_owned(),
            ca,
            stop,
            running,
            app,
            data,
        }
    }

    /// Stops it and waits for its end. Returns its folder.
    pub async fn end(self) -> tempfile::TempDir {
        self.stop.cancel();
        within(self.running).await.unwrap();
        self.data
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Clusters, for the server itself.
    pub fn clusters(&self) -> Api<Cluster> {
        Api::all(self.app.own.clone())
    }

    /// Registration tokens of a cluster, for the server itself.
    pub fn registrations(&self, cluster: &str) -> Api<ClusterRegistrationToken> {
        Api::namespaced(self.app.own.clone(), cluster)
    }

    pub async fn cluster(&self, name: &str) -> Cluster {
        let mut cluster = Cluster::new(name);
        cluster.metadata.name = Some(name.to_owned());
        let clusters = self.clusters();
        let made = clusters.create(&PostParams::default(), &cluster).await;
        made.unwrap()
    }

    /// Lets the next agent take the place of the one that is bound.
    pub async fn allow_rebind(&self, cluster: &str) {
        let allowed = Patch::Merge(json!({"spec": {"allowAgentRebind": true}}));
        let params = PatchParams::default();
        let clusters = self.clusters();
        clusters.patch(cluster, &params, &allowed).await.unwrap();
    }

    /// A registration token for a cluster.
    pub async fn registration(&self, cluster: &str, name: &str) -> String {
        let mut token = ClusterRegistrationToken::default();
        token.metadata.name = Some(name.to_owned());
        let tokens = self.registrations(cluster);
        let made = tokens.create(&PostParams::default(), &token).await;
        made.unwrap().status.unwrap().token
    }

    pub fn dialer(&self) -> Dialer {
        Dialer::new(
            format!("https://localhost:{}", self.port).parse().unwrap(),
            Trust::pem(self.ca.as_bytes()).unwrap(),
        )
    }

    pub async fn dial(&self, key: &KeyPair, token: Option<&str>) -> Result<Connected, DialError> {
        let introduction = Introduction {
            agent: AgentKind::Cluster {
                cluster_uid: None,
                kubernetes_version: Some("v1.35.0".into()),
            },
            software: "test/0".into(),
            instance: format!("{:?}", key.public_key()),
            registration_token: token.map(str::to_owned),
        };
        within(self.dialer().dial(key, &introduction)).await
    }

    /// A cluster `c-1` with an agent that lets `each` answer.
    pub async fn connected<F, Fut>(&self, each: F) -> Session
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.cluster("c-1").await;
        let token = self.registration("c-1", "first").await;
        let connected = self
            .dial(&KeyPair::generate().unwrap(), Some(&token))
            .await
            .unwrap();
        tokio::spawn(connected.driver);
        serve(&connected.session, each);
        let id = "c-1".parse().unwrap();
        until(|| self.app.tunnels.get(&id).is_some()).await;
        connected.session
    }

    /// A connection of a client, HTTP/1.1 over TLS, with this server name.
    pub async fn client(&self, server_name: &str) -> Sender {
        connect(self.port, &self.ca, server_name).await.unwrap()
    }

    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
    }

    /// Sends one request and reads the whole answer.
    pub async fn ask(
        &self,
        request: http::request::Builder,
        body: &'static str,
    ) -> (http::response::Parts, Bytes) {
        let mut client = self.client("localhost").await;
        let body = Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync();
        let response = within(client.send_request(request.body(body).unwrap()))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        (parts, within(body.collect()).await.unwrap().to_bytes())
    }
}

/// A connection of a client to a server on this machine: HTTP/1.1 over TLS, with this server name.
pub async fn connect(port: u16, ca: &str, server_name: &str) -> io::Result<Sender> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = server_name.to_owned().try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tls));
    let (sender, connection) = handshake.await.map_err(io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// Serves HTTP on every stream of a session.
pub fn serve<F, Fut>(session: &Session, each: F)
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let (session, tasks) = (session.clone(), TaskTracker::new());
    tokio::spawn(async move {
        while let Some(incoming) = session.accept().await {
            let (each, tasks) = (each.clone(), tasks.clone());
            tokio::spawn(async move {
                let Ok(inbound) = incoming.preamble().await else {
                    return;
                };
                let Ok(stream) = inbound.accept().await else {
                    return;
                };
                let service = service_fn(move |mut request| {
                    let asker = Asker::of(&mut request);
                    let (answer, tasks) = (each(request), tasks.clone());
                    async move { Ok::<_, Infallible>(asker.answer(answer.await, &tasks)) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
}

pub fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Says what was asked, as text: method and URI, then a header a line, then the body.
pub async fn mirror(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = body.collect().await.unwrap().to_bytes();
    text.push('\n');
    text.push_str(std::str::from_utf8(&body).unwrap());
    answer(200, text)
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("took more than 20 s")
}

/// Waits for a condition that some task brings about.
pub async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
