//! Agents with real handshakes and no cluster behind them: many in one process.

use crate::backend;
use anyhow::Context as _;
use tokio_util::task::TaskTracker;
use tunnel::{
    dial::{Dialer, Introduction},
    identity::KeyPair,
    session::Session,
};
use tunnel_proto::{
    hello::AgentKind,
    stream::{RefusalReason, Target},
};

/// One simulated agent with a live session.
pub struct Agent {
    /// Its session.
    pub session: Session,
    /// Id of its cluster.
    pub cluster: String,
}

/// Connects an agent that registers with `token`; what the server asks of its API server is
/// answered by [`backend::serve`]. Its tasks belong to `tasks`.
///
/// # Errors
/// When the server does not take it.
pub async fn connect(dialer: &Dialer, token: &str, tasks: &TaskTracker) -> anyhow::Result<Agent> {
    let key = KeyPair::generate()?;
    let introduction = Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: Some("v0.0.0-simulated".into()),
        },
        software: concat!("lariat-bench/", env!("CARGO_PKG_VERSION")).into(),
        instance: token.to_owned(),
        registration_token: Some(token.to_owned()),
    };
    let connected = dialer
        .dial(&key, &introduction)
        .await
        .context("agent was not taken")?;
    tasks.spawn(connected.driver);
    tasks.spawn(answer(connected.session.clone(), tasks.clone()));
    Ok(Agent {
        session: connected.session,
        cluster: connected.welcome.bound_to,
    })
}

async fn answer(session: Session, tasks: TaskTracker) {
    while let Some(incoming) = session.accept().await {
        tasks.spawn(async move {
            let inbound = incoming.preamble().await?;
            if inbound.open.target != Target::KubeApi {
                inbound.refuse(RefusalReason::NotServed, "simulated").await;
                return Ok(());
            }
            backend::serve(inbound.accept().await?).await?;
            anyhow::Ok(())
        });
    }
}
