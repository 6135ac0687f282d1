//! `lariat-server keys`: what a person does with the keys.
//!
//! A server that runs does it itself, as it holds the store; see [`crate::control`].

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use store::{KeyId, RingKey, SealedStore, Survey};
use tokio::sync::mpsc;

use super::{Encryption, second};
use crate::config::Config;
use crate::{control, storage};

/// A key is kept so long after another one has taken its place: longer than any write takes that
/// was sealed before.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(60);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysCommand {
    /// Say which keys there are, and what they have sealed.
    List,
    /// Make a new key, and seal everything with it.
    Rotate,
    /// Remove keys with which nothing is sealed.
    Prune,
    /// Delete what cannot be opened.
    Discard,
}

impl KeysCommand {
    const ALL: [Self; 4] = [Self::List, Self::Rotate, Self::Prune, Self::Discard];

    /// The command of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Rotate => "rotate",
            Self::Prune => "prune",
            Self::Discard => "discard",
        }
    }
}

impl fmt::Display for KeysCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Has the server that runs do it, or does it in the store itself if none runs. Prints with `print`.
/// Blocks.
///
/// # Errors
/// As for [`run`], or when the server cannot be asked.
pub fn ask_or_run(
    config: &Config,
    command: KeysCommand,
    mut print: impl FnMut(&str),
) -> anyhow::Result<()> {
    let running = control::ask(config, &format!("keys {command}"));
    let Some(running) = running.context("cannot ask the running server")? else {
        return run_resting(config, command, print);
    };
    for line in BufReader::new(running).lines() {
        let line = line.context("cannot hear the running server")?;
        match line.strip_prefix("error: ") {
            Some(error) => bail!("{error}"),
            None if line == "ok" => return Ok(()),
            None => print(&line),
        }
    }
    bail!("the server has stopped before it was done")
}

#[tokio::main(flavor = "current_thread")]
async fn run_resting(
    config: &Config,
    command: KeysCommand,
    mut print: impl FnMut(&str),
) -> anyhow::Result<()> {
    let storage = storage::open_existing(config).await?;
    let store = Arc::clone(&storage.store);
    let now = Timestamp::now();
    let encryption = match command {
        // These are for when keys are missing.
        KeysCommand::List | KeysCommand::Discard => Encryption::open_as_it_is(config, store)?,
        KeysCommand::Rotate | KeysCommand::Prune => Encryption::open(config, store, now).await?,
    };
    let (lines, mut said) = mpsc::channel::<String>(1);
    let telling = async {
        while let Some(line) = said.recv().await {
            print(&line);
        }
    };
    let working = async move { run(command, &encryption, now, &lines).await };
    let (done, ()) = tokio::join!(working, telling);
    storage.release().await;
    done
}

/// Does it, and tells each line that is to be printed. Nobody needs to listen to the end.
///
/// # Errors
/// When the store or the key ring fails, or something is not as it should be.
pub async fn run(
    command: KeysCommand,
    encryption: &Encryption,
    now: Timestamp,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let store = encryption.store();
    match command {
        KeysCommand::List => list(store, lines).await,
        KeysCommand::Rotate => {
            let rotated = rotate(store, now, lines).await;
            if rotated.is_err() {
                // What was begun goes on in a server that runs.
                encryption.again.notify_one();
            }
            rotated
        }
        KeysCommand::Prune => prune(store, now, lines).await,
        KeysCommand::Discard => discard(store, lines).await,
    }
}

async fn list(store: &SealedStore, lines: &mpsc::Sender<String>) -> anyhow::Result<()> {
    let survey = store.survey().await?;
    let path = store.ring().path().display();
    tell(
        lines,
        format!("keys in {path}, the first one seals what is written:"),
    )
    .await;
    for key in store.ring().keys() {
        tell(lines, line_of(&key, &survey)).await;
    }
    for (id, count) in &survey.missing {
        tell(
            lines,
            format!("{id}  NOT IN THE KEY RING    {count} secrets"),
        )
        .await;
    }
    if survey.clear > 0 {
        tell(
            lines,
            format!("{} secrets are not sealed yet", survey.clear),
        )
        .await;
    }
    for (key, fault) in store.unreadable().await? {
        tell(lines, format!("{key} cannot be opened: {fault}")).await;
    }
    Ok(())
}

fn line_of(key: &RingKey, survey: &Survey) -> String {
    let made = match key.made.as_str() {
        "" => "?",
        made => made,
    };
    let count = survey.sealed_with(key.id);
    format!("{}  {made:20}  {count} secrets", key.id)
}

async fn rotate(
    store: &SealedStore,
    now: Timestamp,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let made = second(now);
    let ring = store.clone();
    let id = tokio::task::spawn_blocking(move || ring.ring().rotate(&made)).await??;
    tracing::info!(key = %id, "a new key seals secrets");
    tell(lines, format!("key {id} seals what is written from now on")).await;
    reseal(store, lines).await?;
    let path = store.ring().path().display();
    tell(
        lines,
        format!("keep a new copy of {path}: backups from now on need it"),
    )
    .await;
    Ok(())
}

async fn reseal(store: &SealedStore, lines: &mpsc::Sender<String>) -> anyhow::Result<()> {
    let mut told = Instant::now();
    let resealed = store.reseal(|done, all| {
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            // Who reads slowly is told less.
            let _ = lines.try_send(format!("{done} of {all} secrets are sealed with it"));
        }
    });
    let resealed = resealed.await?;
    let written = resealed.written;
    tell(lines, format!("{written} secrets were sealed again")).await;
    ensure!(
        resealed.unreadable.is_empty(),
        "{} cannot be opened and were left as they are; `lariat-server keys list` says why",
        resealed.unreadable.join(", ")
    );
    Ok(())
}

async fn prune(
    store: &SealedStore,
    now: Timestamp,
    lines: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    reseal(store, lines).await?;
    let keys = store.ring().keys();
    for pair in keys.windows(2) {
        let [successor, old] = pair else { continue };
        if let Some(left) = too_early(successor, now) {
            let seconds = left.as_secs() + 1;
            bail!(
                "key {} may still be in use; try again in {seconds} s",
                old.id
            );
        }
    }
    // Again, after what was on its way when the last key was made has come.
    let survey = store.survey().await?;
    let mut removed = 0;
    for old in keys.into_iter().skip(1) {
        let used = survey.sealed_with(old.id);
        ensure!(used == 0, "key {} has still sealed {used} secrets", old.id);
        remove(store, old.id).await?;
        tell(lines, format!("key {} of {} is removed", old.id, old.made)).await;
        removed += 1;
    }
    let said = match removed {
        0 => "there is no old key",
        _ => "backups from before need the copies of the key ring that were kept beside them",
    };
    tell(lines, said.to_owned()).await;
    Ok(())
}

/// How long the key that a successor has replaced is still to be kept.
fn too_early(successor: &RingKey, now: Timestamp) -> Option<SignedDuration> {
    let made: Timestamp = successor.made.parse().ok()?;
    let left = IN_FLIGHT - now.duration_since(made);
    left.is_positive().then_some(left)
}

async fn remove(store: &SealedStore, id: KeyId) -> anyhow::Result<()> {
    let ring = store.clone();
    tokio::task::spawn_blocking(move || ring.ring().remove(id)).await??;
    tracing::info!(key = %id, "an old key is removed");
    Ok(())
}

async fn discard(store: &SealedStore, lines: &mpsc::Sender<String>) -> anyhow::Result<()> {
    let discarded = store.discard_unreadable().await?;
    for key in &discarded {
        tracing::warn!(%key, "deleted, as it cannot be opened");
        tell(lines, format!("{key} is deleted")).await;
    }
    tell(lines, format!("{} secrets were deleted", discarded.len())).await;
    Ok(())
}

/// Who has gone is told nothing.
async fn tell(lines: &mpsc::Sender<String>, line: String) {
    let _ = lines.send(line).await;
}
