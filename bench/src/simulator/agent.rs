//! One agent that keeps itself connected, as `cattle-cluster-agent` does.

use super::{
    Registration, answers, behaviour::Behaviour, by_hand::introduction, figures::Figures,
    line::Line, turns::InTurn,
};
use crate::cluster::Cluster;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tunnel::{
    Memory,
    dial::{Connected, DialError, Dialer, Network},
    identity::KeyPair,
    session::{Phase, Session},
};
use tunnel_proto::{
    backoff::{self, Backoff},
    frame::CloseCode,
};

/// How long an agent that leaves lets requests finish.
const DRAIN: Duration = Duration::from_secs(5);

/// What all agents of a simulator share.
pub(super) struct Shared {
    pub(super) dialer: Dialer,
    /// Who may make its first handshake.
    pub(super) first: Semaphore,
    /// Who may shake hands.
    pub(super) shaking: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// An agent of a [`super::Simulator`].
pub struct Simulated {
    id: String,
    token: String,
    key: KeyPair,
    behaviour: Behaviour,
    /// Whether the API server forbids everything but health checks now.
    forbids: AtomicBool,
    cluster: Arc<Cluster>,
    line: Option<Line>,
    dialer: Dialer,
    turns: InTurn,
    state: Mutex<State>,
    /// Bumped when it is killed, and how long it is away then.
    killed: watch::Sender<(u64, Duration)>,
}

#[derive(Default)]
struct State {
    figures: Figures,
    /// When it got the connection that it has.
    connected_at: Option<Instant>,
    /// When it lost the one that it had.
    lost_at: Option<Instant>,
}

/// Why an agent serves a session no more, and how long it waits before it dials.
enum Left {
    /// The session is over, or is about to be.
    Over,
    /// It was told to, or does so from time to time.
    Away(Duration),
    /// Everything is.
    Stopped,
}

impl Simulated {
    pub(super) async fn new(
        shared: &Shared,
        registration: &Registration,
        behaviour: Behaviour,
    ) -> anyhow::Result<Self> {
        let mut dialer = shared.dialer.clone();
        dialer.memory = Memory::default();
        let turns = InTurn::new(&shared.shaking);
        dialer.network = Network::new(Arc::new(turns.clone()), rand::random());
        let line = match behaviour.needs_line() {
            true => Some(Line::start(&dialer.server).await?),
            false => None,
        };
        if let Some(line) = &line {
            dialer = line.dialer(dialer)?;
        }
        Ok(Self {
            id: registration.id.clone(),
            token: registration.token.clone(),
            key: KeyPair::generate()?,
            forbids: AtomicBool::new(behaviour.forbids),
            behaviour,
            cluster: Cluster::with_namespaces(&["default", "kube-system"]),
            line,
            dialer,
            turns,
            state: Mutex::default(),
            killed: watch::Sender::new((0, Duration::ZERO)),
        })
    }

    /// Id of its cluster.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What its API server has.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// What it does.
    #[must_use]
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// What it has seen so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let state = self.state();
        let connected = state.connected_at.is_some();
        let figures = state.figures.clone();
        Figures {
            connected,
            ..figures
        }
    }

    /// Whether it has a session with a connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected_at().is_some()
    }

    /// Since when it has the connection that it has.
    #[must_use]
    pub fn connected_at(&self) -> Option<Instant> {
        self.state().connected_at
    }

    /// Cuts its connection, if it has a line. The session goes on over the next one.
    pub fn cut(&self) {
        if let Some(line) = &self.line {
            line.cut();
        }
    }

    /// Lets nothing through its line any more, or again, if it has one.
    pub fn hold(&self, held: bool) {
        if let Some(line) = &self.line {
            line.hold(held);
        }
    }

    /// Ends its session as a crash would. It comes back after `away`, as a new process.
    pub fn kill(&self, away: Duration) {
        self.killed.send_modify(|(kills, for_so_long)| {
            *kills += 1;
            *for_so_long = away;
        });
    }

    /// Whether its API server forbids everything but health checks from now on.
    pub fn forbid(&self, forbids: bool) {
        self.forbids.store(forbids, Ordering::Relaxed);
    }

    pub(super) fn forbids(&self) -> bool {
        self.forbids.load(Ordering::Relaxed)
    }

    pub(super) fn took_stream(&self) {
        self.state().figures.streams += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self, resumed: bool) {
        self.turns.end();
        let mut state = self.state();
        let now = Instant::now();
        if resumed {
            state.figures.resumptions += 1;
        } else {
            state.figures.sessions += 1;
        }
        if let Some(lost_at) = state.lost_at.take() {
            state
                .figures
                .returned(now.saturating_duration_since(lost_at));
        }
        state.connected_at = Some(now);
    }

    fn lost(&self, why: Option<String>) {
        let mut state = self.state();
        // Once for a connection, whoever notices first.
        if state.connected_at.take().is_some() {
            state.figures.losses += 1;
            state.lost_at = Some(Instant::now());
        }
        if why.is_some() {
            state.figures.last_error = why;
        }
    }

    /// Lives until everything stops.
    pub(super) async fn live(self: Arc<Self>, shared: Arc<Shared>) {
        tokio::select! {
            () = Box::pin(self.connect_for_ever(&shared)) => {}
            () = self.flap() => {}
        }
    }

    /// Cuts its connection every so often, if it does so at all.
    async fn flap(&self) {
        let Some(every) = self.behaviour.flap else {
            return std::future::pending().await;
        };
        let mut rng = StdRng::from_os_rng();
        loop {
            tokio::time::sleep(about(every, &mut rng)).await;
            self.cut();
        }
    }

    async fn connect_for_ever(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut rng = StdRng::from_os_rng();
        let mut backoff = Backoff::new(backoff::Config::default());
        let mut is_first = true;
        let mut instance = format!("{:032x}", rng.random::<u128>());
        while !shared.stop.is_cancelled() {
            let attempt = tokio::select! {
                attempt = self.attempt(shared, &instance, is_first) => attempt,
                () = shared.stop.cancelled() => return,
            };
            let wait = match attempt {
                Ok(connected) => {
                    is_first = false;
                    backoff.connected(Instant::now());
                    match self.serve_all(connected, shared, &mut rng).await {
                        Left::Over => backoff.next(Instant::now(), None, &mut rng),
                        Left::Away(away) => {
                            instance = format!("{:032x}", rng.random::<u128>());
                            backoff = Backoff::new(backoff::Config::default());
                            away
                        }
                        Left::Stopped => return,
                    }
                }
                Err(error) => {
                    let retry_after = error.retry_after();
                    let mut state = self.state();
                    state.figures.failures += 1;
                    state.figures.last_error = Some(error.to_string());
                    drop(state);
                    backoff.next(Instant::now(), retry_after, &mut rng)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shared.stop.cancelled() => return,
            }
        }
    }

    async fn attempt(
        &self,
        shared: &Shared,
        instance: &str,
        is_first: bool,
    ) -> Result<Connected, DialError> {
        // Nobody closes it. Who comes back does not ask.
        let _turn = match is_first {
            true => shared.first.acquire().await.ok(),
            false => None,
        };
        let introduction = introduction(&self.token, instance);
        // The state of a handshake is large, and over soon.
        Box::pin(self.dialer.dial(&self.key, &introduction)).await
    }

    /// Serves a session, and those that the server begins in its stead when it has forgotten it.
    async fn serve_all(
        self: &Arc<Self>,
        mut connected: Connected,
        shared: &Arc<Shared>,
        rng: &mut StdRng,
    ) -> Left {
        loop {
            let session = connected.session.clone();
            let left = self.serve(connected, shared, rng).await;
            match (left, session.take_successor()) {
                (Left::Over, Some(successor)) => connected = *successor,
                (left, _) => return left,
            }
        }
    }

    async fn serve(
        self: &Arc<Self>,
        connected: Connected,
        shared: &Arc<Shared>,
        rng: &mut StdRng,
    ) -> Left {
        let Connected {
            session, driver, ..
        } = connected;
        self.connected(false);
        let tasks = &shared.tasks;
        let mut driver = tasks.spawn(driver);
        let answering = answers::answer(Arc::clone(self), session.clone(), tasks.clone());
        tasks.spawn(answering);
        let following = tasks.spawn(follow(Arc::clone(self), session.clone()));
        let mut phase = session.phase();
        let mut killed = self.killed.subscribe();
        let leave = self.behaviour.leave;
        let stays = leave.map(|leave| about(leave.after, rng));
        let left = tokio::select! {
            left = async { phase.wait_for(|phase| *phase != Phase::Live).await.ok().map(|phase| phase.clone()) } => {
                match left {
                    // Dials again at once; what runs goes on in the old session.
                    Some(Phase::Draining { reason, .. }) => {
                        tasks.spawn(finish(session.clone()));
                        self.lost(Some(format!("server is draining: {reason}")));
                    }
                    Some(Phase::Closed(end)) => self.lost(Some(end.to_string())),
                    Some(Phase::Live) | None => self.lost(None),
                }
                Left::Over
            }
            _ = killed.changed() => {
                let (_, away) = *killed.borrow_and_update();
                // The connection goes without a word, before streams are woken.
                driver.abort();
                let _ = (&mut driver).await;
                session.close(CloseCode::Normal, "killed");
                self.lost(Some("killed".into()));
                Left::Away(away)
            }
            () = sleep_for(stays) => {
                session.drain(DRAIN, "agent is stopping");
                tasks.spawn(finish(session.clone()));
                self.lost(None);
                Left::Away(leave.map_or(Duration::ZERO, |leave| leave.away))
            }
            () = shared.stop.cancelled() => {
                session.close(CloseCode::Normal, "the simulation is over");
                Left::Stopped
            }
        };
        // It is not asked about an old session once there is another one.
        following.abort();
        left
    }
}

/// Takes note when the session loses its connection, and when it goes on over another one.
async fn follow(agent: Arc<Simulated>, session: Session) {
    let mut attached = session.attached();
    let mut was = *attached.borrow_and_update();
    loop {
        tokio::select! {
            changed = attached.changed() => if changed.is_err() { return },
            () = session.over().cancelled() => return,
        }
        let is = *attached.borrow_and_update();
        match (was, is) {
            (true, false) => agent.lost(Some(session.stats().lane.last_loss.unwrap_or_default())),
            (false, true) => agent.connected(true),
            // Replaced between two looks.
            (true, true) => {
                agent.lost(None);
                agent.connected(true);
            }
            (false, false) => {}
        }
        was = is;
    }
}

/// Waits until the server has read what runs to its end and closes the session; in the end this side does.
async fn finish(session: Session) {
    let _ = tokio::time::timeout(DRAIN, session.over().cancelled()).await;
    session.close(CloseCode::Normal, "drained");
}

async fn sleep_for(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Between half of it and one and a half, so that agents do not do things together.
fn about(time: Duration, rng: &mut StdRng) -> Duration {
    time.mul_f64(rng.random_range(0.5..1.5))
}
