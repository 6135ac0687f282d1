//! One server and its agents on a simulated network: processes that can crash and start anew.

use super::{
    network::{Network, Socket},
    oracle::{ACCEPTOR, Ledger},
    trace::Trace,
};
use http::Request;
use http_body_util::Empty;
use hyper::{
    body::{Bytes, Incoming as Body},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tunnel::{
    CHANNEL_BINDING_LABEL, Memory,
    accept::{Acceptor, Admission, Verified},
    dial::{Connected, Dialer, Introduction, Proxies, Trust},
    identity::KeyPair,
    session::{Incoming, Phase, Session, Stream},
};
use tunnel_proto::{
    hello::{AgentKind, Limits},
    stream::{Class, OpenV1, Target},
};

/// Number of the streams that ask only whether the tunnel works.
const PROBE: u64 = u64::MAX;

/// How long a server waits for a handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is the same for as long as the world is.
#[derive(Clone)]
pub struct Settings {
    pub resume_window: Duration,
    /// What each process may keep in memory, twice.
    pub memory: usize,
    /// Multiplexers that each agent offers.
    pub muxes: Vec<Vec<String>>,
    /// Whether agents have a second lane for bulk.
    pub bulk_lane: bool,
    pub seed: u64,
}

pub struct World {
    pub network: Network,
    pub trace: Arc<Trace>,
    pub ledger: Arc<Ledger>,
    pub settings: Settings,
    pub server: Process,
    pub agents: Vec<Process>,
    /// Of all processes there were.
    memories: Vec<Memory>,
    /// The server's, which it keeps.
    key: Arc<KeyPair>,
    /// Numbers sessions.
    sessions: Arc<AtomicU64>,
    lives: u64,
}

/// Tasks that live and die together, and their sessions with each peer, the newest last.
#[derive(Clone)]
pub struct Process {
    tasks: Arc<Mutex<Option<JoinSet<()>>>>,
    sessions: Arc<Mutex<BTreeMap<usize, Vec<Session>>>>,
    ledger: Arc<Ledger>,
}

impl Process {
    fn start(ledger: &Arc<Ledger>) -> Self {
        Self {
            tasks: Arc::new(Mutex::new(Some(JoinSet::new()))),
            sessions: Arc::default(),
            ledger: Arc::clone(ledger),
        }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks.lock().unwrap() {
            tasks.spawn(task);
        }
    }

    /// Ends all its tasks where they are.
    pub fn kill(&self) {
        let tasks = self.tasks.lock().unwrap().take();
        if let Some(mut tasks) = tasks {
            while let Some(ended) = tasks.try_join_next() {
                if let Err(error) = ended {
                    self.ledger.fault(format!("a task ended so: {error}"));
                }
            }
        }
        self.sessions.lock().unwrap().clear();
    }

    /// The session with a peer: the newest that has a carrier, else the newest. A hello that was
    /// given up may still arrive, and begin a session that nobody keeps.
    pub fn session(&self, peer: usize) -> Option<Session> {
        let mut sessions = self.sessions.lock().unwrap();
        let sessions = sessions.get_mut(&peer)?;
        sessions.retain(|session| !session.over().is_cancelled());
        let mut newest_first = sessions.iter().rev();
        let attached = newest_first.find(|session| *session.attached().borrow());
        attached.or(sessions.last()).cloned()
    }

    fn begin(&self, peer: usize, session: &Session) {
        self.ledger.began(session);
        let mut sessions = self.sessions.lock().unwrap();
        sessions.entry(peer).or_default().push(session.clone());
        drop(sessions);
        let (process, session) = (self.clone(), session.clone());
        self.spawn(async move {
            while let Some(incoming) = session.accept().await {
                let serving = serve_stream(Arc::clone(&process.ledger), session.clone(), incoming);
                process.spawn(serving);
            }
        });
    }
}

impl World {
    pub fn new(network: Network, settings: Settings, trace: Arc<Trace>) -> Self {
        let ledger = Arc::new(Ledger::new(Arc::clone(&trace)));
        let mut world = Self {
            server: Process::start(&ledger),
            agents: Vec::new(),
            network,
            trace,
            ledger,
            memories: Vec::new(),
            key: Arc::new(KeyPair::generate().unwrap()),
            sessions: Arc::default(),
            lives: 0,
            settings,
        };
        world.start_server();
        for agent in 0..world.settings.muxes.len() {
            world.agents.push(Process::start(&world.ledger));
            world.start_agent(agent);
        }
        world
    }

    fn memory(&mut self) -> Memory {
        let memory = Memory::of(self.settings.memory);
        self.memories.push(memory.clone());
        memory
    }

    /// Bytes of windows and for replay that are taken from the budgets of all processes.
    pub fn taken(&self) -> (usize, usize) {
        let sum = |taken: fn(&Memory) -> usize| self.memories.iter().map(taken).sum();
        let windows = sum(|memory| memory.windows.taken());
        (windows, sum(|memory| memory.replay.taken()))
    }

    /// The server starts, and knows no session.
    pub fn start_server(&mut self) {
        self.server = Process::start(&self.ledger);
        let acceptor = Acceptor {
            key: Arc::clone(&self.key),
            replica: "r-1".into(),
            heartbeat: Duration::from_secs(5),
            patience: PATIENCE,
            limits: Limits::default(),
            resume_window: self.settings.resume_window,
            memory: self.memory(),
            require_channel_binding: true,
        };
        let serving = Arc::new(Serving {
            acceptor,
            tls: TlsAcceptor::from(Arc::new(server_config())),
            known: Mutex::default(),
            sessions: Arc::clone(&self.sessions),
            process: self.server.clone(),
            trace: Arc::clone(&self.trace),
        });
        let mut listener = self.network.listen();
        self.server.spawn(async move {
            while let Some((line, socket)) = listener.recv().await {
                let handshake = Arc::clone(&serving).handshake(line, socket);
                serving.process.spawn(handshake);
            }
        });
    }

    /// The agent starts, and knows no session.
    pub fn start_agent(&mut self, agent: usize) {
        let process = Process::start(&self.ledger);
        self.agents[agent] = process.clone();
        self.lives += 1;
        let seed = self.settings.seed ^ (self.lives << 32);
        let dialer = Dialer {
            server: "https://localhost".parse().unwrap(),
            trust: Trust::pem(CERTIFICATES.0.as_bytes()).unwrap(),
            proxies: Proxies::default(),
            server_key: None,
            memory: self.memory(),
            muxes: self.settings.muxes[agent].clone(),
            bulk_lane: self.settings.bulk_lane,
            network: tunnel::dial::Network::new(self.network.connector(agent), seed),
        };
        let introduction = Introduction {
            agent: AgentKind::Cluster {
                cluster_uid: None,
                kubernetes_version: None,
            },
            software: "simulation/0".into(),
            instance: format!("i-{agent}-{}", self.lives),
            registration_token: None,
        };
        let trace = Arc::clone(&self.trace);
        let running = run_agent(dialer, introduction, process.clone(), seed, agent, trace);
        process.spawn(running);
    }

    /// Opens a stream and asks for one byte: how long that took.
    pub async fn probe(&self, session: &Session) -> std::io::Result<Duration> {
        let began = tokio::time::Instant::now();
        let asked = async {
            let open = open(PROBE, Class::Interactive, Duration::ZERO);
            let mut stream = session.open(&open).await.map_err(std::io::Error::other)?;
            stream.write_all(b"?").await?;
            stream.shutdown().await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            assert_eq!(answer, b"?");
            Ok(began.elapsed())
        };
        let asked: Result<std::io::Result<Duration>, _> =
            timeout(Duration::from_secs(60), asked).await;
        asked?
    }
}

async fn run_agent(
    dialer: Dialer,
    introduction: Introduction,
    process: Process,
    seed: u64,
    agent: usize,
    trace: Arc<Trace>,
) {
    let key = KeyPair::generate().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut next: Option<Box<Connected>> = None;
    loop {
        let connected = match next.take() {
            Some(connected) => *connected,
            None => match dialer.dial(&key, &introduction).await {
                Ok(connected) => connected,
                Err(error) => {
                    trace.note(format_args!("agent {agent}: {error}"));
                    sleep(Duration::from_millis(rng.random_range(200..1_500))).await;
                    continue;
                }
            },
        };
        let (session, driver) = (connected.session, connected.driver);
        trace.note(format_args!("agent {agent}: session {}", session.id()));
        process.begin(agent, &session);
        let (ledger, id) = (Arc::clone(&process.ledger), session.id().to_owned());
        process.spawn(async move { ledger.ended(&id, &driver.await) });
        let mut phase = session.phase();
        let left = phase.wait_for(|phase| !matches!(phase, Phase::Live)).await;
        // A session that is drained goes on beside its successor.
        if left.is_ok() {
            next = session.take_successor();
        }
    }
}

/// What a server's connections share.
struct Serving {
    acceptor: Acceptor,
    tls: TlsAcceptor,
    known: Mutex<BTreeMap<String, (usize, Session)>>,
    sessions: Arc<AtomicU64>,
    process: Process,
    trace: Arc<Trace>,
}

impl Serving {
    async fn handshake(self: Arc<Self>, line: usize, socket: Socket) {
        let Ok(Ok(stream)) = timeout(PATIENCE, self.tls.accept(socket)).await else {
            return;
        };
        let connection = stream.get_ref().1;
        let channel = connection.export_keying_material([0; 32], CHANNEL_BINDING_LABEL, None);
        let channel = channel.unwrap();
        let service = service_fn(move |mut request: Request<Body>| {
            let serving = Arc::clone(&self);
            async move {
                let (response, upgrade) = serving.acceptor.upgrade(&request).unwrap();
                let upgraded = hyper::upgrade::on(&mut request);
                let process = serving.process.clone();
                process.spawn(async move {
                    let Ok(upgraded) = upgraded.await else { return };
                    let io = TokioIo::new(upgraded);
                    let admit = |verified: Verified| serving.admit(line, verified);
                    let accepted = serving.acceptor.accept(io, &upgrade, Some(&channel), admit);
                    match accepted.await {
                        Ok(accepted) => serving.begin(line, accepted.session, accepted.driver),
                        Err(error) => serving.trace.note(format_args!("server: {error}")),
                    }
                });
                Ok::<_, hyper::Error>(response.map(|()| Empty::<Bytes>::new()))
            }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let _ = timeout(PATIENCE, serving).await;
    }

    async fn admit(
        &self,
        line: usize,
        verified: Verified,
    ) -> Result<Admission, tunnel_proto::hello::Rejection> {
        let resume = verified.hello.resume.as_ref().and_then(|resume| {
            let known = self.known.lock().unwrap();
            let (whose, session) = known.get(&resume.session)?;
            (*whose == line).then(|| session.clone())
        });
        // As many digits for each: lengths are part of what must be the same for the same seed.
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            bound_to: "c-test".into(),
            session: format!("s-{number:06}"),
            resume,
        })
    }

    fn begin(
        self: &Arc<Self>,
        line: usize,
        session: Session,
        driver: Option<tunnel::session::Driver>,
    ) {
        let id = session.id().to_owned();
        let Some(driver) = driver else {
            self.trace.note(format_args!("server: {id} goes on"));
            return;
        };
        self.process.begin(line, &session);
        let mut known = self.known.lock().unwrap();
        known.insert(id.clone(), (line, session));
        let serving = Arc::clone(self);
        self.process.spawn(async move {
            let end = driver.await;
            serving.process.ledger.ended(&id, &end);
            serving.known.lock().unwrap().remove(&id);
        });
    }
}

async fn serve_stream(ledger: Arc<Ledger>, session: Session, incoming: Incoming) {
    ledger
        .trace
        .note(format_args!("{} has a stream", session.id()));
    let inbound = match incoming.preamble().await {
        Ok(inbound) => inbound,
        Err(error) => return ledger.no_preamble(&session, &error),
    };
    let number = u64::from_be_bytes(inbound.open.trace[..8].try_into().unwrap());
    if number == PROBE {
        if let Ok(stream) = inbound.accept().await {
            let _ = answer(stream).await;
        }
        return;
    }
    let accepting = inbound.accept();
    ledger.run(number as usize, ACCEPTOR, accepting).await;
}

async fn answer(mut stream: Stream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    stream.read_to_end(&mut asked).await?;
    stream.write_all(&asked).await?;
    stream.shutdown().await
}

pub fn open(number: u64, class: Class, deadline: Duration) -> OpenV1 {
    let mut trace = [0; 16];
    trace[..8].copy_from_slice(&number.to_be_bytes());
    OpenV1 {
        target: Target::KubeApi,
        class,
        trace,
        deadline_ms: deadline.as_millis() as u32,
    }
}

/// The CA, the server's certificate, its key. Signatures of Ed25519 are of one length, which keeps
/// what is sent the same for the same seed.
static CERTIFICATES: LazyLock<(String, String, String)> = LazyLock::new(|| {
    let key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (ca_key, key) = (key(), key());
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.serial_number = Some(1.into());
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.serial_number = Some(2.into());
    let leaf = params.signed_by(&key, &issuer).unwrap();
    (ca.pem(), leaf.pem(), key.serialize_pem())
});

/// With its own store of session tickets, which are gone when the server is.
fn server_config() -> ServerConfig {
    let (_, leaf, key) = &*CERTIFICATES;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}
