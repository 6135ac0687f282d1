//! Agents with real handshakes and no cluster behind them but objects in memory: many in one process.

use crate::{backend, cluster::Cluster};
use anyhow::Context as _;
use std::sync::Arc;
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

/// A simulated agent with a live session.
pub struct Agent {
    /// Its session.
    pub session: Session,
    /// Id of its cluster.
    pub id: String,
    cluster: Option<Arc<Cluster>>,
    key: KeyPair,
    token: String,
}

/// Connects an agent that registers with `token`. Its API server has what `cluster` has, or knows no objects; what
/// else the server asks for is answered as by [`backend::listen`]. Its tasks belong to `tasks`.
///
/// # Errors
/// When the server does not take it.
pub async fn connect(
    dialer: &Dialer,
    token: &str,
    cluster: Option<Arc<Cluster>>,
    tasks: &TaskTracker,
) -> anyhow::Result<Agent> {
    let key = KeyPair::generate()?;
    let (session, id) = dial(dialer, &key, token, &cluster, tasks).await?;
    let token = token.to_owned();
    Ok(Agent {
        session,
        id,
        cluster,
        key,
        token,
    })
}

impl Agent {
    /// Connects it again, after its session has ended.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn connect_again(
        &mut self,
        dialer: &Dialer,
        tasks: &TaskTracker,
    ) -> anyhow::Result<()> {
        let (session, _) = dial(dialer, &self.key, &self.token, &self.cluster, tasks).await?;
        self.session = session;
        Ok(())
    }
}

async fn dial(
    dialer: &Dialer,
    key: &KeyPair,
    token: &str,
    cluster: &Option<Arc<Cluster>>,
    tasks: &TaskTracker,
) -> anyhow::Result<(Session, String)> {
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
        .dial(key, &introduction)
        .await
        .context("agent was not taken")?;
    tasks.spawn(connected.driver);
    let session = connected.session;
    tasks.spawn(answer(session.clone(), cluster.clone(), tasks.clone()));
    Ok((session, connected.welcome.bound_to))
}

async fn answer(session: Session, cluster: Option<Arc<Cluster>>, tasks: TaskTracker) {
    while let Some(incoming) = session.accept().await {
        let cluster = cluster.clone();
        tasks.spawn(async move {
            let inbound = incoming.preamble().await?;
            if inbound.open.target != Target::KubeApi {
                inbound.refuse(RefusalReason::NotServed, "simulated").await;
                return Ok(());
            }
            backend::serve(inbound.accept().await?, cluster).await?;
            anyhow::Ok(())
        });
    }
}
