//! `lariat tunnel …`

mod advice;
mod text;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use lariat_api::{ClusterTunnel, Kind as _, TunnelRequest, TunnelRequestList};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::{self, Output};
use crate::output;
use crate::server::Server;

/// How often it is shown again.
const EVERY: Duration = Duration::from_secs(2);

const COLUMNS: [&str; 9] = [
    "ID", "AGE", "USER", "METHOD", "STATUS", "LASTED", "OUT", "IN", "PATH",
];

/// Clears a terminal and goes to its top.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Runs a subcommand.
pub async fn run(server: &Server, command: args::Tunnel, output: Output) -> anyhow::Result<()> {
    let args::Tunnel::Explain {
        cluster,
        request,
        requests,
        watch,
    } = command;
    let cluster = server.cluster(&cluster).await?;
    let (id, name) = (cluster.name(), cluster.display_name());
    loop {
        let shown = async {
            if let Some(request) = &request {
                let path = format!("{}/{request}", TunnelRequestList::path(id));
                let request = get::<TunnelRequest>(server, &path).await?;
                return show(output, &request, || text::request(&request));
            }
            if requests {
                let path = TunnelRequestList::path(id);
                let list = get::<TunnelRequestList>(server, &path).await?;
                return Ok(Shown::List(list));
            }
            let tunnel = get::<ClusterTunnel>(server, &ClusterTunnel::path(id)).await?;
            let now = jiff::Timestamp::now();
            show(output, &tunnel, || {
                text::tunnel(&tunnel, name, server.url(), now)
            })
        };
        let shown = shown.await?;
        if watch && output == Output::Table && std::io::stdout().is_terminal() {
            print!("{CLEAR}");
        }
        match shown {
            Shown::Text(text) => print!("{text}"),
            Shown::List(list) if list.items.is_empty() && output == Output::Table => {
                println!("No request to {name:?} is remembered that you may see.");
            }
            Shown::List(list) => {
                output::print(output, &list, &COLUMNS, list.items.iter().map(row))?;
            }
        }
        std::io::stdout().flush()?;
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

enum Shown {
    Text(String),
    List(TunnelRequestList),
}

fn show<T: serde::Serialize>(
    output: Output,
    value: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<Shown> {
    Ok(Shown::Text(match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
        Output::Yaml => serde_saphyr::to_string(value)?,
        Output::Table => text(),
    }))
}

async fn get<T: DeserializeOwned>(server: &Server, path: &str) -> anyhow::Result<T> {
    let value = server.send(Method::GET, path, &Value::Null).await?;
    serde_json::from_value(value)
        .context("the server's answer is not as expected; is it older than this program?")
}

fn row(request: &TunnelRequest) -> Vec<String> {
    let status = match (request.status, request.under_way) {
        (_, true) => "under way".to_owned(),
        (Some(status), _) => status.to_string(),
        (None, _) => "cut off".to_owned(),
    };
    let began = request.began_at.as_ref();
    vec![
        text::printable(&request.id),
        began.map(|at| output::age(at.0)).unwrap_or_default(),
        text::printable(&request.username),
        text::printable(&request.method),
        status,
        text::milliseconds(request.lasted_milliseconds),
        text::bytes(request.sent_bytes),
        text::bytes(request.received_bytes),
        text::printable(&request.path),
    ]
}
