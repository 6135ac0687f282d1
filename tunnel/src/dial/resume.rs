//! A carrier for a lane that has none: the next one, or the first of a bulk lane.

use super::{DialError, Dialer, Introduction, Line};
use crate::{
    identity::KeyPair,
    lane::{Control, End},
    session::{Again, Redial, Redialled},
};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rustls::ClientConfig;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tunnel_proto::{
    frame::Offset,
    hello::{RejectionCode, Resume, Welcome},
};

/// How long an attempt may take up to the hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one connection is waited for before another one is begun beside it. On a network that
/// was away, or loses packets, a connection that is begun now is there before one whose packets
/// are repeated later and later.
const HEDGE: Duration = Duration::from_secs(1);

/// How much longer when the server was reached, the first time; twice as long each time after it.
/// It may have more to do than it can, and each connection that is begun beside another one is a
/// handshake more.
const REACHED: Duration = Duration::from_millis(1_500);

/// Dials for one session.
pub(super) struct Redialer(Arc<Kept>);

struct Kept {
    dialer: Dialer,
    tls: Arc<ClientConfig>,
    key: KeyPair,
    introduction: Introduction,
}

impl Redialer {
    /// For the session of `welcome`, as it was dialled first.
    pub(super) fn new(
        dialer: &Dialer,
        tls: Arc<ClientConfig>,
        key: &KeyPair,
        introduction: &Introduction,
        welcome: &Welcome,
    ) -> Self {
        let mut dialer = dialer.clone();
        dialer.server_key = Some(welcome.server_key.0.clone());
        let mut introduction = introduction.clone();
        // The key is bound by now.
        introduction.registration_token = None;
        Self(Arc::new(Kept {
            dialer,
            tls,
            key: key.clone(),
            introduction,
        }))
    }
}

impl Redial for Redialer {
    fn redial(
        &self,
        session: &str,
        number: u32,
        control: Arc<Control>,
    ) -> BoxFuture<'static, Result<Redialled, Again>> {
        let (kept, session) = (Arc::clone(&self.0), session.to_owned());
        Box::pin(async move {
            let attempt = attempt(&kept, session, number, &control).await;
            attempt.or_else(|error| match error {
                DialError::Rejected(rejection) if is_final(rejection.code) => {
                    Ok(Redialled::Over(End::Forgotten(rejection.message)))
                }
                other => Err(Again {
                    retry_after: other.retry_after(),
                }),
            })
        })
    }
}

async fn attempt(
    kept: &Arc<Kept>,
    session: String,
    number: u32,
    control: &Control,
) -> Result<Redialled, DialError> {
    let Kept {
        dialer,
        tls,
        key,
        introduction,
    } = &**kept;
    let line = tokio::time::timeout(PATIENCE, connect(dialer, tls))
        .await
        .map_err(|_| DialError::Late { step: "connecting" })??;
    let Some(frozen) = control.ask_freeze().await else {
        return Ok(Redialled::Over(End::CarrierLost("session is over".into())));
    };
    let resume = Resume {
        session: session.clone(),
        received: frozen.received.0,
        number,
    };
    let introduced = line.introduce(dialer, key, introduction, Some(resume));
    let (welcome, carrier) = introduced.await?;
    if welcome.session != session && number > 0 {
        let why = "it began another session for a lane".into();
        return Ok(Redialled::Over(End::Forgotten(why)));
    }
    if welcome.session != session {
        let redialer = Redialer(Arc::clone(kept));
        let successor = dialer.begin(welcome, carrier, redialer);
        return Ok(Redialled::Succeeded(Box::new(successor)));
    }
    control.attach(frozen, carrier, Offset(welcome.received));
    Ok(Redialled::Resumed)
}

/// The first connection that comes about.
async fn connect(dialer: &Dialer, tls: &Arc<ClientConfig>) -> Result<Line, DialError> {
    let reached = &AtomicBool::new(false);
    let begin = || async move {
        let connection = super::reach(dialer).await?;
        reached.store(true, Ordering::Relaxed);
        Line::over(dialer, tls, connection).await
    };
    let mut longer = REACHED;
    let mut begun = FuturesUnordered::new();
    loop {
        begun.push(begin());
        let hedge = async {
            tokio::time::sleep(HEDGE).await;
            if reached.load(Ordering::Relaxed) {
                tokio::time::sleep(longer).await;
                longer *= 2;
            }
        };
        tokio::pin!(hedge);
        loop {
            tokio::select! {
                biased;
                connected = begun.next() => match connected {
                    Some(Ok(line)) => return Ok(line),
                    // Another one may still come about, but who is told to come later does.
                    Some(Err(error)) if !begun.is_empty() && error.retry_after().is_none() => {}
                    Some(Err(error)) => return Err(error),
                    None => break,
                },
                () = &mut hedge => break,
            }
        }
    }
}

/// Whether the lane is not worth another attempt.
fn is_final(code: RejectionCode) -> bool {
    match code {
        RejectionCode::UnknownSession
        | RejectionCode::UnknownKey
        | RejectionCode::BadToken
        | RejectionCode::KeyMismatch
        | RejectionCode::Revoked => true,
        RejectionCode::Malformed
        | RejectionCode::BadSignature
        | RejectionCode::ChannelMismatch
        | RejectionCode::UnsupportedVersion
        | RejectionCode::Busy
        | RejectionCode::Draining
        | RejectionCode::Internal
        | RejectionCode::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Io,
        dial::{Connect, Network, Trust},
    };
    use rustls::RootCertStore;
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };
    use tokio::{io::DuplexStream, time::Instant};

    /// A place where nobody answers: not at all, or behind a connection.
    struct Silent {
        is_reached: bool,
        /// When somebody tried to connect, and the other ends of the connections.
        tried: Mutex<Vec<(Instant, DuplexStream)>>,
    }

    impl Connect for Silent {
        fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            tried.push((Instant::now(), far));
            match self.is_reached {
                true => Box::pin(async { Ok(Box::new(near) as Box<dyn Io>) }),
                false => Box::pin(std::future::pending()),
            }
        }
    }

    /// After how many seconds connections are begun in the first ten.
    async fn begun(is_reached: bool) -> Vec<f64> {
        let tried = Mutex::default();
        let silent = Arc::new(Silent { is_reached, tried });
        let network: Arc<dyn Connect> = silent.clone();
        let server = "https://localhost".parse().unwrap();
        let mut dialer = Dialer::new(server, Trust::Roots(Arc::new(RootCertStore::empty())));
        dialer.network = Network::new(network, 0);
        let start = Instant::now();
        let tls = dialer.tls().unwrap();
        let connected = connect(&dialer, &tls);
        assert!(tokio::time::timeout(PATIENCE, connected).await.is_err());
        let tried = silent.tried.lock().unwrap();
        let seconds = tried.iter().map(|(at, _)| (*at - start).as_secs_f64());
        let seconds = seconds.map(|at| (at * 10.0).round() / 10.0);
        // The last one may be begun at the very end, or not.
        seconds.filter(|at| *at < 10.0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_loses_everything_is_tried_each_second_and_a_slow_server_seldom() {
        let each_second: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(begun(false).await, each_second);
        assert_eq!(begun(true).await, [0.0, 2.5, 6.5]);
    }
}
