//! A tunnel server and agents over real TCP and TLS on loopback.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "test support, of which each test binary uses a part"
)]

pub mod relay;

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming as Body},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tunnel::{
    CHANNEL_BINDING_LABEL, Io, Memory,
    accept::{AcceptError, Accepted, Acceptor, Admission, Upgrade},
    dial::{Connect, Connected, DialError, Dialer, Introduction, Trust},
    identity::KeyPair,
    session::{Incoming, Session},
};
use tunnel_proto::{
    hello::{AgentKind, Limits, Rejection},
    stream::{Class, OpenV1, Target},
};

static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Sessions that agents may go on with, by their ids.
pub type Known = Arc<Mutex<HashMap<String, Session>>>;

pub struct Server {
    /// What the server knows of the sessions it has accepted.
    pub known: Known,
    pub address: SocketAddr,
    pub ca_pem: String,
    accepted: mpsc::Receiver<Result<Accepted, AcceptError>>,
}

pub type Admit = fn(&tunnel::accept::Verified) -> Result<(), Rejection>;

/// What the connections of a server share.
#[derive(Clone)]
pub struct Serving {
    tls: TlsAcceptor,
    acceptor: Acceptor,
    admit: Admit,
    known: Known,
    pub ca_pem: String,
    accepted: mpsc::Sender<Result<Accepted, AcceptError>>,
}

impl Server {
    pub async fn start(acceptor: Acceptor, admit: Admit) -> Self {
        let (serving, accepted) = Serving::new(acceptor, admit);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (known, ca_pem) = (Arc::clone(&serving.known), serving.ca_pem.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(tcp));
            }
        });
        Self {
            known,
            address,
            ca_pem,
            accepted,
        }
    }

    pub async fn accepted(&mut self) -> Result<Accepted, AcceptError> {
        within(self.accepted.recv()).await.unwrap()
    }

    pub fn dialer(&self) -> Dialer {
        Dialer::new(
            format!("https://localhost:{}", self.address.port())
                .parse()
                .unwrap(),
            Trust::pem(self.ca_pem.as_bytes()).unwrap(),
        )
    }
}

impl Serving {
    fn new(
        acceptor: Acceptor,
        admit: Admit,
    ) -> (Self, mpsc::Receiver<Result<Accepted, AcceptError>>) {
        let (ca_pem, tls) = certificates();
        let (tx, accepted) = mpsc::channel(64);
        let serving = Self {
            tls: TlsAcceptor::from(tls),
            acceptor,
            admit,
            known: Known::default(),
            ca_pem,
            accepted: tx,
        };
        (serving, accepted)
    }

    /// Answers one connection.
    pub async fn serve(self, io: impl Io) {
        let Ok(stream) = self.tls.accept(io).await else {
            return;
        };
        let channel = stream
            .get_ref()
            .1
            .export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
            .unwrap();
        let service = service_fn(move |mut request: Request<Body>| {
            let serving = self.clone();
            async move {
                if request.uri().path() == "/cacerts" {
                    let ca = Bytes::from(serving.ca_pem);
                    return Ok(Response::new(Either::Right(http_body_util::Full::new(ca))));
                }
                let (response, upgrade) = match serving.acceptor.upgrade(&request) {
                    Ok(done) => done,
                    Err(error) => {
                        let mut response = Response::new(Either::Left(Empty::new()));
                        *response.status_mut() = error.status();
                        return Ok::<_, hyper::Error>(response);
                    }
                };
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let io = TokioIo::new(upgraded.await.unwrap());
                    serving.shake_hands(io, &upgrade, &channel).await;
                });
                Ok(response.map(|()| Either::Left(Empty::new())))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    }

    async fn shake_hands(&self, io: impl Io, upgrade: &Upgrade, channel: &[u8]) {
        let admission = |verified: tunnel::accept::Verified| async move {
            (self.admit)(&verified)?;
            let known = self.known.lock().unwrap();
            let resume = verified.hello.resume.as_ref();
            Ok(Admission {
                bound_to: "c-test".into(),
                session: format!("s-{}", SESSIONS.fetch_add(1, Ordering::Relaxed)),
                resume: resume.and_then(|resume| known.get(&resume.session).cloned()),
            })
        };
        let result = self
            .acceptor
            .accept(io, upgrade, Some(channel), admission)
            .await;
        if let Ok(accepted) = &result {
            let session = accepted.session.clone();
            let mut known = self.known.lock().unwrap();
            known.insert(session.id().to_owned(), session);
        }
        let _ = self.accepted.send(result).await;
    }
}

/// What a connection in memory holds of each direction, and keeps when it is empty.
pub const IN_MEMORY: usize = 64 * 1024;

/// Reaches a server in memory.
struct InMemory(Serving);

impl Connect for InMemory {
    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, std::io::Result<Box<dyn Io>>> {
        let (near, far) = tokio::io::duplex(IN_MEMORY);
        tokio::spawn(self.0.clone().serve(far));
        Box::pin(async move {
            let near: Box<dyn Io> = Box::new(near);
            Ok(near)
        })
    }
}

/// Both ends of a live session in memory, for virtual time.
pub async fn pair_in_memory(acceptor: Acceptor, mux: &str) -> (Session, Session) {
    pair_through(acceptor, mux, |serving| Arc::new(InMemory(serving))).await
}

/// Both ends of a live session over the connections that `connect` makes.
pub async fn pair_through(
    acceptor: Acceptor,
    mux: &str,
    connect: impl FnOnce(Serving) -> Arc<dyn Connect>,
) -> (Session, Session) {
    let (serving, mut accepted) = Serving::new(acceptor, |_| Ok(()));
    let trust = Trust::pem(serving.ca_pem.as_bytes()).unwrap();
    let mut dialer = Dialer::new("https://localhost".parse().unwrap(), trust);
    dialer.network = tunnel::dial::Network::new(connect(serving), 1);
    dialer.muxes = vec![mux.to_owned()];
    let agent = dial(&dialer).await.unwrap();
    tokio::spawn(agent.driver);
    let accepted = within(accepted.recv()).await.unwrap().unwrap();
    assert_eq!(accepted.session.mux(), mux);
    tokio::spawn(accepted.driver.unwrap());
    (accepted.session, agent.session)
}

pub fn certificates() -> (String, Arc<ServerConfig>) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (ca.pem(), Arc::new(config))
}

pub fn acceptor() -> Acceptor {
    Acceptor {
        key: Arc::new(KeyPair::generate().unwrap()),
        replica: "r-1".into(),
        heartbeat: Duration::from_secs(15),
        patience: Duration::from_secs(2),
        limits: Limits::default(),
        resume_window: Duration::from_secs(30),
        memory: Memory::default(),
        require_channel_binding: true,
    }
}

pub fn introduction() -> Introduction {
    Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: None,
        },
        software: "test/0".into(),
        instance: "i-1".into(),
        registration_token: None,
    }
}

pub async fn dial(dialer: &Dialer) -> Result<Connected, DialError> {
    let key = KeyPair::generate().unwrap();
    within(dialer.dial(&key, &introduction())).await
}

/// Both ends of a live session, each driven by a task.
pub async fn pair() -> (Session, Session) {
    pair_with(acceptor()).await
}

pub async fn pair_with(acceptor: Acceptor) -> (Session, Session) {
    let mut server = Server::start(acceptor, |_| Ok(())).await;
    let agent = dial(&server.dialer()).await.unwrap();
    tokio::spawn(agent.driver);
    let accepted = server.accepted().await.unwrap();
    tokio::spawn(accepted.driver.unwrap());
    (accepted.session, agent.session)
}

pub fn open_to(target: Target) -> OpenV1 {
    OpenV1 {
        target,
        class: Class::Interactive,
        trace: [1; 16],
        deadline_ms: 5_000,
    }
}

/// Takes every stream of the peer and hands it to `each`.
pub fn serve_streams<F, Fut>(session: &Session, each: F)
where
    F: Fn(Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let session = session.clone();
    tokio::spawn(async move {
        while let Some(incoming) = session.accept().await {
            tokio::spawn(each(incoming));
        }
    });
}

/// Gives back what it gets, keeping the half-close.
pub async fn echo(incoming: Incoming) {
    let Ok(inbound) = incoming.preamble().await else {
        return;
    };
    let Ok(stream) = inbound.accept().await else {
        return;
    };
    let (mut read, mut write) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("took more than 20 s")
}
