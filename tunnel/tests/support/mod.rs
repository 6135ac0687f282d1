//! A tunnel server and agents over real TCP and TLS on loopback.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "test support, of which each test binary uses a part"
)]

pub mod relay;

use http::{Request, Response};
use http_body_util::Empty;
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
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tunnel::{
    CHANNEL_BINDING_LABEL, Memory,
    accept::{AcceptError, Accepted, Acceptor, Admission},
    dial::{Connected, DialError, Dialer, Introduction, Trust},
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

impl Server {
    pub async fn start(acceptor: Acceptor, admit: Admit) -> Self {
        let (ca_pem, tls) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tx, accepted) = mpsc::channel(64);
        let (tls, served_ca) = (TlsAcceptor::from(tls), ca_pem.clone());
        let known = Known::default();
        let serving = Arc::clone(&known);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, tx, tls, ca) =
                    (acceptor.clone(), tx.clone(), tls.clone(), served_ca.clone());
                let known = Arc::clone(&serving);
                tokio::spawn(serve(tcp, tls, acceptor, admit, tx, ca, known));
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

async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    acceptor: Acceptor,
    admit: Admit,
    tx: mpsc::Sender<Result<Accepted, AcceptError>>,
    ca: String,
    known: Known,
) {
    let Ok(stream) = tls.accept(tcp).await else {
        return;
    };
    let channel = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None)
        .unwrap();
    let service = service_fn(move |mut request: Request<Body>| {
        let (acceptor, tx, ca) = (acceptor.clone(), tx.clone(), ca.clone());
        let known = Arc::clone(&known);
        async move {
            if request.uri().path() == "/cacerts" {
                return Ok(Response::new(http_body_util::Either::Right(
                    http_body_util::Full::new(Bytes::from(ca)),
                )));
            }
            let (response, upgrade) = match acceptor.upgrade(&request) {
                Ok(done) => done,
                Err(error) => {
                    let mut response = Response::new(http_body_util::Either::Left(Empty::new()));
                    *response.status_mut() = error.status();
                    return Ok::<_, hyper::Error>(response);
                }
            };
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let io = TokioIo::new(upgraded.await.unwrap());
                let knows = Arc::clone(&known);
                let admission = |verified: tunnel::accept::Verified| async move {
                    admit(&verified)?;
                    let known = knows.lock().unwrap();
                    let resume = verified.hello.resume.as_ref();
                    Ok(Admission {
                        bound_to: "c-test".into(),
                        session: format!("s-{}", SESSIONS.fetch_add(1, Ordering::Relaxed)),
                        resume: resume.and_then(|resume| known.get(&resume.session).cloned()),
                    })
                };
                let result = acceptor
                    .accept(io, &upgrade, Some(&channel), admission)
                    .await;
                if let Ok(accepted) = &result {
                    let session = accepted.session.clone();
                    known
                        .lock()
                        .unwrap()
                        .insert(session.id().to_owned(), session);
                }
                let _ = tx.send(result).await;
            });
            Ok(response.map(|()| http_body_util::Either::Left(Empty::new())))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

fn certificates() -> (String, Arc<ServerConfig>) {
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
