//! TCP connections carried: both ends of each tunnel on the first core, load and target on the second.

use super::{
    Bench, Found,
    control::Control,
    cores::Cores,
    figures::Figures,
    load::{Direction, Flow, PING, Question, Span, ask, bulk, connections},
    peers::{Running, Stage, Way},
    process::{Place, Process},
    report,
    session::micros,
};
use anyhow::Context as _;
use std::{path::Path, time::Duration};
use tokio::time::{sleep, timeout};

pub(super) const UP: &str = "one stream up, MiB/s";
pub(super) const DOWN: &str = "one stream down, MiB/s";
pub(super) const UP_CPU: &str = "CPU of both ends up, s/GiB";
pub(super) const DOWN_CPU: &str = "CPU of both ends down, s/GiB";
pub(super) const BESIDE: &str = "100 B beside one stream down, p50 ms";
pub(super) const HTTP_ONE: &str = "HTTP at 1 connection, p50 µs";
pub(super) const HTTP_RATE: &str = "HTTP at 64 connections, per second";
pub(super) const HTTP_P99: &str = "HTTP at 64 connections, p99 ms";
pub(super) const CONNECTIONS: &str = "new connections, 1 at a time, per second";
pub(super) const CONNECTIONS_32: &str = "new connections, 32 at a time, per second";

/// Longest that one figure may take. One tunnel is known to lock up.
const LIMIT: Duration = Duration::from_secs(90);

/// How often a way is started again for one figure.
const ATTEMPTS: usize = 3;

pub(super) async fn measure(bench: &Bench, folder: &Path, found: &mut Found) -> anyhow::Result<()> {
    let place = Place {
        name: "target",
        cores: Cores::Second,
        folder,
    };
    let target = Process::own(&place, "target", [""; 0]).await?;
    let stage = Stage {
        folder,
        programs: &bench.programs,
        target: target.port("tcp")?,
    };
    let mut control = Control::connect(target.port("control")?).await?;
    for far in [false, true] {
        let mut ways = Vec::new();
        for way in Way::ALL {
            let started = stage.start(way, far).await;
            ways.push(started.with_context(|| format!("cannot start {}", way.name()))?);
        }
        let (rows, figures) = match far {
            false => (&Row::NEAR[..], &mut found.forwarding),
            true => (&Row::FAR[..], &mut found.forwarding_far),
        };
        for row in rows {
            for _ in 0..bench.pace.rounds {
                for running in &mut ways {
                    let restarted = row
                        .measured(bench, &stage, running, far, &mut control, figures)
                        .await?;
                    found.restarted.extend(restarted);
                }
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Row {
    One(Direction),
    Sixteen(Direction),
    Cold(Direction),
    Alone,
    Beside,
    Http(usize),
    Connections(usize),
}

/// Values, with the rows that they belong in.
type Values = Vec<(&'static str, f64)>;

impl Row {
    const NEAR: [Self; 10] = [
        Self::One(Direction::Up),
        Self::One(Direction::Down),
        Self::Sixteen(Direction::Up),
        Self::Sixteen(Direction::Down),
        Self::Alone,
        Self::Beside,
        Self::Http(1),
        Self::Http(64),
        Self::Connections(1),
        Self::Connections(32),
    ];

    const FAR: [Self; 5] = [
        Self::Cold(Direction::Up),
        Self::Cold(Direction::Down),
        Self::Http(1),
        Self::Http(64),
        Self::Connections(32),
    ];

    /// Measures it, with new processes where the ones that run fail; says which were started again.
    async fn measured(
        self,
        bench: &Bench,
        stage: &Stage<'_>,
        running: &mut Running,
        far: bool,
        control: &mut Control,
        figures: &mut Figures,
    ) -> anyhow::Result<Vec<String>> {
        let mut restarted = Vec::new();
        let way = running.way;
        loop {
            let failed = match timeout(LIMIT, self.measure(bench, running, control)).await {
                Ok(Ok(values)) => {
                    for (row, value) in values {
                        figures.push(row, way.name(), value);
                    }
                    return Ok(restarted);
                }
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no end within {LIMIT:?}"),
            };
            let failed = failed.context(format!("{} at {self:?}", way.name()));
            if restarted.len() == ATTEMPTS {
                return Err(failed);
            }
            report::say(&format!("{failed:#}; started again"));
            restarted.push(format!("{failed:#}"));
            running.ends.clear();
            *running = stage.start(way, far).await?;
        }
    }

    async fn measure(
        self,
        bench: &Bench,
        running: &Running,
        control: &mut Control,
    ) -> anyhow::Result<Values> {
        let pace = &bench.pace;
        let door = &running.door;
        let span = Span {
            warm: pace.warm,
            time: pace.time,
        };
        Ok(match self {
            Self::One(direction) => {
                let times = (pace.warm, pace.time);
                let one = bulk(door, control, (direction, 1), times, &running.pids()).await?;
                let (rate, cpu) = match direction {
                    Direction::Up => (UP, UP_CPU),
                    Direction::Down => (DOWN, DOWN_CPU),
                };
                let mut values = vec![(rate, one.mib_per_second)];
                if !running.ends.is_empty() {
                    values.push((cpu, one.cpu_per_gib));
                }
                values
            }
            Self::Sixteen(direction) => {
                let all = bulk(door, control, (direction, 16), (pace.warm, pace.time), &[]).await?;
                match direction {
                    Direction::Up => vec![("16 streams up, least / most", all.fairness)],
                    Direction::Down => vec![("16 streams down, least / most", all.fairness)],
                }
            }
            Self::Cold(direction) => {
                let cold = (Duration::ZERO, pace.cold);
                let one = bulk(door, control, (direction, 1), cold, &[]).await?;
                let row = match direction {
                    Direction::Up => "one new stream up, MiB/s",
                    Direction::Down => "one new stream down, MiB/s",
                };
                vec![(row, one.mib_per_second)]
            }
            Self::Alone => {
                let pings = ask(door, Question::Echo(PING), 1, span).await?;
                vec![
                    ("100 B alone, p50 µs", micros(pings.p50)),
                    ("100 B alone, p99 µs", micros(pings.p99)),
                ]
            }
            Self::Beside => {
                let flow = Flow::start(door, Direction::Down, 1);
                sleep(pace.warm).await;
                let pings = ask(door, Question::Echo(PING), 1, span).await?;
                flow.end(control).await?;
                vec![
                    (BESIDE, micros(pings.p50) / 1e3),
                    (
                        "100 B beside one stream down, p99 ms",
                        micros(pings.p99) / 1e3,
                    ),
                ]
            }
            Self::Http(connections) => {
                let span = Span {
                    warm: 2 * pace.warm,
                    time: pace.http,
                };
                let pages = ask(door, Question::Page, connections, span).await?;
                if connections == 1 {
                    vec![
                        ("HTTP at 1 connection, per second", pages.per_second),
                        (HTTP_ONE, micros(pages.p50)),
                        ("HTTP at 1 connection, p99 µs", micros(pages.p99)),
                    ]
                } else {
                    vec![
                        (HTTP_RATE, pages.per_second),
                        ("HTTP at 64 connections, p50 ms", micros(pages.p50) / 1e3),
                        (HTTP_P99, micros(pages.p99) / 1e3),
                    ]
                }
            }
            Self::Connections(at_once) => {
                let made = connections(door, at_once, pace.time).await?;
                let row = if at_once == 1 {
                    CONNECTIONS
                } else {
                    CONNECTIONS_32
                };
                vec![(row, made.per_second)]
            }
        })
    }
}
