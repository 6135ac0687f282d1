//! Keeps a session with the server: dials, serves, dials again, for ever.

use crate::{
    config::Config,
    credentials::{Credentials, CredentialsError},
    facts,
    health::{Doing, Status},
    streams::Streams,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use tunnel::{
    Memory,
    dial::{Connected, DialError, Dialer, Introduction, PinError, Trust, fetch_pinned},
    session::{Phase, Session},
};
use tunnel_proto::{
    backoff::{self, Backoff},
    frame::CloseCode,
};

/// Time for the goodbyes behind the drain.
const GOODBYE: Duration = Duration::from_secs(4);

/// The agent's side of its relationship with the server.
pub struct Connection {
    pub config: Config,
    pub kube: kube::Client,
    pub status: Status,
    pub streams: Arc<Streams>,
    pub stop: CancellationToken,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Dial(#[from] DialError),
}

/// What is kept from one attempt to the next.
#[derive(Default)]
struct Kept {
    credentials: Option<Credentials>,
    trust: Option<Trust>,
    memory: Memory,
}

impl Connection {
    /// Runs until told to stop, then lets running requests finish within the drain time.
    pub async fn run(self) {
        let mut rng = StdRng::from_os_rng();
        let instance = format!("{:032x}", rng.random::<u128>());
        let mut backoff = Backoff::new(backoff::Config::default());
        let mut kept = Kept::default();
        let tasks = TaskTracker::new();
        while !self.stop.is_cancelled() {
            self.status.set(Doing::Connecting {
                since: Instant::now(),
            });
            let attempt = tokio::select! {
                attempt = self.attempt(&mut kept, &instance) => attempt,
                () = self.stop.cancelled() => break,
            };
            let (reason, retry_after) = match attempt {
                Ok(connected) => {
                    backoff.connected(Instant::now().into_std());
                    (self.serve_all(connected, &tasks).await, None)
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    warn!("cannot connect: {error:#}");
                    let retry_after = error.downcast_ref().and_then(|error| match error {
                        AttemptError::Dial(error) => error.retry_after(),
                        AttemptError::Credentials(_) | AttemptError::Pin(_) => None,
                    });
                    (format!("{error:#}"), retry_after)
                }
            };
            let wait = backoff.next(Instant::now().into_std(), retry_after, &mut rng);
            self.wait(wait, reason).await;
        }
        self.status.set(Doing::Stopping);
        tasks.close();
        let _ = tokio::time::timeout(self.config.drain + GOODBYE, tasks.wait()).await;
    }

    async fn wait(&self, wait: Duration, reason: String) {
        let until = Instant::now() + wait;
        self.status.set(Doing::Waiting { until, reason });
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn attempt(&self, kept: &mut Kept, instance: &str) -> Result<Connected, AttemptError> {
        let credentials = match &mut kept.credentials {
            Some(credentials) => credentials,
            none => {
                none.insert(Credentials::load(self.kube.clone(), &self.config.namespace).await?)
            }
        };
        let mut dialer = Dialer {
            proxies: self.config.proxies.clone(),
            server_key: credentials.server_key.clone(),
            memory: kept.memory.clone(),
            ..Dialer::new(self.config.server.clone(), Trust::Platform)
        };
        if let Some(checksum) = &self.config.ca_checksum {
            dialer.trust = match &kept.trust {
                Some(trust) => trust.clone(),
                None => fetch_pinned(&dialer, checksum).await?,
            };
        }
        let introduction = Introduction {
            agent: facts::gather(&self.kube).await,
            software: concat!("cattle-cluster-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: instance.to_owned(),
            registration_token: self.config.token.clone(),
        };
        let connected = dialer.dial(&credentials.key, &introduction).await?;
        kept.trust = Some(dialer.trust);
        credentials
            .pin_server(&connected.welcome.server_key.0)
            .await?;
        Ok(connected)
    }

    /// Serves a session, and those that the server begins in its stead when it has forgotten it.
    async fn serve_all(&self, mut connected: Connected, tasks: &TaskTracker) -> String {
        loop {
            let session = connected.session.clone();
            let reason = self.serve(connected, tasks).await;
            match session.take_successor() {
                Some(successor) => connected = *successor,
                None => return reason,
            }
        }
    }

    /// Serves one session until it is over or draining, or the agent is told to stop. Returns why
    /// it ended; what still runs goes on in `tasks`.
    async fn serve(&self, connected: Connected, tasks: &TaskTracker) -> String {
        let Connected {
            welcome,
            session,
            driver,
        } = connected;
        info!(
            session = session.id(),
            cluster = welcome.bound_to,
            replica = welcome.replica,
            "connected"
        );
        self.status.set(Doing::Live {
            session: session.id().to_owned(),
        });
        let drain = CancellationToken::new();
        let requests = TaskTracker::new();
        tasks.spawn(driver);
        tasks.spawn(Arc::clone(&self.streams).serve(
            session.clone(),
            drain.clone(),
            requests.clone(),
        ));
        tasks.spawn(watch_carriers(session.clone(), self.status.clone()));
        let mut phase = session.phase();
        let left = tokio::select! {
            left = phase.wait_for(|phase| *phase != Phase::Live) => left.map(|phase| phase.clone()).ok(),
            () = self.stop.cancelled() => None,
        };
        let how = match left {
            Some(Phase::Closed(end)) => {
                drain.cancel();
                warn!(session = session.id(), "session ended: {end}");
                return end.to_string();
            }
            // The server is leaving: dial again at once; what runs goes on in the old session.
            Some(Phase::Draining { reason, .. }) => {
                info!(session = session.id(), reason, "server is draining");
                format!("server is draining: {reason}")
            }
            Some(Phase::Live) | None => {
                session.drain(self.config.drain, "agent is stopping");
                "agent is stopping".to_owned()
            }
        };
        // Behind the word of it: a watch that ends then goes on elsewhere, and the server has to know.
        drain.cancel();
        tasks.spawn(finish(session, requests, self.config.drain));
        how
    }
}

/// Says when the session loses its connection, and when it goes on over another one.
async fn watch_carriers(session: Session, status: Status) {
    let mut attached = session.attached();
    let mut was = *attached.borrow_and_update();
    loop {
        tokio::select! {
            changed = attached.changed() => if changed.is_err() { return },
            () = session.over().cancelled() => return,
        }
        let is = *attached.borrow_and_update();
        if is == was {
            continue;
        }
        was = is;
        let lane = session.stats().lane;
        let lost = lane.last_loss.unwrap_or_default();
        if is {
            info!(
                session = session.id(),
                "session goes on over another connection"
            );
            status.set(Doing::Live {
                session: session.id().to_owned(),
            });
        } else {
            warn!(
                session = session.id(),
                lost, "connection lost; dialling another one"
            );
            status.set(Doing::Resuming {
                session: session.id().to_owned(),
                lost,
            });
        }
    }
}

/// Waits until the server, which has opened the streams, has read them to their ends and closes the
/// session; at the end of the drain time this side does.
async fn finish(session: Session, requests: TaskTracker, limit: Duration) {
    requests.close();
    let finished = async {
        requests.wait().await;
        session.over().cancelled().await;
    };
    if tokio::time::timeout(limit, finished).await.is_err() {
        warn!(
            session = session.id(),
            running = requests.len(),
            "requests are cut at the end of the drain time"
        );
    }
    session.close(CloseCode::Normal, "drained");
}
