//! What is wanted of the figures.

use super::{
    Found,
    forwarding::{self, CONNECTIONS, CONNECTIONS_32, HTTP_ONE, HTTP_P99, HTTP_RATE},
    http::{self, DIALLED, HOP, POOLED},
    idle,
    peers::Way,
    session::{self, TLS, TUNNEL},
    storm,
};
use crate::goal::{
    Goals,
    Wanted::{self, AtLeast, AtMost},
};

/// The goals of a run, and the ratios that they are about.
pub(super) struct Reached {
    pub(super) goals: Goals,
    /// What would be better still.
    pub(super) stretch: Goals,
    /// Beside Rancher's tunnel.
    pub(super) remotedialer: Goals,
    pub(super) ratios: Vec<(&'static str, f64)>,
}

impl Reached {
    pub(super) fn text(&self) -> String {
        format!(
            "Goals: {}. Stretch: {}. Beside remotedialer: {}.\n\n{}\n{}\n{}",
            self.goals.outcome(),
            self.stretch.outcome(),
            self.remotedialer.outcome(),
            self.goals.table().markdown(),
            self.stretch.table().markdown(),
            self.remotedialer.table().markdown(),
        )
    }

    /// A goal that has a ratio of its own in `tunnel.json`.
    fn main(
        &mut self,
        key: &'static str,
        name: &str,
        measured: f64,
        goal: Wanted,
        stretch: Wanted,
    ) {
        self.ratios.push((key, measured));
        self.goals.add(name, measured, goal);
        self.stretch.add(name, measured, stretch);
    }
}

/// Compares. Where both directions were measured, the worse one counts.
pub(super) fn of(found: &Found) -> anyhow::Result<Reached> {
    let mut reached = Reached {
        goals: Goals::default(),
        stretch: Goals::default(),
        remotedialer: Goals::default(),
        ratios: Vec::new(),
    };
    of_a_session(found, &mut reached)?;
    beside_others(found, &mut reached)?;
    of_many(found, &mut reached)?;
    Ok(reached)
}

/// Goals 1, 2 and 8 to 10.
fn of_a_session(found: &Found, reached: &mut Reached) -> anyhow::Result<()> {
    let near = |row| found.session.ratio(row, TUNNEL, TLS);
    let far = |row| found.session_far.ratio(row, TUNNEL, TLS);
    let own = |row| found.session.median(row, TUNNEL);
    reached.main(
        "bulk_vs_tls",
        "one stream, × bare TLS",
        near(session::UP)?.min(near(session::DOWN)?),
        AtLeast(0.6),
        AtLeast(0.8),
    );
    reached.main(
        "cpu_vs_tls",
        "CPU per GiB of both ends, × bare TLS",
        near(session::UP_CPU)?.max(near(session::DOWN_CPU)?),
        AtMost(1.8),
        AtMost(1.4),
    );
    reached.main(
        "rtt50_stream_vs_tls",
        "one stream at 50 ms, 3 s from cold, × bare TLS",
        far(session::UP)?.min(far(session::DOWN)?),
        AtLeast(0.6),
        AtLeast(0.8),
    );
    reached.main(
        "fairness",
        "16 equal streams, least / most",
        own(session::UP_FAIRNESS)?.min(own(session::DOWN_FAIRNESS)?),
        AtLeast(0.9),
        AtLeast(0.95),
    );
    reached.main(
        "small_beside_bulk_ms",
        "100 B beside one stream, p50 ms",
        own(session::BESIDE_UP)?.max(own(session::BESIDE_DOWN)?),
        AtMost(2.0),
        AtMost(1.0),
    );
    Ok(())
}

/// Goals 3 to 5, and what is wanted beside remotedialer.
fn beside_others(found: &Found, reached: &mut Reached) -> anyhow::Result<()> {
    let (ours, rathole) = (Way::Tunnel.name(), Way::Rathole.name());
    let figures = &found.forwarding;
    let times = |row| figures.ratio(row, ours, rathole);
    reached.main(
        "bulk_vs_rathole",
        "one connection carried, × rathole",
        times(forwarding::UP)?.min(times(forwarding::DOWN)?),
        AtLeast(1.5),
        AtLeast(2.0),
    );
    reached.main(
        "p99_vs_rathole",
        "p99 of HTTP at 64 connections, × rathole",
        times(HTTP_P99)?,
        AtMost(0.5),
        AtMost(0.25),
    );
    reached.main(
        "connections_vs_rathole",
        "new connections, 1 at a time, × rathole",
        times(CONNECTIONS)?,
        AtLeast(4.0),
        AtLeast(5.5),
    );
    let name = "new connections, 32 at a time, × rathole";
    reached
        .goals
        .add(name, times(CONNECTIONS_32)?, AtLeast(4.0));
    reached
        .stretch
        .add(name, times(CONNECTIONS_32)?, AtLeast(5.5));

    let rancher = Way::Remotedialer.name();
    for (row, wanted) in [
        (forwarding::UP, AtLeast(3.0)),
        (forwarding::DOWN, AtLeast(3.0)),
        (forwarding::UP_CPU, AtMost(0.5)),
        (forwarding::DOWN_CPU, AtMost(0.5)),
        (HTTP_RATE, AtLeast(1.5)),
        (HTTP_ONE, AtMost(0.6)),
        (CONNECTIONS, AtLeast(2.0)),
        (CONNECTIONS_32, AtLeast(2.0)),
        (forwarding::BESIDE, AtMost(0.1)),
    ] {
        let what = row.rsplit_once(", ").map_or(row, |(what, _)| what);
        let name = format!("{what}, × remotedialer");
        let measured = figures.ratio(row, ours, rancher)?;
        reached.remotedialer.add(name, measured, wanted);
    }
    let measured = found.idle.ratio(idle::KIB, ours, rancher)?;
    let name = "server memory of an idle tunnel, × remotedialer";
    reached.remotedialer.add(name, measured, AtMost(0.3));
    Ok(())
}

/// Goals 6, 7 and 11 to 13.
fn of_many(found: &Found, reached: &mut Reached) -> anyhow::Result<()> {
    reached.main(
        "http_vs_dial",
        "HTTP at 64 connections answered at the agent, × dial and TLS per request",
        found.http.ratio(http::MANY, POOLED, DIALLED)?,
        AtLeast(8.0),
        AtLeast(10.0),
    );
    reached.main(
        "rtt50_warm_vs_proxy",
        "one request at 50 ms, p50, × proxy without a tunnel",
        found.http_far.ratio(http::ONE, POOLED, HOP)?,
        AtMost(1.05),
        AtMost(1.02),
    );
    reached.goals.add(
        "one request at 50 ms, p50, × dial and TLS per request",
        found.http_far.ratio(http::ONE, POOLED, DIALLED)?,
        AtMost(0.55),
    );
    reached.main(
        "latency_vs_proxy",
        "one request, p50, × proxy without a tunnel",
        found.http.ratio(http::ONE, POOLED, HOP)?,
        AtMost(2.5),
        AtMost(1.9),
    );
    reached.main(
        "idle_kib",
        "server memory of an idle tunnel, KiB",
        found.idle.median(idle::KIB, Way::Tunnel.name())?,
        AtMost(32.0),
        AtMost(16.0),
    );
    let storm = |row| found.storm.median(row, storm::WAY);
    reached.main(
        "return_s",
        "all agents back after a server was killed, s",
        storm(storm::RETURN)?,
        AtMost(6.0),
        AtMost(4.0),
    );
    reached
        .goals
        .add(storm::CPU, storm(storm::CPU)?, AtMost(350.0));
    let idle = found.idle.median(idle::KIB, Way::Tunnel.name())?;
    let name = "server memory of 10,000 idle tunnels, MiB";
    reached
        .goals
        .add(name, idle * 10_000.0 / 1024.0, AtMost(350.0));
    Ok(())
}
