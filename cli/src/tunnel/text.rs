//! What is known of a tunnel, for people: each figure with its unit.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{
    ClusterTunnel, TunnelBudget, TunnelBulk, TunnelRequest, TunnelSession, TunnelStreams,
};

use super::advice;

/// Longest text of somebody else's that is shown, in characters.
const LONGEST: usize = 300;

/// Everything about a tunnel, with what to do about it.
pub(super) fn tunnel(tunnel: &ClusterTunnel, name: &str, server: &str, now: Timestamp) -> String {
    let mut text = Lines::default();
    let replica = printable(&tunnel.server.replica);
    text.line(format_args!(
        "Cluster      {name} ({})",
        tunnel.cluster_name
    ));
    let used = tunnel.sessions.iter().find(|session| session.in_use);
    let way = match used {
        Some(session) if session.attached => {
            format!("1 connection, the {}", ordinal(session.carriers.max(1)))
        }
        Some(_) => "no connection now".to_owned(),
        None => "no session".to_owned(),
    };
    text.line(format_args!(
        "Path         you → {server} (replica {replica}) → {way} → agent → API server"
    ));
    for condition in &tunnel.conditions {
        let (status, message) = (condition.status.as_str(), printable(&condition.message));
        let more = if message.is_empty() {
            String::new()
        } else {
            format!(": {message}")
        };
        text.line(format_args!("{:<12} {status}{more}", condition.type_));
    }
    for one in &tunnel.sessions {
        session(&mut text, one, now);
    }
    let server = &tunnel.server;
    text.line(format_args!(""));
    text.line(format_args!(
        "Server       version {}, up for {}, {} of {} handshakes under way",
        printable(&server.version),
        since(server.started_at.as_ref(), now),
        server.handshakes,
        server.handshakes_at_most,
    ));
    text.line(format_args!(
        "  memory     windows {}, replay {}",
        budget(server.windows),
        budget(server.replay)
    ));
    if !tunnel.problems.is_empty() {
        text.line(format_args!("\nLately"));
        for problem in &tunnel.problems {
            let lasted = problem
                .lasted_seconds
                .map(|seconds| format!(" (it had lasted {})", milliseconds(seconds * 1000.0)));
            text.line(format_args!(
                "  {:>6} ago  {}: {}{}",
                since(problem.at.as_ref(), now),
                printable(&problem.reason),
                printable(&problem.message),
                lasted.unwrap_or_default(),
            ));
        }
    }
    let advice = advice::of(tunnel, now);
    text.line(format_args!(""));
    if advice.is_empty() {
        text.line(format_args!("Nothing is wrong that can be seen from here."));
    }
    for advice in advice {
        text.line(format_args!("! {advice}"));
    }
    text.0
}

fn session(text: &mut Lines, session: &TunnelSession, now: Timestamp) {
    text.line(format_args!(""));
    let used = if session.in_use { ", in use" } else { "" };
    let why = match printable(&session.phase_reason) {
        why if why.is_empty() => why,
        why => format!(" ({why})"),
    };
    text.line(format_args!(
        "Session      {}: {}{why}{used}, for {}",
        printable(&session.id),
        printable(&session.phase),
        since(session.began_at.as_ref(), now),
    ));
    let tls = match session.channel_bound {
        Some(true) => ", one TLS connection end to end",
        Some(false) => ", something between terminates TLS",
        None => "",
    };
    text.line(format_args!(
        "  agent      {} at {}{tls}",
        printable(&session.software),
        printable(&session.remote_address),
    ));
    let attached = if session.attached {
        "attached"
    } else {
        "detached"
    };
    text.line(format_args!(
        "  connection {attached} for {}; {} so far, {} lost ({} went silent, {} were replaced)",
        since(session.attached_since.as_ref(), now),
        session.carriers,
        session.losses,
        session.silences,
        session.replaced,
    ));
    let round_trip = session
        .round_trip_milliseconds
        .map_or_else(|| "not measured yet".to_owned(), milliseconds);
    text.line(format_args!("  round trip {round_trip}"));
    if let Some(look) = &session.api_server {
        let answer = match look.answered_milliseconds {
            Some(took) => format!("answered in {}", milliseconds(took)),
            None => "did not answer".to_owned(),
        };
        let asked = since(look.asked_at.as_ref(), now);
        text.line(format_args!("  API server {answer}, asked {asked} ago"));
    }
    text.line(format_args!(
        "  bytes      {} to the agent, {} from it; {} of {} not acknowledged",
        bytes(session.sent_bytes),
        bytes(session.received_bytes),
        bytes(session.unacknowledged_bytes),
        bytes(session.replay_bound_bytes),
    ));
    text.line(format_args!(
        "  memory     windows {}, replay {}",
        budget(session.windows),
        budget(session.replay)
    ));
    text.line(format_args!(
        "  streams    {} open, {} so far, over {}",
        session.open_streams,
        session.opened_streams,
        printable(&session.mux),
    ));
    if let Some(streams) = &session.streams {
        on_connection(text, streams);
    }
    if let Some(bulk) = &session.bulk {
        second_connection(text, bulk);
    }
}

/// The connection that there is for bulk at need.
fn second_connection(text: &mut Lines, bulk: &TunnelBulk) {
    let is = match (bulk.open, bulk.attached) {
        (true, true) => "a second connection is attached",
        (true, false) => "a second connection is on its way",
        (false, _) => "no second connection is needed",
    };
    text.line(format_args!(
        "  for bulk   {is}; {} so far, {} lost; {} to the agent, {} from it",
        bulk.carriers,
        bulk.losses,
        bytes(bulk.sent_bytes),
        bytes(bulk.received_bytes),
    ));
    if bulk.lost > 0 {
        text.line(format_args!(
            "    {} times what was on it was cut off; the last time: {}",
            bulk.lost,
            printable(&bulk.last_lost),
        ));
    }
    if let Some(streams) = &bulk.streams {
        on_connection(text, streams);
    }
}

/// What the streams of a connection are doing.
fn on_connection(text: &mut Lines, streams: &TunnelStreams) {
    for class in &streams.classes {
        text.line(format_args!(
            "    {:<11} {} open, {} queued",
            printable(&class.class),
            class.streams,
            bytes(class.queued_bytes),
        ));
    }
    text.line(format_args!(
        "  windows    widest {}, {} unread here, {} streams wait for the agent",
        bytes(streams.widest_window_bytes),
        bytes(streams.unread_bytes),
        streams.blocked,
    ));
}

/// One request.
pub(super) fn request(request: &TunnelRequest) -> String {
    let mut text = Lines::default();
    text.line(format_args!("Request      {}", printable(&request.id)));
    text.line(format_args!(
        "  asked      {} {}",
        printable(&request.method),
        printable(&request.path)
    ));
    text.line(format_args!(
        "  by         {} ({})",
        printable(&request.username),
        printable(&request.user_id)
    ));
    if let Some(at) = &request.began_at {
        text.line(format_args!("  came       {}", at.0));
    }
    let none = || "-".to_owned();
    let (waited, answered) = (request.waited_milliseconds, request.answered_milliseconds);
    text.line(format_args!(
        "  session    {} after waiting {}, class {}",
        match printable(&request.session) {
            session if session.is_empty() => none(),
            session => session,
        },
        waited.map_or_else(none, milliseconds),
        printable(&request.class),
    ));
    text.line(format_args!(
        "  answer     status {}, its head came after {}",
        request
            .status
            .map_or_else(none, |status| status.to_string()),
        answered.map_or_else(none, milliseconds),
    ));
    text.line(format_args!(
        "  bytes      {} from you, {} to you",
        bytes(request.received_bytes),
        bytes(request.sent_bytes)
    ));
    let lasted = milliseconds(request.lasted_milliseconds);
    text.line(match (request.under_way, printable(&request.error)) {
        (true, _) => format!("  end        none yet, it goes on since {lasted}"),
        (false, error) if error.is_empty() => format!("  end        after {lasted}"),
        (false, error) => format!("  end        after {lasted}: {error}"),
    });
    if !request.trace_id.is_empty() {
        text.line(format!("  trace      {}", printable(&request.trace_id)));
    }
    text.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Without what changes a terminal.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().take(LONGEST);
    shown
        .map(|shown| if shown.is_control() { ' ' } else { shown })
        .collect()
}

/// Time since then.
pub(super) fn since(then: Option<&Time>, now: Timestamp) -> String {
    let Some(then) = then else {
        return "?".to_owned();
    };
    match now.duration_since(then.0).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86400),
    }
}

/// A duration with a unit that suits it.
pub(super) fn milliseconds(time: f64) -> String {
    if time < 10.0 {
        format!("{time:.1} ms")
    } else if time < 1000.0 {
        format!("{time:.0} ms")
    } else if time < 120_000.0 {
        format!("{:.1} s", time / 1000.0)
    } else {
        format!("{:.0} min", time / 60_000.0)
    }
}

/// A number of bytes with a unit that suits it.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.into_iter().find(|(size, _)| bytes >= *size);
    match unit {
        // Tenths, without the rounding of large numbers that a float has.
        Some((size, name)) => format!("{}.{} {name}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

fn budget(budget: TunnelBudget) -> String {
    let (taken, total) = (bytes(budget.taken_bytes), bytes(budget.total_bytes));
    format!("{taken} of {total}")
}

fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::{TunnelClass, TunnelStreams};

    fn at(second: i64) -> Option<Time> {
        Some(Time(Timestamp::from_second(second).unwrap()))
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
        assert_eq!(milliseconds(0.3), "0.3 ms");
        assert_eq!(milliseconds(3_500.0), "3.5 s");
        assert_eq!(ordinal(1), "1st");
        assert_eq!(ordinal(112), "112th");
        let now = Timestamp::from_second(10_000).unwrap();
        assert_eq!(since(at(9_990).as_ref(), now), "10 s");
        assert_eq!(since(at(20_000).as_ref(), now), "0 s");
    }

    #[test]
    fn what_the_agent_says_does_not_change_the_terminal() {
        let session = TunnelSession {
            id: "s-1".to_owned(),
            in_use: true,
            attached: true,
            carriers: 3,
            software: "agent\u{1b}[2J".to_owned(),
            streams: Some(TunnelStreams {
                classes: vec![TunnelClass {
                    class: "bulk".to_owned(),
                    streams: 2,
                    queued_bytes: 2048,
                }],
                ..TunnelStreams::default()
            }),
            bulk: Some(TunnelBulk {
                open: true,
                carriers: 2,
                lost: 1,
                last_lost: "peer is \u{1b}silent".to_owned(),
                ..TunnelBulk::default()
            }),
            ..TunnelSession::default()
        };
        let explained = ClusterTunnel {
            cluster_name: "c-1".to_owned(),
            registered: true,
            sessions: vec![session],
            ..ClusterTunnel::default()
        };
        let now = Timestamp::from_second(0).unwrap();
        let text = tunnel(&explained, "one", "https://x", now);
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(text.contains("1 connection, the 3rd"), "{text}");
        assert!(text.contains("2 open, 2.0 KiB queued"), "{text}");
        assert!(
            text.contains("a second connection is on its way; 2 so far"),
            "{text}"
        );
        assert!(
            text.contains("1 times what was on it was cut off"),
            "{text}"
        );
    }
}
