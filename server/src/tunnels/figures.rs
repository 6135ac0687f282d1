//! What is counted of all tunnels together. Nothing has the name of a cluster: there are thousands of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use lariat_api::ClusterId;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tunnel::Memory;
use tunnel::accept::AcceptError;
use tunnel_proto::stream::Class;

use super::admission::Admission;
use super::history::{History, Problem};
use super::registry::Tunnel;

/// Bounds of round trips and of answers of API servers, in seconds.
const ROUND_TRIPS: [f64; 14] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Bounds of how long requests wait for a session, in seconds.
const WAITS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The live sessions of each cluster.
pub(super) type Live = Arc<RwLock<HashMap<ClusterId, Vec<Arc<Tunnel>>>>>;

/// What came of an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A session began.
    New,
    /// A session went on.
    Resumed,
    /// A session got a connection for its bulk lane.
    Bulk,
    /// The agent was rejected, or broke the rules.
    Refused,
    /// It broke off, or took too long.
    Failed,
}

impl Outcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::New, "new"),
        (Self::Resumed, "resumed"),
        (Self::Bulk, "bulk"),
        (Self::Refused, "refused"),
        (Self::Failed, "failed"),
    ];

    pub(super) fn of(error: &AcceptError) -> Self {
        match error {
            AcceptError::Hello(_) | AcceptError::Rejected(_) => Self::Refused,
            AcceptError::Late(_) | AcceptError::Lost(_) => Self::Failed,
        }
    }
}

/// Why connections of sessions were lost.
const LOSSES: [&str; 3] = ["silent", "replaced", "broken"];

/// Counts of all tunnels. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    counts: Arc<Counts>,
    history: History,
    round_trips: Histogram,
    answers: Histogram,
    waits: Histogram,
    waiting: Gauge,
}

#[derive(Debug, Default)]
struct Counts {
    carriers: [AtomicU64; Outcome::ALL.len()],
    losses: [AtomicU64; LOSSES.len()],
    sent: AtomicU64,
    received: AtomicU64,
}

/// What of a session has been counted.
#[derive(Debug, Default)]
pub(super) struct Counted {
    losses: [u64; LOSSES.len()],
    sent: u64,
    received: u64,
}

/// A request that waits for a session, until this is dropped.
pub(super) struct Waiting<'a> {
    figures: &'a Figures,
    began: tokio::time::Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.figures.waiting.dec();
        let waited = self.began.elapsed().as_secs_f64();
        self.figures.waits.observe(waited);
    }
}

impl Figures {
    pub(super) fn new(history: History) -> Self {
        Self {
            counts: Arc::default(),
            history,
            round_trips: Histogram::new(ROUND_TRIPS),
            answers: Histogram::new(ROUND_TRIPS),
            waits: Histogram::new(WAITS),
            waiting: Gauge::default(),
        }
    }

    /// An agent's connection was taken, or not.
    pub(super) fn connected(&self, outcome: Outcome) {
        self.counts.carriers[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request begins to wait for a session.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.inc();
        Waiting {
            figures: self,
            began: tokio::time::Instant::now(),
        }
    }

    /// The server has looked after a session.
    pub(super) fn looked(&self, round_trip: Option<Duration>, answered_in: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            self.round_trips.observe(round_trip.as_secs_f64());
        }
        if let Some(answered_in) = answered_in {
            self.answers.observe(answered_in.as_secs_f64());
        }
    }

    /// Counts what is new of a session, and notes a connection that it has lost. To be called whenever it loses one, and
    /// when it ends.
    pub(super) fn settle(&self, cluster: &ClusterId, tunnel: &Tunnel) {
        let mut counted = tunnel
            .counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (lane, bulk) = (tunnel.session.lane(), tunnel.session.bulk().lane);
        let losses = {
            let [lane, bulk] = [&lane, &bulk].map(|lane| {
                let broken = lane.losses - lane.silences - lane.replaced;
                [lane.silences, lane.replaced, broken]
            });
            std::array::from_fn(|index| lane[index] + bulk[index])
        };
        let (sent, received) = (lane.sent + bulk.sent, lane.received + bulk.received);
        let mut lost = false;
        for (index, now) in losses.into_iter().enumerate() {
            let more = now.saturating_sub(counted.losses[index]);
            self.counts.losses[index].fetch_add(more, Ordering::Relaxed);
            // One in whose place there is another one is no problem.
            lost |= more > 0 && LOSSES[index] != "replaced";
        }
        let counts = &self.counts;
        for (total, now, before) in [
            (&counts.sent, sent, counted.sent),
            (&counts.received, received, counted.received),
        ] {
            total.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        }
        *counted = Counted {
            losses,
            sent,
            received,
        };
        drop(counted);
        let at = lane
            .last_loss_at
            .and_then(|at| Timestamp::try_from(at).ok());
        if let (true, Some(at), Some(why)) = (lost, at, &lane.last_loss) {
            let mut problem = Problem::new(at, "ConnectionLost", why);
            problem.lasted = lane.last_lasted;
            self.history.note(cluster, problem);
        }
    }

    /// Adds the metrics of tunnels.
    pub(super) fn register(
        &self,
        live: Live,
        memory: Memory,
        admission: Admission,
        registry: &mut Registry,
    ) {
        let help =
            "Round trips between server and agents, as seen when the server looks after them";
        let name = "tunnel_round_trip_seconds";
        registry.register(name, help, self.round_trips.clone());
        let help = "Time that API servers of clusters take for a request of the server's own, with the way there";
        let name = "tunnel_api_server_answer_seconds";
        registry.register(name, help, self.answers.clone());
        let help =
            "Time that requests waited for a session which was not there or had no connection";
        registry.register("tunnel_session_wait_seconds", help, self.waits.clone());
        let help = "Requests that wait for a session now";
        registry.register("tunnel_requests_waiting", help, self.waiting.clone());
        let help = "Time that agents take from their upgrade to their welcome, or until they are refused or give up";
        registry.register("tunnel_handshake_seconds", help, admission.times());
        registry.register_collector(Box::new(Sessions {
            figures: self.clone(),
            live,
            memory,
            admission,
        }));
    }
}

/// What is seen of sessions when somebody asks.
struct Sessions {
    figures: Figures,
    live: Live,
    memory: Memory,
    admission: Admission,
}

/// Sums over all sessions.
#[derive(Default)]
struct Sums {
    attached: usize,
    detached: usize,
    bulk_lanes: usize,
    unacknowledged: usize,
    streams: [usize; Class::ALL.len()],
    queued: [usize; Class::ALL.len()],
    blocked: usize,
    unread: usize,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sessions")
    }
}

impl Sessions {
    fn sum(&self) -> Sums {
        let live: Vec<_> = {
            let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
            let tunnels = live.iter().flat_map(|(cluster, tunnels)| {
                let tunnels = tunnels.iter();
                tunnels.map(|tunnel| (cluster.clone(), Arc::clone(tunnel)))
            });
            tunnels.collect()
        };
        let mut sums = Sums::default();
        for (cluster, tunnel) in live {
            self.figures.settle(&cluster, &tunnel);
            let stats = tunnel.session.stats();
            match stats.lane.attached {
                true => sums.attached += 1,
                false => sums.detached += 1,
            }
            sums.bulk_lanes += usize::from(stats.bulk.open);
            sums.unacknowledged += stats.lane.unacknowledged + stats.bulk.lane.unacknowledged;
            for streams in [stats.streams, stats.bulk.streams].into_iter().flatten() {
                for class in Class::ALL.map(Class::index) {
                    sums.streams[class] += streams.streams[class];
                    sums.queued[class] += streams.queued[class];
                }
                sums.blocked += streams.blocked;
                sums.unread += streams.unread;
            }
        }
        sums
    }
}

impl Collector for Sessions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sums = self.sum();
        let counts = &self.figures.counts;
        let mut page = Page(&mut encoder);
        let sessions = [("attached", sums.attached), ("detached", sums.detached)];
        let help = "Sessions of agents, by whether they have a connection";
        page.gauges("tunnel_sessions", help, "state", sessions)?;
        let outcomes =
            Outcome::ALL.map(|(outcome, name)| (name, &counts.carriers[outcome as usize]));
        let help = "Connections of agents, by what came of them";
        page.counters("tunnel_carriers", help, "outcome", outcomes)?;
        let losses = LOSSES.into_iter().zip(&counts.losses);
        let help = "Connections that sessions have lost, by why";
        page.counters("tunnel_losses", help, "reason", losses)?;
        let bytes = [("sent", &counts.sent), ("received", &counts.received)];
        let help = "Bytes to and from agents, without what was sent again";
        page.counters("tunnel_bytes", help, "direction", bytes)?;
        let refused = [("full", self.admission.refused())];
        let help = "Agents that were told to come later";
        page.counters("tunnel_handshakes_refused", help, "reason", refused)?;
        let budgets = [
            ("windows", &self.memory.windows),
            ("replay", &self.memory.replay),
        ];
        let help = "Memory that all sessions share, in bytes";
        let totals = budgets.map(|(name, budget)| (name, budget.total()));
        page.gauges("tunnel_budget_bytes", help, "budget", totals)?;
        let help = "Memory that all sessions share and that is taken, in bytes";
        let taken = budgets.map(|(name, budget)| (name, budget.taken()));
        page.gauges("tunnel_budget_taken_bytes", help, "budget", taken)?;
        let by_class = |numbers: [usize; Class::ALL.len()]| {
            Class::ALL.map(|class| (name_of(class), numbers[class.index()]))
        };
        let help = "Open streams of tunnels";
        page.gauges("tunnel_streams", help, "class", by_class(sums.streams))?;
        let help = "Bytes that wait for their turn in tunnels";
        page.gauges("tunnel_queued_bytes", help, "class", by_class(sums.queued))?;
        for (name, help, number) in [
            (
                "tunnel_bulk_lanes",
                "Sessions that have a second connection, for bulk",
                sums.bulk_lanes,
            ),
            (
                "tunnel_unacknowledged_bytes",
                "Bytes that agents have not acknowledged",
                sums.unacknowledged,
            ),
            (
                "tunnel_unread_bytes",
                "Bytes of agents that nobody has read yet",
                sums.unread,
            ),
            (
                "tunnel_blocked_streams",
                "Streams that wait for agents to take what they have",
                sums.blocked,
            ),
            (
                "tunnel_connections_waiting",
                "Connections, most of them of agents, with which TLS is not spoken yet",
                self.admission.outside(),
            ),
            (
                "tunnel_handshakes",
                "Agents that are shaking hands",
                self.admission.under_way(),
            ),
            (
                "tunnel_handshakes_waiting",
                "Agents whose turn it is not yet to be decided over",
                self.admission.waiting(),
            ),
        ] {
            page.gauge(name, help, number)?;
        }
        Ok(())
    }
}

/// Writes metrics.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, number: usize) -> fmt::Result {
        let gauge = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(number)).encode(gauge)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        numbers: impl IntoIterator<Item = (&'static str, usize)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, number) in numbers {
            let labels = [(label, value)];
            ConstGauge::new(signed(number)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<'c>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl IntoIterator<Item = (&'static str, &'c AtomicU64)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, count) in counts {
            let labels = [(label, value)];
            let count = ConstCounter::new(count.load(Ordering::Relaxed));
            count.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The name of a class, as people and metrics read it.
pub(crate) fn name_of(class: Class) -> &'static str {
    match class {
        Class::Control => "control",
        Class::Interactive => "interactive",
        Class::Watch => "watch",
        Class::Bulk => "bulk",
    }
}
