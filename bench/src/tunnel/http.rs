//! HTTP in front of a tunnel, with an HTTPS server behind it: the load's requests are answered over connections that
//! the agent keeps, or over one that is made for each of them, or by a proxy without a tunnel. Every process uses both
//! cores.

use super::{
    Bench, Found,
    cores::Cores,
    door::Door,
    figures::Figures,
    load::{Question, Span, ask},
    peers::{delay, wait_for_agents},
    process::{Place, Process},
    session::micros,
};
use std::path::Path;

pub(super) const HOP: &str = "proxy, no tunnel";
pub(super) const POOLED: &str = "answered at the agent";
pub(super) const DIALLED: &str = "dial and TLS per request";

pub(super) const ONE: &str = "1 connection, p50 ms";
pub(super) const MANY: &str = "64 connections, per second";

pub(super) async fn measure(bench: &Bench, folder: &Path, found: &mut Found) -> anyhow::Result<()> {
    Cores::Both.keep_to()?;
    let place = |name| Place {
        name,
        cores: Cores::Both,
        folder,
    };
    let backend = Process::own(&place("backend"), "backend", [folder]).await?;
    let backend_port = backend.port("https")?;
    let path = folder.display().to_string();
    for far in [false, true] {
        let target = format!("127.0.0.1:{backend_port}");
        let arguments = [path.as_str(), "--target", &target];
        let server = Process::own(&place("http-server"), "server", arguments).await?;
        let mut networks = Vec::new();
        let mut ports = Vec::new();
        for port in [server.port("tunnel")?, backend_port] {
            if far {
                let network = delay(folder, &[format!("127.0.0.1:{port}")]).await?;
                ports.push(network.port("near")?);
                networks.push(network);
            } else {
                ports.push(port);
            }
        }
        let [to_server, to_backend] = [ports[0], ports[1]].map(|port| port.to_string());
        let direct = backend_port.to_string();
        let arguments = [path.as_str(), "--server", &to_server, "--backend", &direct];
        let agent = Process::own(&place("http-agent"), "agent", arguments).await?;
        let arguments = [path.as_str(), "--backend", &to_backend];
        let hop = Process::own(&place("hop"), "hop", arguments).await?;
        let ways = [
            (HOP, Door::tcp(hop.port("http")?)),
            (POOLED, Door::tcp(server.port("pooled")?)),
            (DIALLED, Door::tcp(server.port("dialled")?)),
        ];
        wait_for_agents(&server, 1).await?;
        let figures = if far {
            &mut found.http_far
        } else {
            &mut found.http
        };
        turns(bench, &ways, figures).await?;
        drop((agent, networks));
    }
    Ok(())
}

async fn turns(
    bench: &Bench,
    ways: &[(&'static str, Door)],
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let span = Span {
        warm: 2 * bench.pace.warm,
        time: bench.pace.http,
    };
    for connections in [1, 64] {
        for _ in 0..bench.pace.rounds {
            for (way, door) in ways {
                let found = ask(door, Question::Page, connections, span).await?;
                let (rate, p50, p99) = if connections == 1 {
                    ("1 connection, per second", ONE, "1 connection, p99 ms")
                } else {
                    (MANY, "64 connections, p50 ms", "64 connections, p99 ms")
                };
                figures.push(rate, way, found.per_second);
                figures.push(p50, way, micros(found.p50) / 1e3);
                figures.push(p99, way, micros(found.p99) / 1e3);
            }
        }
    }
    Ok(())
}
