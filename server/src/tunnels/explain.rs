//! How a cluster's tunnel is doing, and where requests are: the subresource `tunnel` of a Cluster. It is made when it is
//! asked for, so that the API library has no part in it; RBAC decides all the same.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use apiserver::error::{About, ApiError};
use apiserver::request::Target;
use apiserver::serve::{Attributes, Decision, ResourceAttributes};
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{
    ApiVersion, Cluster, ClusterId, ClusterTunnel, GROUP, Kind as _, TunnelBudget, TunnelBulk,
    TunnelClass, TunnelLook, TunnelProblem, TunnelRequestList, TunnelServer, TunnelSession,
    TunnelStreams, VERSION,
};
use tunnel::session::{BulkStats, MuxStats, Phase, Taken};
use tunnel_proto::budget::Budget;
use tunnel_proto::stream::Class;

use super::figures::name_of;
use super::registry::{Looked, RESUME_WINDOW, Tunnel, Tunnels};
use crate::audit::Audit;
use crate::authn::Identity;
use crate::authz::{Action, find_cluster};
use crate::edge::{Body, json};
use crate::management;
use crate::state::App;

/// What somebody asks about a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AskedAbout<'a> {
    cluster: &'a str,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What<'a> {
    Tunnel,
    Requests,
    Request(&'a str),
    Nothing,
}

/// What a request asks about the tunnel of a cluster; `None` if it asks for something else.
pub(crate) fn asked_for<'a>(action: &'a Action, path_and_query: &'a str) -> Option<AskedAbout<'a>> {
    let Target::Resource {
        group,
        version,
        namespace: None,
        resource,
        name: Some(cluster),
        subresource: Some(subresource),
        watch: false,
        ..
    } = &action.target
    else {
        return None;
    };
    let is_tunnel = (group.as_str(), version.as_str()) == (GROUP, VERSION)
        && (resource.as_str(), subresource.as_str())
            == (Cluster::PLURAL, ClusterTunnel::SUBRESOURCE);
    let path = path_and_query.split('?').next().filter(|_| is_tunnel)?;
    let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let what = match segments.get(6..) {
        None | Some([]) => What::Tunnel,
        Some(["requests"]) => What::Requests,
        Some(["requests", id]) => What::Request(id),
        Some(_) => What::Nothing,
    };
    Some(AskedAbout { cluster, what })
}

/// Answers it.
///
/// # Errors
/// 403 for who may not see it, 404 for what is not there, 405 for another method than GET.
pub(crate) fn explain(
    app: &Arc<App>,
    method: &Method,
    who: &Identity,
    asked: &AskedAbout<'_>,
    audit: &Audit,
) -> Result<Response<Body>, ApiError> {
    let about = About {
        group: GROUP,
        what: Cluster::PLURAL,
        name: asked.cluster,
    };
    match may(app, who, "get", asked.cluster) {
        Decision::Allow | Decision::AllowAs(_) => audit.set_decision(true, ""),
        Decision::AllowSome(_) => return Err(ApiError::forbidden(about, "no role gives it")),
        Decision::Deny(why) => {
            audit.set_decision(false, &why);
            return Err(ApiError::forbidden(about, &why));
        }
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let code = StatusCode::METHOD_NOT_ALLOWED;
        let message = "a tunnel is only looked at, with GET";
        return Err(ApiError::new(code, "MethodNotAllowed", message));
    }
    let id: ClusterId = asked
        .cluster
        .parse()
        .map_err(|_| ApiError::not_found(about))?;
    let cluster = find_cluster(app, &id)?;
    let requests = || {
        let all = may(app, who, "list", asked.cluster);
        let all = matches!(all, Decision::Allow | Decision::AllowAs(_));
        app.journal.of(&id, (!all).then_some(&who.user))
    };
    match asked.what {
        What::Tunnel => Ok(json(StatusCode::OK, &tunnel_of(app, &id, &cluster))),
        What::Requests => {
            let list = TunnelRequestList {
                api_version: ApiVersion,
                kind: TunnelRequestList::KIND.to_owned(),
                items: requests(),
            };
            Ok(json(StatusCode::OK, &list))
        }
        What::Request(wanted) => {
            let about = About {
                group: GROUP,
                what: "tunnel/requests",
                name: wanted,
            };
            let mut found = requests().into_iter().filter(|one| one.id == wanted);
            let found = found.next().ok_or_else(|| ApiError::not_found(about))?;
            Ok(json(StatusCode::OK, &found))
        }
        What::Nothing => Err(ApiError::no_such_path()),
    }
}

fn may(app: &App, who: &Identity, verb: &str, cluster: &str) -> Decision {
    let what = Attributes::Resource(ResourceAttributes {
        verb,
        group: GROUP,
        resource: Cluster::PLURAL,
        subresource: ClusterTunnel::SUBRESOURCE,
        namespace: "",
        name: cluster,
    });
    app.authorizer.authorize(&management::user(who), &what)
}

fn tunnel_of(app: &App, id: &ClusterId, cluster: &Cluster) -> ClusterTunnel {
    let tunnels = &app.tunnels;
    let used = tunnels.get(id);
    let is_used =
        |tunnel: &Arc<Tunnel>| used.as_ref().is_some_and(|used| Arc::ptr_eq(used, tunnel));
    let all = tunnels.all_of(id);
    let sessions = all.iter().map(|tunnel| session(tunnel, is_used(tunnel)));
    let sessions: Vec<_> = sessions.collect();
    // After what it waits for: a loss that is shown is among the problems.
    for tunnel in &all {
        tunnels.figures.settle(id, tunnel);
    }
    let status = cluster.status.as_ref();
    ClusterTunnel {
        api_version: ApiVersion,
        kind: ClusterTunnel::KIND.to_owned(),
        cluster_name: id.to_string(),
        server: server(tunnels),
        sessions,
        registered: cluster.agent().is_some(),
        disconnected_at: cluster
            .agent()
            .and_then(|agent| agent.disconnected_at.clone()),
        conditions: status.map_or_else(Vec::new, |status| {
            let shown = status.conditions.iter();
            let shown = shown.filter(|one| matches!(one.type_.as_str(), "Connected" | "Ready"));
            shown.cloned().collect()
        }),
        problems: tunnels.history.of(id),
    }
}

fn server(tunnels: &Tunnels) -> TunnelServer {
    let acceptor = tunnels.acceptor();
    let budget = |budget: &Budget| TunnelBudget {
        taken_bytes: number(budget.taken()),
        total_bytes: number(budget.total()),
    };
    TunnelServer {
        replica: acceptor.replica.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(Time(tunnels.born_at)),
        resume_window_seconds: RESUME_WINDOW.as_secs(),
        windows: budget(&acceptor.memory.windows),
        replay: budget(&acceptor.memory.replay),
        handshakes: number(tunnels.admission.under_way()),
        handshakes_at_most: number(tunnels.admission.most()),
    }
}

fn session(tunnel: &Tunnel, in_use: bool) -> TunnelSession {
    let stats = tunnel.session.stats();
    let lane = stats.lane;
    let (phase, phase_reason) = match &*tunnel.session.phase().borrow() {
        Phase::Live => ("Live", String::new()),
        Phase::Draining { reason, .. } => ("Draining", reason.clone()),
        Phase::Closed(end) => ("Closed", end.to_string()),
    };
    let peer = *tunnel.peer.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = tunnel.looked.lock();
    let looked = looked.unwrap_or_else(PoisonError::into_inner).clone();
    let time = |at: std::time::SystemTime| Timestamp::try_from(at).ok().map(Time);
    TunnelSession {
        id: tunnel.session.id().to_owned(),
        in_use,
        instance: tunnel.instance.clone(),
        software: tunnel.software.clone(),
        remote_address: peer.to_string(),
        channel_bound: tunnel.channel_bound,
        mux: stats.mux,
        phase: phase.to_owned(),
        phase_reason,
        began_at: Some(Time(tunnel.began)),
        attached: lane.attached,
        attached_since: lane.since.and_then(time),
        carriers: lane.carriers,
        losses: lane.losses,
        silences: lane.silences,
        replaced: lane.replaced,
        last_loss: lane.last_loss.map(|message| TunnelProblem {
            at: lane.last_loss_at.and_then(time),
            reason: "ConnectionLost".to_owned(),
            message,
            lasted_seconds: lane.last_lasted.map(|lasted| lasted.as_secs_f64()),
        }),
        round_trip_milliseconds: lane.round_trip.map(milliseconds),
        sent_bytes: lane.sent,
        received_bytes: lane.received,
        unacknowledged_bytes: number(lane.unacknowledged),
        replay_bound_bytes: number(lane.replay_bound),
        windows: taken(stats.windows),
        replay: taken(stats.replay),
        open_streams: number(stats.open_streams),
        opened_streams: stats.opened,
        streams: stats.streams.as_ref().map(streams),
        bulk: stats.bulk.possible.then(|| bulk(stats.bulk)),
        api_server: looked.map(look),
    }
}

fn bulk(stats: BulkStats) -> TunnelBulk {
    let lane = stats.lane;
    TunnelBulk {
        open: stats.open,
        attached: lane.attached,
        begun: stats.begun,
        lost: stats.lost,
        last_lost: stats
            .last_lost
            .map(|end| end.to_string())
            .unwrap_or_default(),
        carriers: lane.carriers,
        losses: lane.losses,
        round_trip_milliseconds: lane.round_trip.map(milliseconds),
        sent_bytes: lane.sent,
        received_bytes: lane.received,
        unacknowledged_bytes: number(lane.unacknowledged),
        streams: stats.streams.as_ref().map(streams),
    }
}

fn taken(taken: Taken) -> TunnelBudget {
    TunnelBudget {
        taken_bytes: number(taken.bytes),
        total_bytes: number(taken.most),
    }
}

fn streams(stats: &MuxStats) -> TunnelStreams {
    let classes = Class::ALL.map(|class| TunnelClass {
        class: name_of(class).to_owned(),
        streams: number(stats.streams[class.index()]),
        queued_bytes: number(stats.queued[class.index()]),
    });
    TunnelStreams {
        classes: classes.to_vec(),
        blocked: number(stats.blocked),
        unread_bytes: number(stats.unread),
        widest_window_bytes: stats.widest,
    }
}

fn look(looked: Looked) -> TunnelLook {
    TunnelLook {
        asked_at: Some(Time(looked.at)),
        answered_milliseconds: looked.answered_in.map(milliseconds),
        problem: looked.problem,
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tunnel_of_a_cluster_is_asked_for() {
        let path = "/apis/management.cattle.io/v3/clusters/c-1/tunnel";
        let asked = |path: &str| {
            let action = Action::parse(&Method::GET, path);
            let asked = asked_for(&action, path)?;
            Some(format!("{} {:?}", asked.cluster, asked.what))
        };
        for (more, expected) in [
            ("", "c-1 Tunnel"),
            ("?x=1", "c-1 Tunnel"),
            ("/", "c-1 Tunnel"),
            ("/requests", "c-1 Requests"),
            ("/requests/1f", "c-1 Request(\"1f\")"),
            ("/requests/1f/more", "c-1 Nothing"),
            ("/other", "c-1 Nothing"),
        ] {
            let found = asked(&format!("{path}{more}"));
            assert_eq!(found.as_deref(), Some(expected), "{more}");
        }
        for other in [
            path.replace("/tunnel", ""),
            path.replace("tunnel", "status"),
            path.replace("clusters", "projects"),
            path.replace("v3", "v1"),
            path.replace("management", "example"),
            path.replace("clusters", "namespaces/c-1/clusters"),
        ] {
            assert_eq!(asked(&other), None, "{other}");
        }
    }
}
