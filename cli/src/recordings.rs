//! `lariat recordings …`

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{Stream, StreamExt as _};
use jiff::SignedDuration;
use kube::api::ListParams;
use lariat_api::{Kind as _, RecordingPhase, SessionRecording};
use serde_json::Value;

use crate::args::{self, Output};
use crate::output;
use crate::private_file;
use crate::server::Server;

const COLUMNS: [&str; 8] = [
    "NAME", "CLUSTER", "USER", "POD", "COMMAND", "AGE", "LASTED", "END",
];

/// Longest line of a recording that is played, in bytes. The server writes at most half a megabyte.
const LONGEST: usize = 8 * 1024 * 1024;

/// Runs a subcommand.
pub async fn run(server: &Server, command: args::Recordings, output: Output) -> anyhow::Result<()> {
    match command {
        args::Recordings::List { cluster } => list(server, cluster.as_deref(), output).await,
        args::Recordings::Get { name, file } => {
            let recording = find(server, &name).await?;
            let mut pieces = Box::pin(server.download(&path(&recording)).await?);
            let mut target: Box<dyn std::io::Write> = match &file {
                Some(file) => Box::new(private_file::create(file)?),
                None => Box::new(std::io::stdout().lock()),
            };
            while let Some(piece) = pieces.next().await {
                target.write_all(&piece?)?;
            }
            Ok(target.flush()?)
        }
        args::Recordings::Play { name, speed, idle } => {
            if !(speed.is_finite() && speed > 0.0) {
                bail!("the speed must be more than 0");
            }
            let recording = find(server, &name).await?;
            let pieces = server.download(&path(&recording)).await?;
            play(pieces, speed, Duration::from_secs(idle)).await
        }
    }
}

async fn list(server: &Server, cluster: Option<&str>, output: Output) -> anyhow::Result<()> {
    let all = match cluster {
        Some(cluster) => server.namespaced(server.cluster(cluster).await?.name()),
        None => server.everywhere(),
    };
    let listed = all.list(&ListParams::default()).await;
    let mut recordings: Vec<SessionRecording> =
        listed.map_err(|error| server.explain(error))?.items;
    recordings.sort_by(|one, other| one.name().cmp(other.name()));
    if recordings.is_empty() && output == Output::Table {
        println!("There are no recordings that you may see.");
        return Ok(());
    }
    output::print(output, &recordings, &COLUMNS, recordings.iter().map(row))
}

async fn find(server: &Server, name: &str) -> anyhow::Result<SessionRecording> {
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let listed = server.everywhere::<SessionRecording>().list(&params).await;
    let mut found = listed.map_err(|error| server.explain(error))?.items;
    match found.pop() {
        Some(recording) if found.is_empty() => Ok(recording),
        Some(_) => bail!("several clusters have a recording {name:?}"),
        None => bail!("there is no recording {name:?}; list them with: lariat recordings list"),
    }
}

fn path(recording: &SessionRecording) -> String {
    let (cluster, name) = (recording.namespace(), recording.name());
    format!("/apis/management.cattle.io/v3/namespaces/{cluster}/sessionrecordings/{name}/cast")
}

fn row(recording: &SessionRecording) -> Vec<String> {
    let (spec, status) = (&recording.spec, &recording.status);
    let began = status.started_at.as_ref().map(|time| time.0);
    let ended = status.ended_at.as_ref().map(|time| time.0);
    let lasted = began.zip(ended).map(|(began, ended)| {
        let whole = ended.duration_since(began).as_secs();
        format!("{:#}", SignedDuration::from_secs(whole))
    });
    let end = match (status.phase, status.exit_code) {
        (RecordingPhase::Recording, _) => "goes on".to_owned(),
        (_, Some(code)) => format!("exit code {code}"),
        (_, None) => status.reason.clone(),
    };
    vec![
        recording.name().to_owned(),
        spec.cluster_name.clone(),
        spec.username.clone(),
        format!("{}/{}", spec.pod_namespace, spec.pod),
        printable(&spec.shown()),
        began.map(output::age).unwrap_or_default(),
        lasted.unwrap_or_default(),
        printable(&end),
    ]
}

/// What was run may hold what changes a terminal.
fn printable(text: &str) -> String {
    let shown = text.chars().take(60);
    shown
        .map(|shown| if shown.is_control() { ' ' } else { shown })
        .collect()
}

/// Writes to the terminal what was printed, when it was.
async fn play(
    pieces: impl Stream<Item = anyhow::Result<bytes::Bytes>>,
    speed: f64,
    idle: Duration,
) -> anyhow::Result<()> {
    let mut pieces = Box::pin(pieces);
    let mut waiting = Vec::new();
    let (mut first, mut now) = (true, 0.0);
    while let Some(piece) = pieces.next().await {
        waiting.extend_from_slice(&piece?);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            if first {
                let header: Value = serde_json::from_slice(&line).context("it is no recording")?;
                if header["version"] != 2 {
                    bail!("it is no recording of version 2");
                }
                first = false;
                continue;
            }
            let (at, code, text): (f64, String, String) =
                serde_json::from_slice(&line).context("the recording has a line that is none")?;
            if code != "o" {
                continue;
            }
            let pause = ((at - now) / speed).clamp(0.0, idle.as_secs_f64());
            now = at;
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            let mut terminal = std::io::stdout().lock();
            terminal.write_all(text.as_bytes())?;
            terminal.flush()?;
        }
        if waiting.len() > LONGEST {
            bail!("the recording has a line that is too long");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_terminal_is_not_shown_in_a_list() {
        assert_eq!(printable("sh -c \u{1b}[2J\nx"), "sh -c  [2J x");
        assert_eq!(printable(&"x".repeat(100)).len(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_no_longer_than_wanted() {
        let lines =
            "{\"version\": 2}\n[1.0, \"o\", \"\"]\n[1.5, \"m\", \"x\"]\n[900.0, \"o\", \"\"]\n";
        let pieces = lines
            .as_bytes()
            .chunks(7)
            .map(|piece| Ok(piece.to_vec().into()));
        let began = tokio::time::Instant::now();
        let played = play(futures::stream::iter(pieces), 2.0, Duration::from_secs(3)).await;
        played.unwrap();
        assert_eq!(began.elapsed().as_millis(), 3500);
        let nothing = futures::stream::iter([Ok("[]\n".into())]);
        assert!(play(nothing, 1.0, Duration::ZERO).await.is_err());
    }
}
