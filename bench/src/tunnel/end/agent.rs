//! The dialling end: one agent, or many, each of which comes back when its session ends.

use super::{Dialling, SPLICE_BUFFER, announce, certificates};
use crate::{lone_tunnel, reverse_proxy::Pool};
use std::{sync::Arc, time::Duration};
use tokio::{io::copy_bidirectional_with_sizes, net::TcpStream, sync::Semaphore, time::sleep};
use tunnel::{
    dial::{Dialer, Introduction},
    identity::KeyPair,
    session::{Incoming, Session},
};
use tunnel_proto::{
    hello::AgentKind,
    stream::{RefusalReason, Target},
};

/// Handshakes that go on at once: all agents share one core, and more would only wait for one another.
pub const AT_ONCE: usize = 64;

/// How soon an agent tries again that was not taken.
const AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn run(settings: Dialling) -> anyhow::Result<()> {
    let tls = certificates(&settings.folder)?;
    let dialer = Arc::new(lone_tunnel::dialer(settings.server, &tls.ca_pem)?);
    let pool = Pool::local(settings.backend, &tls.client)?;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for number in 0..settings.count {
        let agent = Agent {
            key: KeyPair::generate()?,
            introduction: introduction(number),
            dialer: Arc::clone(&dialer),
            pool: pool.clone(),
            turns: Arc::clone(&turns),
        };
        tokio::spawn(agent.stay());
    }
    announce(&[]);
    std::future::pending().await
}

/// What an agent of the benchmark says of itself.
#[must_use]
pub fn introduction(number: usize) -> Introduction {
    Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: None,
        },
        software: concat!("lariat-bench/", env!("CARGO_PKG_VERSION")).into(),
        instance: number.to_string(),
        registration_token: None,
    }
}

struct Agent {
    key: KeyPair,
    introduction: Introduction,
    dialer: Arc<Dialer>,
    pool: Pool,
    turns: Arc<Semaphore>,
}

impl Agent {
    async fn stay(self) -> anyhow::Result<()> {
        loop {
            let turn = self.turns.acquire().await?;
            // A handshake is large, and over soon.
            let dialled = Box::pin(self.dialer.dial(&self.key, &self.introduction)).await;
            drop(turn);
            let Ok(connected) = dialled else {
                sleep(AGAIN).await;
                continue;
            };
            tokio::spawn(connected.driver);
            self.serve(&connected.session).await;
        }
    }

    async fn serve(&self, session: &Session) {
        while let Some(incoming) = session.accept().await {
            tokio::spawn(answer(incoming, self.pool.clone()));
        }
    }
}

async fn answer(incoming: Incoming, pool: Pool) -> anyhow::Result<()> {
    let inbound = incoming.preamble().await?;
    match inbound.open.target.clone() {
        Target::KubeApi => pool.serve(inbound.accept().await?).await?,
        Target::Dial(address) => {
            let mut tcp = match TcpStream::connect(&address).await {
                Ok(tcp) => tcp,
                Err(error) => {
                    inbound
                        .refuse(RefusalReason::DialFailed, error.to_string())
                        .await;
                    return Ok(());
                }
            };
            tcp.set_nodelay(true)?;
            let mut stream = inbound.accept().await?;
            let size = SPLICE_BUFFER;
            copy_bidirectional_with_sizes(&mut tcp, &mut stream, size, size).await?;
        }
        _ => inbound.refuse(RefusalReason::NotServed, "bench").await,
    }
    Ok(())
}
