//! What a run found, for people and for programs.

use super::{Found, Pace, Part, goals::Reached};
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

/// Says it at once.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// The tables of a part, each below its heading.
pub(super) fn tables(found: &Found, part: Part) -> String {
    let parts = match part {
        Part::Session => vec![
            ("One session beside bare TLS", &found.session),
            (
                "The same at 50 ms, 3 s from a cold start",
                &found.session_far,
            ),
        ],
        Part::Forwarding => vec![
            ("TCP connections carried", &found.forwarding),
            ("The same at 50 ms", &found.forwarding_far),
        ],
        Part::Http => vec![
            ("HTTP answered at the agent", &found.http),
            ("The same at 50 ms", &found.http_far),
        ],
        Part::Idle => vec![("Idle tunnels", &found.idle)],
        Part::Storm => vec![("All agents come back at once", &found.storm)],
    };
    parts
        .into_iter()
        .map(|(heading, figures)| format!("## {heading}\n\n{}\n", figures.table().markdown()))
        .collect()
}

/// How the figures of a part come about.
fn method(part: Part) -> &'static str {
    match part {
        Part::Session => {
            "The accepting end has the first core and the dialling end, where the load is made, the second; each is one \
             thread. Bare TLS is tokio-rustls with writes of 64 KiB. At 50 ms a proxy holds every chunk for 25 ms each way; \
             both the connection and the session are new, and the handshakes are part of the 3 s.\n\n"
        }
        Part::Forwarding => {
            "A TCP connection to the accepting end comes out of the dialling end. Both ends, each a process, share the first \
             core; load and target share the second. rathole 0.5.0 (WebSocket and TLS), remotedialer 0.6.0-rc.1 (wss) and \
             the tunnel have the same ECDSA P-256 key; bore 0.6.0 does not encrypt. Everything is as it comes, without \
             their logs. The tunnel knows nothing of what a stream is for. HTTP is counted on connections that have been \
             used before. A new connection is made, used for 16 bytes there and back, and closed.\n\n"
        }
        Part::Http => {
            "Requests for 1 KiB to a gateway, an HTTPS server behind it, every process on both cores. *Answered at the agent*: \
             the gateway asks over kept streams, the agent over kept connections. *Dial and TLS per request*: the gateway \
             has the agent dial, and makes a TLS connection end to end, with session tickets, for each request. *Proxy*: \
             one hop of hyper with kept connections.\n\n"
        }
        Part::Idle => {
            "Resident memory of the accepting process, less that of one with a single tunnel, for each tunnel more. Each has \
             carried one visitor and then rested for 5 s. Agents share a process; an idle tunnel of rathole is a service \
             with its control connection and the eight connections that wait for visitors.\n\n"
        }
        Part::Storm => {
            "`lariat-server`, on the first core, is killed and started again at once. Its agents are simulated, all in one \
             process on the second core; their API servers forbid everything. The clock runs from the kill until all have a \
             session; reading the store is a part of it.\n\n"
        }
    }
}

/// Writes `tunnel.md` and `tunnel.json` into `out`.
pub(super) fn write(
    found: &Found,
    reached: &Reached,
    pace: &Pace,
    out: &Path,
) -> anyhow::Result<()> {
    let mut text = format!(
        "# The tunnel\n\nMade by `make bench-tunnel` in one run on two cores of one machine, over loopback. The ways take \
         turns: {} rounds, medians. Compare columns with each other; absolute figures are the machine's. Ratios are \
         taken within a round, and their median counts; where there are two directions, the worse one. The ratios are \
         also in [tunnel.json](tunnel.json).\n\n\
         ## Goals\n\n{}.\n\n{}\n### What would be better still\n\n{}.\n\n{}\n### Beside remotedialer\n\n{}.\n\n{}\n",
        pace.rounds,
        reached.goals.outcome(),
        reached.goals.table().markdown(),
        reached.stretch.outcome(),
        reached.stretch.table().markdown(),
        reached.remotedialer.outcome(),
        reached.remotedialer.table().markdown(),
    );
    for part in [
        Part::Session,
        Part::Forwarding,
        Part::Http,
        Part::Idle,
        Part::Storm,
    ] {
        let tables = tables(found, part);
        // The method stands below the first heading.
        let (heading, rest) = tables.split_once("\n\n").unwrap_or((&tables, ""));
        text.push_str(&format!("{heading}\n\n{}{rest}", method(part)));
    }
    if !found.restarted.is_empty() {
        text.push_str(
            "## Started again\n\nA tunnel that failed at a load was started anew for it:\n\n",
        );
        for failure in &found.restarted {
            text.push_str(&format!("- {failure}\n"));
        }
    }
    fs::create_dir_all(out)?;
    fs::write(out.join("tunnel.md"), format!("{}\n", text.trim_end()))?;
    let ratios: Map<String, Value> = reached
        .ratios
        .iter()
        .map(|(key, ratio)| ((*key).to_owned(), json!(rounded(*ratio))))
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "ratios": ratios }))?;
    fs::write(out.join("tunnel.json"), text + "\n")?;
    Ok(())
}

/// To what a measurement can tell.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
