//! A real disk without room: a small tmpfs that only the child process sees.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use store::{Error, Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome};

/// Runs [`child`] in a mount namespace with a tmpfs of 4 MiB at `folder`. Needs root.
///
/// # Errors
/// When the child fails.
pub fn check(folder: &Path) -> Result<String> {
    std::fs::create_dir_all(folder)?;
    let script = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$2\" full-disk-child \"$1\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder)
        .arg(std::env::current_exe()?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", error.trim());
    Ok(said.trim().to_owned())
}

/// Fills the disk, is refused, makes room, goes on, and finds everything acknowledged; says so.
///
/// # Errors
/// When any of that is otherwise.
pub async fn child(folder: &Path) -> Result<String> {
    let path = folder.join("store");
    let store = RedbStore::open(&path, RedbOptions::default())?;
    let filler = folder.join("filler");
    let mut acknowledged = 0;
    let mut refused = 0;
    for round in 0..3 {
        fill(&filler).context("cannot fill the disk")?;
        let error = loop {
            match put(&store, acknowledged).await {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
            ensure!(acknowledged < 100_000, "the disk does not get full");
        };
        ensure!(matches!(error, Error::Write(_)), "refused with {error}");
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        let reason = reason.unwrap_or_default();
        ensure!(
            reason.contains("No space left"),
            "refused because of {reason}"
        );
        refused += 1;
        check_all(&store, acknowledged).await?;
        // Still full: refused again, and still there.
        ensure!(
            put(&store, acknowledged).await.is_err(),
            "written to a full disk"
        );
        refused += 1;
        check_all(&store, acknowledged).await?;
        std::fs::remove_file(&filler)?;
        put(&store, acknowledged)
            .await
            .with_context(|| format!("room was made, round {round}"))?;
        acknowledged += 1;
        check_all(&store, acknowledged).await?;
    }
    drop(store);
    let store = super::crash::open(&path).await?;
    check_all(&store, acknowledged).await?;
    Ok(format!(
        "{refused} writes refused for want of room, the {acknowledged} acknowledged ones are there, \
         also after opening it again"
    ))
}

async fn put(store: &RedbStore, number: u64) -> Result<(), Error> {
    let txn = Txn::put_if(format!("key/{number:06}"), Revision::ZERO, vec![7; 2000]);
    match store.txn(txn).await? {
        TxnOutcome::Applied(_) => Ok(()),
        // What was refused came back with the next write, as its error says it may.
        TxnOutcome::Conflict(_) => Ok(()),
    }
}

async fn check_all(store: &RedbStore, acknowledged: u64) -> Result<()> {
    let page = store.range(Range::prefix("key/")).await?;
    let found = page.entries.len() as u64;
    ensure!(
        found == acknowledged || found == acknowledged + 1,
        "{acknowledged} were acknowledged, there are {found}"
    );
    Ok(())
}

/// Takes all but a little of the room.
fn fill(path: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    // A little room, so that the disk gets full in the middle of a write.
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(400_000))
}
