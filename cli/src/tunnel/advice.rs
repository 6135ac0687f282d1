//! What is wrong with a tunnel, and what to do about it.

use jiff::Timestamp;
use lariat_api::{ClusterTunnel, TunnelBudget, TunnelSession};

use super::text::{bytes, milliseconds, printable, since};

/// A round trip from which people notice it, in milliseconds.
const FAR: f64 = 300.0;

/// An answer of an API server that is slow, beyond the round trip, in milliseconds.
const SLOW: f64 = 1000.0;

/// Losses within an hour that are too many.
const MANY: usize = 3;

/// How much of a budget may be taken before it is nearly exhausted, in parts of a hundred.
const NEARLY: u64 = 90;

/// Sentences, the most important first. Empty if nothing is wrong.
pub(super) fn of(tunnel: &ClusterTunnel, now: Timestamp) -> Vec<String> {
    let mut advice = Vec::new();
    let id = &tunnel.cluster_name;
    let used = tunnel.sessions.iter().find(|session| session.in_use);
    match used {
        None if !tunnel.registered => advice.push(format!(
            "No agent has registered yet. Connect the cluster with: lariat cluster import {id}"
        )),
        None => advice.push(format!(
            "The agent has no session since {}. Look at its log in the cluster: \
             kubectl -n cattle-system logs deployment/cattle-cluster-agent",
            since(tunnel.disconnected_at.as_ref(), now),
        )),
        Some(session) => of_session(&mut advice, session, tunnel, now),
    }
    let hour = |at: Timestamp| now.duration_since(at).as_secs() < 3600;
    let lost: Vec<_> = (tunnel.problems.iter())
        .filter(|problem| problem.reason == "ConnectionLost")
        .filter(|problem| problem.at.as_ref().is_some_and(|at| hour(at.0)))
        .collect();
    let lasted: Vec<_> = lost.iter().filter_map(|loss| loss.lasted_seconds).collect();
    if let Some(seconds) = alike(&lasted) {
        advice.push(format!(
            "Connections end after about {seconds:.0} s each time: something between agent and server (a proxy, a balancer) \
             ends them when they are that old, or when they are idle. Raise its idle timeout and its limit for WebSockets."
        ));
    } else if lost.len() >= MANY {
        advice.push(format!(
            "{} connections were lost within an hour, the last to: {}. What runs goes on over the next one; for the cause look \
             at the network between {} and this server.",
            lost.len(),
            lost.last().map(|last| printable(&last.message)).unwrap_or_default(),
            used.map_or_else(|| "the agent".to_owned(), |used| printable(&used.remote_address)),
        ));
    }
    let server = &tunnel.server;
    for (name, budget) in [
        ("windows of streams", server.windows),
        ("replay", server.replay),
    ] {
        if is_nearly_taken(budget) {
            advice.push(format!(
                "The server's memory for {name} is nearly exhausted ({} of {}), so that downloads over long distances are \
                 slower: spread clusters or users over more servers, or look for who reads too slowly.",
                bytes(budget.taken_bytes),
                bytes(budget.total_bytes),
            ));
        }
    }
    if server.handshakes_at_most > 0 && server.handshakes >= server.handshakes_at_most {
        advice.push(
            "As many agents are connecting as the server lets in at once; the others come in turn."
                .to_owned(),
        );
    }
    advice
}

fn of_session(
    advice: &mut Vec<String>,
    session: &TunnelSession,
    tunnel: &ClusterTunnel,
    now: Timestamp,
) {
    if !session.attached {
        let lost = session.last_loss.as_ref();
        advice.push(format!(
            "The connection was lost {} ago ({}). Requests wait up to 10 s; what runs goes on if the agent is back within {} s. \
             Look at its log in the cluster: kubectl -n cattle-system logs deployment/cattle-cluster-agent",
            since(session.attached_since.as_ref(), now),
            lost.map(|lost| printable(&lost.message)).unwrap_or_default(),
            tunnel.server.resume_window_seconds,
        ));
    }
    let round_trip = session.round_trip_milliseconds.unwrap_or_default();
    if round_trip >= FAR {
        advice.push(format!(
            "The round trip to the agent is long ({}): every request takes that at least. Is the way a detour, or full?",
            milliseconds(round_trip),
        ));
    }
    if let Some(look) = &session.api_server {
        match look.answered_milliseconds {
            Some(took) if took - round_trip >= SLOW => advice.push(format!(
                "The cluster's API server takes {} to say that it is ready: it is overloaded, or its etcd is slow.",
                milliseconds(took - round_trip),
            )),
            None if session.attached => advice.push(format!(
                "The cluster's API server did not answer the agent: {}",
                printable(&look.problem),
            )),
            _ => {}
        }
    }
    if session.replay_bound_bytes > 0 && session.unacknowledged_bytes >= session.replay_bound_bytes
    {
        advice.push(format!(
            "{} are on their way to the agent and not acknowledged, and no more may be: the network takes less than is sent.",
            bytes(session.unacknowledged_bytes),
        ));
    }
    if is_nearly_taken(session.windows) {
        advice.push(format!(
            "The windows of the session are as large as they may be together ({}): a download at this round trip gets no \
             faster. Fewer at once are faster each.",
            bytes(session.windows.taken_bytes),
        ));
    }
    let blocked = session
        .streams
        .as_ref()
        .map_or(0, |streams| streams.blocked);
    if blocked > 0 {
        advice.push(format!(
            "{blocked} streams have filled their windows: what reads them in the cluster takes less than is sent. Others are \
             not held up by that.",
        ));
    }
}

fn is_nearly_taken(budget: TunnelBudget) -> bool {
    let nearly = u128::from(budget.total_bytes) * u128::from(NEARLY) / 100;
    budget.total_bytes > 0 && u128::from(budget.taken_bytes) >= nearly
}

/// The middle of several times that are about the same.
fn alike(seconds: &[f64]) -> Option<f64> {
    if seconds.len() < MANY {
        return None;
    }
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    let near = most - least <= f64::max(1.5, least / 10.0);
    (least >= 1.0 && near).then_some(f64::midpoint(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use lariat_api::{TunnelLook, TunnelProblem, TunnelServer, TunnelStreams};

    const NOW: i64 = 1_000_000;

    fn time(before: i64) -> Option<Time> {
        Some(Time(Timestamp::from_second(NOW - before).unwrap()))
    }

    fn well() -> ClusterTunnel {
        let session = TunnelSession {
            in_use: true,
            attached: true,
            round_trip_milliseconds: Some(20.0),
            replay_bound_bytes: 1 << 20,
            api_server: Some(TunnelLook {
                asked_at: time(5),
                answered_milliseconds: Some(25.0),
                problem: String::new(),
            }),
            streams: Some(TunnelStreams::default()),
            ..TunnelSession::default()
        };
        ClusterTunnel {
            cluster_name: "c-1".to_owned(),
            registered: true,
            sessions: vec![session],
            server: TunnelServer {
                resume_window_seconds: 180,
                handshakes_at_most: 256,
                windows: TunnelBudget {
                    taken_bytes: 1,
                    total_bytes: 100,
                },
                ..TunnelServer::default()
            },
            ..ClusterTunnel::default()
        }
    }

    fn told(change: impl FnOnce(&mut ClusterTunnel)) -> String {
        let mut tunnel = well();
        change(&mut tunnel);
        of(&tunnel, Timestamp::from_second(NOW).unwrap()).join("\n")
    }

    fn losses(lasted: &[f64]) -> Vec<TunnelProblem> {
        let losses = lasted.iter().map(|lasted| TunnelProblem {
            at: time(60),
            reason: "ConnectionLost".to_owned(),
            message: "peer is silent".to_owned(),
            lasted_seconds: Some(*lasted),
        });
        losses.collect()
    }

    #[test]
    fn a_tunnel_that_is_well_needs_nothing() {
        assert_eq!(told(|_| ()), "");
        assert_eq!(told(|tunnel| tunnel.problems = losses(&[30.0, 900.0])), "");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        type Change = fn(&mut ClusterTunnel);
        let cases: [(Change, &str); 11] = [
            (
                |tunnel| {
                    tunnel.sessions.clear();
                    tunnel.registered = false;
                },
                "lariat cluster import c-1",
            ),
            (
                |tunnel| {
                    tunnel.sessions.clear();
                    tunnel.disconnected_at = time(40);
                },
                "no session since 40 s",
            ),
            (
                |tunnel| {
                    tunnel.sessions[0].attached = false;
                    tunnel.sessions[0].attached_since = time(7);
                },
                "lost 7 s ago",
            ),
            (
                |tunnel| tunnel.problems = losses(&[30.2, 29.8, 30.5]),
                "after about 30 s",
            ),
            (
                |tunnel| tunnel.problems = losses(&[3.0, 200.0, 90.0]),
                "3 connections were lost within an hour, the last to: peer is silent",
            ),
            (
                |tunnel| tunnel.sessions[0].round_trip_milliseconds = Some(700.0),
                "round trip to the agent is long (700 ms)",
            ),
            (
                |tunnel| {
                    let look = tunnel.sessions[0].api_server.as_mut().unwrap();
                    look.answered_milliseconds = Some(4_020.0);
                },
                "takes 4.0 s",
            ),
            (
                |tunnel| tunnel.sessions[0].unacknowledged_bytes = 1 << 20,
                "1.0 MiB are on their way",
            ),
            (
                |tunnel| tunnel.sessions[0].streams.as_mut().unwrap().blocked = 2,
                "2 streams have filled their windows",
            ),
            (
                |tunnel| {
                    tunnel.sessions[0].windows = TunnelBudget {
                        taken_bytes: 60 << 20,
                        total_bytes: 64 << 20,
                    };
                },
                "as large as they may be together (60.0 MiB)",
            ),
            (
                |tunnel| tunnel.server.windows.taken_bytes = 95,
                "windows of streams is nearly exhausted (95 B of 100 B)",
            ),
        ];
        for (change, expected) in cases {
            let told = told(change);
            assert!(told.contains(expected), "{expected} is not in {told:?}");
        }
    }

    #[test]
    fn losses_of_yesterday_are_forgotten() {
        let mut old = losses(&[30.0, 30.0, 30.0]);
        for loss in &mut old {
            loss.at = time(86_400);
        }
        assert_eq!(told(|tunnel| tunnel.problems = old), "");
    }
}
