//! Whether a cluster can be used, proven by use: a request through the session to its API server
//! and back, again and again. What changes is written to the Cluster's status.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, PostParams};
use lariat_api::ConditionStatus::{self, False, True, Unknown};
use lariat_api::{BoundAgent, Cluster, ClusterId, ClusterStatus, set_condition};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};
use tunnel::session::End;
use tunnel_proto::hello::{AgentKind, Hello};
use tunnel_proto::stream::Class;

use super::history::Problem;
use super::registry::{Looked, Tunnel};
use crate::kube_proxy::no_body;
use crate::management::answered;
use crate::random;
use crate::state::App;

/// How often the API server is asked.
const EVERY: Duration = Duration::from_secs(10);

/// How often it is asked at least while requests of others show that it answers: whether it is ready, nothing else shows.
const SELDOM: Duration = Duration::from_secs(60);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// What one look found.
struct Finding {
    connected: (ConditionStatus, &'static str, String),
    ready: (ConditionStatus, &'static str, String),
    answered_in: Option<Duration>,
}

/// Looks after a session until it is over. The first look comes when few agents shake hands; then
/// `tunnel.settled` is cancelled.
pub(super) async fn watch(app: &Arc<App>, cluster: &ClusterId, tunnel: &Tunnel, hello: &Hello) {
    let began = app.clock.now();
    let mut attached = tunnel.session.attached();
    let (mut wrong, mut proven) = ("", false);
    let mut turn = app.tunnels.admission.quiet().await;
    let mut looked_at = Instant::now();
    let mut due = looked_at;
    loop {
        let is_back = tokio::select! {
            () = tokio::time::sleep_until(due) => false,
            // A session that has a connection again is good news.
            () = next_carrier(&mut attached) => true,
        };
        let now = Instant::now();
        due = now + pause(proven, random::bits());
        let is_well = proven && wrong.is_empty() && !is_back;
        if is_well && tunnel.has_answered_within(EVERY) && now - looked_at < SELDOM {
            continue;
        }
        looked_at = now;
        // Boxed, as most of the time there is nothing to do and thousands wait here.
        let finding = Box::pin(look(tunnel)).await;
        note(app, cluster, tunnel, &finding, &mut wrong);
        if finding.answered_in.is_some() && !std::mem::replace(&mut proven, true) {
            app.tunnels.prove(cluster, tunnel);
        }
        // What is written is of the session that requests take.
        let used = app.tunnels.get(cluster);
        if used.is_none_or(|used| used.session.id() == tunnel.session.id()) {
            let written = record(app, cluster, |status| {
                let agent = status.agent.as_mut();
                let mut changed = agent.is_some_and(|agent| set_connected(agent, hello, began));
                changed |= set_facts(status, hello);
                changed | set_conditions(app, status, &finding)
            });
            Box::pin(written).await;
        }
        drop(turn.take());
        tunnel.settled.cancel();
    }
}

/// How long until the next look. Sessions that began together are not looked after together.
fn pause(proven: bool, random: u64) -> Duration {
    let random = (random % 1024) as f64 / 1024.0;
    match proven {
        true => EVERY.mul_f64(0.9 + 0.2 * random),
        false => EVERY.mul_f64(0.5 + 0.5 * random),
    }
}

/// Keeps what was found for people; what is wrong is noted when it begins. `wrong` is the reason that was noted last.
fn note(
    app: &App,
    cluster: &ClusterId,
    tunnel: &Tunnel,
    finding: &Finding,
    wrong: &mut &'static str,
) {
    let at = app.clock.now();
    let (holds, reason, message) = [&finding.connected, &finding.ready]
        .into_iter()
        .find(|(holds, ..)| *holds != True)
        .unwrap_or(&finding.ready);
    let found = if *holds == True { "" } else { *reason };
    // A connection that was lost is noted by who counts them.
    if found != *wrong && !matches!(found, "" | "ConnectionLost") {
        app.tunnels.note(cluster, Problem::new(at, found, message));
    }
    *wrong = found;
    let round_trip = tunnel.session.lane().round_trip;
    let figures = &app.tunnels.figures;
    figures.looked(round_trip, finding.answered_in);
    let looked = Looked {
        at,
        answered_in: finding.answered_in,
        problem: message.clone(),
    };
    *tunnel.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
}

/// The last session of a cluster has ended.
pub(super) async fn record_disconnect(app: &Arc<App>, cluster: &ClusterId, end: &End) {
    let message = super::ended_because(end);
    let now = app.clock.now();
    record(app, cluster, |status| {
        if let Some(agent) = &mut status.agent {
            agent.disconnected_at = Some(Time(now));
        }
        let finding = Finding {
            connected: (False, "Disconnected", message.clone()),
            ready: (
                Unknown,
                "Disconnected",
                "the cluster is not connected".into(),
            ),
            answered_in: None,
        };
        set_conditions(app, status, &finding);
        true
    })
    .await;
}

/// Waits until a session that had no connection has one.
async fn next_carrier(attached: &mut watch::Receiver<bool>) {
    attached.mark_unchanged();
    while attached.changed().await.is_ok() {
        if *attached.borrow_and_update() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn look(tunnel: &Tunnel) -> Finding {
    if !tunnel.attached_within(PATIENCE).await {
        let lost = tunnel.session.stats().lane.last_loss.unwrap_or_default();
        let message = format!("the agent's connection was lost and it has not come back: {lost}");
        return Finding {
            connected: (False, "ConnectionLost", message),
            ready: (
                Unknown,
                "ConnectionLost",
                "the cluster is not connected".into(),
            ),
            answered_in: None,
        };
    }
    let started = Instant::now();
    let silent = |reason, message: String| Finding {
        connected: (False, reason, message),
        ready: (
            Unknown,
            reason,
            "the cluster's API server does not answer".into(),
        ),
        answered_in: None,
    };
    let answer = match tokio::time::timeout(PATIENCE, ask(tunnel)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return silent(
                "TunnelFailed",
                format!("the agent does not answer: {error}"),
            );
        }
        Err(_) => {
            let message = format!(
                "no answer through the tunnel within {} s",
                PATIENCE.as_secs()
            );
            return silent("Timeout", message);
        }
    };
    let answered_in = Some(started.elapsed());
    debug!(?answered_in, status = %answer.0, "looked");
    let connected = (True, "Connected", String::new());
    match answer {
        (StatusCode::OK, _) => Finding {
            connected,
            ready: (True, "Ready", String::new()),
            answered_in,
        },
        (StatusCode::BAD_GATEWAY, said) => silent("ApiServerUnreachable", said),
        (code, said) => Finding {
            connected,
            ready: (
                False,
                "NotReady",
                format!("the API server's /readyz answers {code}: {said}"),
            ),
            answered_in,
        },
    }
}

async fn ask(
    tunnel: &Tunnel,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    // A kept connection costs 25 KiB of buffers, for each cluster that nobody uses.
    let request = Request::get("http://cluster/readyz")
        .header(header::CONNECTION, "close")
        .body(no_body())?;
    let response = tunnel.client(Class::Interactive).request(request).await?;
    let code = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await?
        .to_bytes();
    Ok((code, said(&body)))
}

/// The message of a Status, or the beginning of a text.
fn said(body: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = status
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.chars().take(500).collect()
}

fn set_connected(agent: &mut BoundAgent, hello: &Hello, began: Timestamp) -> bool {
    // Only the seconds of a time are kept.
    if agent.connected_at.as_ref().map(|at| at.0.as_second()) == Some(began.as_second()) {
        return false;
    }
    agent.instance.clone_from(&hello.instance);
    agent.version.clone_from(&hello.software);
    agent.connected_at = Some(Time(began));
    agent.disconnected_at = None;
    true
}

fn set_facts(status: &mut ClusterStatus, hello: &Hello) -> bool {
    let AgentKind::Cluster {
        cluster_uid,
        kubernetes_version,
    } = &hello.agent
    else {
        return false;
    };
    let info = status.info.get_or_insert_default();
    let before = info.clone();
    if let Some(uid) = cluster_uid {
        info.uid.clone_from(uid);
    }
    if let Some(version) = kubernetes_version {
        info.kubernetes_version.clone_from(version);
    }
    *info != before
}

fn set_conditions(app: &Arc<App>, status: &mut ClusterStatus, finding: &Finding) -> bool {
    let now = app.clock.now();
    let mut set = |name, (holds, reason, message): &(ConditionStatus, &str, String)| {
        set_condition(&mut status.conditions, name, *holds, reason, message, now)
    };
    set("Connected", &finding.connected) | set("Ready", &finding.ready)
}

/// Writes the status if `change` finds something to change in it: in what the directory knows, and if
/// somebody was faster, in what they wrote.
pub(crate) async fn record(
    app: &Arc<App>,
    cluster: &ClusterId,
    mut change: impl FnMut(&mut ClusterStatus) -> bool,
) {
    let clusters: Api<Cluster> = Api::all(app.own.clone());
    let mut known = app.directory.cluster(cluster).map(Arc::unwrap_or_clone);
    while let Some(mut found) = known {
        if !change(found.status.get_or_insert_default()) {
            return;
        }
        let name = cluster.as_str();
        let params = PostParams::default();
        let written = clusters.replace_status(name, &params, &found).await;
        if !answered(&written, StatusCode::CONFLICT) {
            if !answered(&written, StatusCode::NOT_FOUND)
                && let Err(error) = written
            {
                warn!(%cluster, %error, "cannot write the cluster's status");
            }
            return;
        }
        known = clusters.get_opt(name).await.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_written_once() {
        let hello: Hello = serde_json::from_value(serde_json::json!({
            "versions": [1],
            "agent": {"kind": "cluster"},
            "software": "cattle-cluster-agent/1",
            "instance": "i-1",
            "publicKey": "",
            "nonce": "",
        }))
        .unwrap();
        let began = Timestamp::from_millisecond(1_500).unwrap();
        let mut agent: BoundAgent =
            serde_json::from_value(serde_json::json!({"publicKey": ""})).unwrap();
        assert!(set_connected(&mut agent, &hello, began));
        let kept = serde_json::to_string(&agent).unwrap();
        let mut read: BoundAgent = serde_json::from_str(&kept).unwrap();
        assert!(!set_connected(&mut read, &hello, began));
        assert_eq!(serde_json::to_string(&read).unwrap(), kept);
    }
}
