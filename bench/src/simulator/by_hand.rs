//! Agents that somebody else moves.

use super::answers;
use crate::cluster::Cluster;
use anyhow::Context as _;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use tunnel::{
    dial::{Dialer, Introduction},
    identity::KeyPair,
    session::Session,
};
use tunnel_proto::hello::AgentKind;

/// A simulated agent with a live session, which it keeps while it can, and does not replace.
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
/// else the server asks for is answered as by [`crate::backend::listen`]. Its tasks belong to `tasks`.
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

/// What a simulated agent says of itself.
pub(super) fn introduction(token: &str, instance: &str) -> Introduction {
    Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: Some("v0.0.0-simulated".into()),
        },
        software: concat!("lariat-bench/", env!("CARGO_PKG_VERSION")).into(),
        instance: instance.to_owned(),
        registration_token: Some(token.to_owned()),
    }
}

async fn dial(
    dialer: &Dialer,
    key: &KeyPair,
    token: &str,
    cluster: &Option<Arc<Cluster>>,
    tasks: &TaskTracker,
) -> anyhow::Result<(Session, String)> {
    let connected = dialer
        .dial(key, &introduction(token, token))
        .await
        .context("agent was not taken")?;
    tasks.spawn(connected.driver);
    let session = connected.session;
    let answering = answers::serve_objects(session.clone(), cluster.clone(), tasks.clone());
    tasks.spawn(answering);
    Ok((session, connected.welcome.bound_to))
}
