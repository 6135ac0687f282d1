//! One session beside bare TLS: the accepting end on the first core, the dialling end on the second, where the load is
//! made.

use super::{
    Bench, Found,
    control::Control,
    cores::Cores,
    door::Door,
    end::introduction,
    figures::Figures,
    load::{Bulk, Direction, Flow, PING, Question, Span, ask, bulk, connections},
    peers::delay,
    process::{Place, Process},
};
use crate::lone_tunnel;
use std::{net::SocketAddr, path::Path, process, time::Duration};
use tunnel::{identity::KeyPair, session::Session};
use tunnel_proto::frame::CloseCode;

pub(super) const TLS: &str = "bare TLS";
pub(super) const TUNNEL: &str = "tunnel";

pub(super) const UP: &str = "one stream up, MiB/s";
pub(super) const DOWN: &str = "one stream down, MiB/s";
pub(super) const UP_CPU: &str = "CPU of both ends up, s/GiB";
pub(super) const DOWN_CPU: &str = "CPU of both ends down, s/GiB";
pub(super) const UP_FAIRNESS: &str = "16 streams up, least / most";
pub(super) const DOWN_FAIRNESS: &str = "16 streams down, least / most";
pub(super) const BESIDE_UP: &str = "100 B beside one stream up, p50 ms";
pub(super) const BESIDE_DOWN: &str = "100 B beside one stream down, p50 ms";

pub(super) async fn measure(bench: &Bench, folder: &Path, found: &mut Found) -> anyhow::Result<()> {
    let place = Place {
        name: "server",
        cores: Cores::First,
        folder,
    };
    let server = Process::own(&place, "server", [folder]).await?;
    let mut control = Control::connect(server.port("control")?).await?;
    near(bench, &server, &mut control, &mut found.session).await?;
    far(bench, &server, &mut control, &mut found.session_far, folder).await
}

async fn near(
    bench: &Bench,
    server: &Process,
    control: &mut Control,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let session = dial(bench, server.port("tunnel")?).await?;
    let ways = [
        (TLS, bare(bench, server.port("tls")?)),
        (TUNNEL, Door::Session(session.clone())),
    ];
    for row in Row::ALL {
        for _ in 0..bench.pace.rounds {
            for (way, door) in &ways {
                row.measure(bench, (way, door), server, control, figures)
                    .await?;
            }
        }
    }
    session.close(CloseCode::Normal, "measured");
    Ok(())
}

/// One stream from cold: the connection, too, is new.
async fn far(
    bench: &Bench,
    server: &Process,
    control: &mut Control,
    figures: &mut Figures,
    folder: &Path,
) -> anyhow::Result<()> {
    let network = async |of| {
        let to = format!("127.0.0.1:{}", server.port(of)?);
        delay(folder, &[to]).await
    };
    let (to_tls, to_tunnel) = (network("tls").await?, network("tunnel").await?);
    let cold = (Duration::ZERO, bench.pace.cold);
    for (row, direction) in [(UP, Direction::Up), (DOWN, Direction::Down)] {
        for _ in 0..bench.pace.rounds {
            let door = bare(bench, to_tls.port("near")?);
            let rate = bulk(&door, control, (direction, 1), cold, &[]).await?;
            figures.push(row, TLS, rate.mib_per_second);
            let session = dial(bench, to_tunnel.port("near")?).await?;
            let door = Door::Session(session.clone());
            let rate = bulk(&door, control, (direction, 1), cold, &[]).await?;
            figures.push(row, TUNNEL, rate.mib_per_second);
            session.close(CloseCode::Normal, "measured");
        }
    }
    Ok(())
}

fn bare(bench: &Bench, port: u16) -> Door {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Door::Tls(address, bench.tls.client.clone())
}

/// A session whose dialling end is in this process.
async fn dial(bench: &Bench, port: u16) -> anyhow::Result<Session> {
    let dialer = lone_tunnel::dialer(port, &bench.tls.ca_pem)?;
    let connected = dialer.dial(&KeyPair::generate()?, &introduction(0)).await?;
    tokio::spawn(connected.driver);
    Ok(connected.session)
}

#[derive(Clone, Copy)]
enum Row {
    One(Direction),
    Sixteen(Direction),
    Alone,
    Beside(Direction),
    Opens,
}

impl Row {
    const ALL: [Self; 8] = [
        Self::One(Direction::Up),
        Self::One(Direction::Down),
        Self::Sixteen(Direction::Up),
        Self::Sixteen(Direction::Down),
        Self::Alone,
        Self::Beside(Direction::Up),
        Self::Beside(Direction::Down),
        Self::Opens,
    ];

    async fn measure(
        self,
        bench: &Bench,
        (way, door): (&'static str, &Door),
        server: &Process,
        control: &mut Control,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        let (warm, time) = (bench.pace.warm, bench.pace.time);
        let span = Span { warm, time };
        let ends = [server.pid(), process::id().cast_signed()];
        match self {
            Self::One(direction) => {
                let Bulk {
                    mib_per_second,
                    cpu_per_gib,
                    ..
                } = bulk(door, control, (direction, 1), (warm, time), &ends).await?;
                let (rate, cpu) = match direction {
                    Direction::Up => (UP, UP_CPU),
                    Direction::Down => (DOWN, DOWN_CPU),
                };
                figures.push(rate, way, mib_per_second);
                figures.push(cpu, way, cpu_per_gib);
            }
            Self::Sixteen(direction) => {
                let all = bulk(door, control, (direction, 16), (warm, time), &[]).await?;
                let (rate, fairness) = match direction {
                    Direction::Up => ("16 streams up, MiB/s", UP_FAIRNESS),
                    Direction::Down => ("16 streams down, MiB/s", DOWN_FAIRNESS),
                };
                figures.push(rate, way, all.mib_per_second);
                figures.push(fairness, way, all.fairness);
            }
            Self::Alone => {
                let pings = ask(door, Question::Echo(PING), 1, span).await?;
                figures.push("100 B alone, p50 µs", way, micros(pings.p50));
                figures.push("100 B alone, p99 µs", way, micros(pings.p99));
            }
            Self::Beside(direction) => {
                let flow = Flow::start(door, direction, 1);
                tokio::time::sleep(warm).await;
                let pings = ask(door, Question::Echo(PING), 1, span).await?;
                flow.end(control).await?;
                let (p50, p99) = match direction {
                    Direction::Up => (BESIDE_UP, "100 B beside one stream up, p99 ms"),
                    Direction::Down => (BESIDE_DOWN, "100 B beside one stream down, p99 ms"),
                };
                figures.push(p50, way, micros(pings.p50) / 1e3);
                figures.push(p99, way, micros(pings.p99) / 1e3);
            }
            Self::Opens => {
                for (row, at_once) in [
                    ("opened and used per second, 1 at a time", 1),
                    ("opened and used per second, 32 at a time", 32),
                ] {
                    let opened = connections(door, at_once, time).await?;
                    figures.push(row, way, opened.per_second);
                }
            }
        }
        Ok(())
    }
}

/// In microseconds.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
