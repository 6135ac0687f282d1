//! Which sessions serve which cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lariat_api::{Cluster, ClusterId};
use prometheus_client::registry::Registry;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunnel::Memory;
use tunnel::accept::Acceptor;
use tunnel::http::StreamClient;
use tunnel::session::{Phase, Session};
use tunnel_proto::frame::CloseCode;
use tunnel_proto::hello::{Hello, Limits};
use tunnel_proto::stream::{Class, Target};

use super::admission::Admission;
use super::arrivals::Arrivals;
use super::figures::{Counted, Figures, Live};
use super::history::{History, Problem};
use super::key::{self, KeyFileError};
use crate::kube_proxy::RequestBody;
use crate::turns;

/// Sessions of one cluster that are kept beside each other: one, and those of a rolling update.
const PER_CLUSTER: usize = 4;

/// How long a session outlives its connection.
pub(super) const RESUME_WINDOW: Duration = Duration::from_secs(180);

/// How long after a start agents are expected back that were connected before.
const RETURN: Duration = Duration::from_secs(30);

/// Streams that one agent may open to this server at once.
const AGENT_STREAMS: u32 = 64;

/// Of an API server that has answered nobody yet.
const NEVER: u64 = u64::MAX;

/// All live sessions.
pub struct Tunnels {
    acceptor: Acceptor,
    by_cluster: Live,
    arrivals: Arrivals,
    pub(super) figures: Figures,
    pub(super) history: History,
    pub(super) admission: Admission,
    /// When the server started.
    born: Instant,
    pub(super) born_at: Timestamp,
}

/// Why there is no session to use.
#[derive(Debug)]
pub(crate) enum NoTunnel {
    /// None at all.
    NoSession,
    /// One that has lost its connection, to this.
    Detached { lost: String },
}

impl NoTunnel {
    /// How long a request waits for its cluster.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
}

/// A live session with what is kept for it.
pub struct Tunnel {
    /// The session.
    pub session: Session,
    pub(super) instance: String,
    /// What the agent says it is.
    pub(super) software: String,
    /// Whether both ends see one TLS connection.
    pub(super) channel_bound: Option<bool>,
    pub(super) began: Timestamp,
    /// Where its newest connection comes from.
    pub(super) peer: Mutex<SocketAddr>,
    /// The agent's public key: while it is the same, so is the cluster.
    pub(crate) key: Arc<[u8]>,
    interactive: StreamClient<RequestBody>,
    /// Made when the first watch comes.
    watches: OnceLock<StreamClient<RequestBody>>,
    /// Whether it was looked after once.
    pub(super) settled: CancellationToken,
    /// When its API server last answered somebody's request, in milliseconds since the session began.
    answered: AtomicU64,
    born: Instant,
    /// Made when something comes that carries a lot.
    bulk: OnceLock<StreamClient<RequestBody>>,
    /// Whether a cluster that is deleted needs the session no more.
    pub(crate) cleared: CancellationToken,
    /// What came of the last request to the API server and back.
    pub(super) looked: Mutex<Option<Looked>>,
    /// What of it the figures of all tunnels have.
    pub(super) counted: Mutex<Counted>,
}

/// What came of a request to an API server and back.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) at: Timestamp,
    /// How long it took, if it came back.
    pub(super) answered_in: Option<Duration>,
    /// What was wrong; empty if nothing was.
    pub(super) problem: String,
}

/// What is known of an agent whose session begins.
pub(super) struct Arrived<'a> {
    pub(super) hello: &'a Hello,
    pub(super) channel_bound: Option<bool>,
    pub(super) peer: SocketAddr,
    pub(super) now: Timestamp,
}

impl Tunnels {
    /// No sessions yet. The server's key is kept in the data directory. At most so many `handshakes` are under way at
    /// once. The server starts `now`.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn open(data: &Path, handshakes: usize, now: Timestamp) -> Result<Self, KeyFileError> {
        let key = key::open(data)?;
        let replica = hex::encode(&key.public_key()[..4]);
        let history = History::default();
        Ok(Self {
            acceptor: Acceptor {
                key: Arc::new(key),
                replica,
                heartbeat: Duration::from_secs(4),
                patience: Duration::from_secs(10),
                resume_window: RESUME_WINDOW,
                memory: Memory::default(),
                limits: Limits {
                    streams: AGENT_STREAMS,
                    ..Limits::default()
                },
                // A balancer in front of the server may terminate TLS.
                require_channel_binding: false,
            },
            by_cluster: Live::default(),
            arrivals: Arrivals::default(),
            figures: Figures::new(history.clone()),
            history,
            admission: Admission::new(handshakes, turns::cores()),
            born: Instant::now(),
            born_at: now,
        })
    }

    /// Waits until TLS is spoken with somebody who is likely to be an agent, until what is returned is dropped.
    pub(crate) async fn greet(&self) -> SemaphorePermit<'_> {
        self.admission.greet().await
    }

    /// How many wait for that.
    #[must_use]
    pub fn outside(&self) -> usize {
        self.admission.outside()
    }

    pub(super) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// Adds the metrics of tunnels.
    pub fn register(&self, registry: &mut Registry) {
        let (live, memory) = (Arc::clone(&self.by_cluster), self.acceptor.memory.clone());
        let admission = self.admission.clone();
        self.figures.register(live, memory, admission, registry);
    }

    /// All sessions of a cluster, the oldest first.
    pub(super) fn all_of(&self, cluster: &ClusterId) -> Vec<Arc<Tunnel>> {
        let by_cluster = self
            .by_cluster
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        by_cluster.get(cluster).cloned().unwrap_or_default()
    }

    /// Something went wrong with the tunnel of a cluster.
    pub(super) fn note(&self, cluster: &ClusterId, problem: Problem) {
        self.history.note(cluster, problem);
    }

    /// A session of a cluster goes on over a connection from there.
    pub(super) fn moved(&self, cluster: &ClusterId, session: &Session, peer: SocketAddr) {
        let all = self.all_of(cluster);
        let meant = |tunnel: &&Arc<Tunnel>| tunnel.session.id() == session.id();
        if let Some(tunnel) = all.iter().find(meant) {
            *tunnel.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
        }
    }

    /// The session to use for a cluster: the newest one that takes requests, and of these one
    /// that has a connection now.
    #[must_use]
    pub fn get(&self, cluster: &ClusterId) -> Option<Arc<Tunnel>> {
        let by_cluster = self
            .by_cluster
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let sessions = by_cluster.get(cluster)?;
        let live = || sessions.iter().rev().filter(|tunnel| tunnel.is_live());
        let attached = live().find(|tunnel| tunnel.is_attached());
        attached.or_else(|| live().next()).cloned()
    }

    /// A session of a cluster that is not over, for its agent to go on with.
    pub(super) fn session(&self, cluster: &str, id: &str) -> Option<Session> {
        let by_cluster = self
            .by_cluster
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let sessions = by_cluster.get(cluster)?;
        let tunnel = sessions.iter().find(|tunnel| tunnel.session.id() == id)?;
        Some(tunnel.session.clone())
    }

    /// The same; waits until there is one that has a connection. Who calls it sets a limit.
    /// Cancellation-safe.
    pub(crate) async fn wait(&self, cluster: &ClusterId) -> Arc<Tunnel> {
        loop {
            let expected = self.arrivals.expect(cluster);
            let mut arrived = pin!(expected.arrived());
            // One that comes between the two is not missed.
            arrived.as_mut().enable();
            let Some(tunnel) = self.get(cluster) else {
                arrived.await;
                continue;
            };
            let mut attached = tunnel.session.attached();
            tokio::select! {
                biased;
                attached = attached.wait_for(|attached| *attached) => if attached.is_ok() {
                    drop(attached);
                    return tunnel;
                },
                () = arrived => {}
                () = tunnel.session.over().cancelled() => {}
            }
        }
    }

    /// The session to use for a request: one that has a connection, or gets one within
    /// [`NoTunnel::PATIENCE`] if its agent can be expected back.
    ///
    /// # Errors
    /// See [`NoTunnel`].
    pub(crate) async fn ready(
        &self,
        id: &ClusterId,
        cluster: &Cluster,
    ) -> Result<Arc<Tunnel>, NoTunnel> {
        let found = self.get(id);
        if let Some(tunnel) = &found
            && tunnel.is_attached()
        {
            return Ok(Arc::clone(tunnel));
        }
        if found.is_none() && !self.expects(cluster) {
            return Err(NoTunnel::NoSession);
        }
        let _waiting = self.figures.wait();
        let waited = tokio::time::timeout(NoTunnel::PATIENCE, self.wait(id)).await;
        waited.map_err(|_| match found {
            Some(tunnel) => NoTunnel::Detached {
                lost: tunnel.session.stats().lane.last_loss.unwrap_or_default(),
            },
            None => NoTunnel::NoSession,
        })
    }

    /// Whether a cluster's agent is on its way back, as it was there when this server started.
    fn expects(&self, cluster: &Cluster) -> bool {
        let left_since = cluster
            .agent()
            .and_then(|agent| agent.disconnected_at.as_ref())
            .is_some_and(|at| at.0 >= self.born_at);
        cluster.agent().is_some() && !left_since && self.born.elapsed() < RETURN
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let by_cluster = self
            .by_cluster
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        by_cluster.values().map(Vec::len).sum()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a session. An older one of the same process, and the oldest of too many, are closed.
    pub(super) fn add(
        &self,
        cluster: &ClusterId,
        session: &Session,
        arrived: &Arrived<'_>,
    ) -> Arc<Tunnel> {
        let hello = arrived.hello;
        let instance = &hello.instance;
        let tunnel = Arc::new(Tunnel {
            session: session.clone(),
            instance: instance.clone(),
            software: hello.software.clone(),
            channel_bound: arrived.channel_bound,
            began: arrived.now,
            peer: Mutex::new(arrived.peer),
            key: hello.public_key.0.as_slice().into(),
            interactive: client(session, Class::Interactive),
            watches: OnceLock::new(),
            settled: CancellationToken::new(),
            answered: AtomicU64::new(NEVER),
            born: Instant::now(),
            bulk: OnceLock::new(),
            cleared: CancellationToken::new(),
            looked: Mutex::default(),
            counted: Mutex::default(),
        });
        let mut by_cluster = self
            .by_cluster
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let sessions = by_cluster.entry(cluster.clone()).or_default();
        let same = sessions
            .iter()
            .position(|other| other.instance == *instance);
        let crowded = (sessions.len() >= PER_CLUSTER).then_some(0);
        match same {
            // A hello that the agent has given up may come late. It must not cost a session that
            // works: the new one takes its place when it is proven to work itself.
            Some(index) if sessions[index].is_attached() => {
                sessions.insert(index, Arc::clone(&tunnel));
            }
            _ => {
                if let Some(index) = same.or(crowded) {
                    replace(&sessions.remove(index));
                }
                sessions.push(Arc::clone(&tunnel));
            }
        }
        drop(by_cluster);
        self.arrivals.announce(cluster);
        tunnel
    }

    /// A session has carried a request and its answer. Older ones of the same process are closed,
    /// and those that have lost their connection: a process that has started since then has taken
    /// the other one's place, which would be waited for in vain.
    pub(super) fn prove(&self, cluster: &ClusterId, proven: &Tunnel) {
        let mut by_cluster = self
            .by_cluster
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(sessions) = by_cluster.get_mut(cluster) else {
            return;
        };
        sessions.retain(|other| {
            let is_older = other.session.id() != proven.session.id() && other.began <= proven.began;
            let is_gone = other.is_live() && !other.is_attached();
            let outlived = is_older && (is_gone || other.instance == proven.instance);
            if outlived {
                replace(other);
            }
            !outlived
        });
    }

    /// Forgets a session.
    pub(super) fn remove(&self, cluster: &ClusterId, session: &Session) {
        let mut by_cluster = self
            .by_cluster
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = by_cluster.get_mut(cluster) {
            sessions.retain(|tunnel| tunnel.session.id() != session.id());
            if sessions.is_empty() {
                by_cluster.remove(cluster);
            }
        }
    }
}

impl Tunnel {
    /// Whether the session takes requests.
    pub(crate) fn is_live(&self) -> bool {
        *self.session.phase().borrow() == Phase::Live
    }

    /// Whether the session takes requests and has a connection now.
    pub(crate) fn is_attached(&self) -> bool {
        self.is_live() && *self.session.attached().borrow()
    }

    /// Whether the session has a connection, now or within so long.
    pub(crate) async fn attached_within(&self, limit: Duration) -> bool {
        let mut attached = self.session.attached();
        let waited = tokio::time::timeout(limit, attached.wait_for(|attached| *attached)).await;
        waited.is_ok_and(|attached| attached.is_ok())
    }

    /// The API server has answered a request.
    pub(crate) fn answered(&self) {
        let at = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(NEVER);
        self.answered.store(at, Ordering::Relaxed);
    }

    /// Whether the API server has answered somebody's request within the last `time`.
    pub(super) fn has_answered_within(&self, time: Duration) -> bool {
        let at = self.answered.load(Ordering::Relaxed);
        at != NEVER && self.born.elapsed() < Duration::from_millis(at) + time
    }

    /// The client for requests of a class.
    pub(crate) fn client(&self, class: Class) -> &StreamClient<RequestBody> {
        match class {
            Class::Watch => self.watches.get_or_init(|| client(&self.session, class)),
            Class::Bulk => self.bulk.get_or_init(|| client(&self.session, class)),
            Class::Control | Class::Interactive => &self.interactive,
        }
    }
}

fn replace(old: &Tunnel) {
    let reason = "a newer session of this cluster is there";
    old.session.close(CloseCode::Replaced, reason);
}

fn client(session: &Session, class: Class) -> StreamClient<RequestBody> {
    tunnel::http::client(session.clone(), Target::KubeApi, class)
}

impl std::fmt::Debug for Tunnels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tunnels")
            .field("sessions", &self.len())
            .finish_non_exhaustive()
    }
}
