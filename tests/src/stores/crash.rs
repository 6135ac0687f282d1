//! Processes that are killed (SIGKILL) at one write of the store's file after another.
//!
//! A child opens a store and writes; at the given write to the file, counted from the opening, it
//! kills itself: before the write, after half of it, or after it. What it had printed until then
//! was acknowledged.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Bound;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use store::{OpenError, Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome};

const WRITERS: u64 = 4;

/// A little history, so that there are compactions among the writes.
fn options() -> RedbOptions {
    RedbOptions {
        keep_revisions: 8,
        ..RedbOptions::default()
    }
}

/// The child: writes to the store in `path` until its write number `point`. Returns only if there
/// are not that many.
///
/// # Errors
/// When the store cannot be opened or written.
pub async fn child(path: &Path, point: u64) -> Result<()> {
    // Makes it if it is not there: aside, and in one step.
    drop(open(path).await?);
    let store = until_free(|| {
        let file = path.to_owned();
        let opener = move || {
            let file = std::fs::File::options().read(true).write(true).open(&file);
            let file = file.map_err(|error| redb::DatabaseError::Storage(error.into()))?;
            redb::Database::builder().create_with_backend(Mortal {
                file: FileBackend::new(file)?,
                left: AtomicU64::new(point),
                point,
            })
        };
        RedbStore::open_with(path, opener, options())
    });
    let store = Arc::new(store.await?);
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&store), writer)));
    futures::future::try_join_all(writers).await?;
    Ok(())
}

/// Counts up in one key and now and then deletes and makes it again, for so long that any child
/// reaches its point.
#[expect(clippy::print_stdout, reason = "how the parent learns of it")]
async fn write(store: Arc<RedbStore>, writer: u64) {
    let key = format!("writer/{writer}");
    for _ in 0..1000 {
        let Ok(last) = store.get(key.as_bytes()).await else {
            return;
        };
        let number = last.as_ref().map_or(0, |entry| entry.version) + 1;
        let expected = last.map_or(Revision::ZERO, |entry| entry.modified);
        let value = format!("{number} {}", "x".repeat(300));
        let outcome = store.txn(Txn::put_if(key.clone(), expected, value)).await;
        if !matches!(outcome, Ok(TxnOutcome::Applied(_))) {
            return;
        }
        println!("acknowledged {writer} {number}");
    }
}

/// A file whose process ends at a write.
#[derive(Debug)]
struct Mortal {
    file: FileBackend,
    left: AtomicU64,
    point: u64,
}

impl Mortal {
    /// Whether this is the write to die at.
    fn is_last(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }

    fn die(&self) -> std::io::Error {
        let this = nix::unistd::Pid::this();
        match nix::sys::signal::kill(this, nix::sys::signal::Signal::SIGKILL) {
            Ok(()) => std::io::Error::other("killed"),
            Err(error) => error.into(),
        }
    }
}

impl StorageBackend for Mortal {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        if self.is_last() {
            return Err(self.die());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        if self.is_last() {
            return Err(self.die());
        }
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        if !self.is_last() {
            return self.file.write(offset, data);
        }
        let written = match self.point % 3 {
            0 => 0,
            1 => data.len() / 2,
            _ => data.len(),
        };
        self.file.write(offset, &data[..written])?;
        Err(self.die())
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

/// Kills a child at each of `points` writes: in a round, at the first, the second and so on until
/// the store has seen every kind of them, in a file that is new each time or, every second round,
/// in the file that the child before has left. Says what was found.
///
/// # Errors
/// When something acknowledged is not there.
pub async fn check(folder: &Path, points: u64) -> Result<String> {
    /// Opening a file, some hundred transactions and several compactions take fewer.
    const ROUND: u64 = 200;
    std::fs::create_dir_all(folder)?;
    let (mut acknowledged, mut ahead) = (0, 0);
    let mut known = BTreeMap::new();
    for number in 0..points {
        let (round, point) = (number / ROUND, number % ROUND + 1);
        let path = folder.join(format!("round-{round}"));
        if round % 2 == 0 {
            known.clear();
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        if point == 1 {
            known.clear();
        }
        let (told, lines) = run_child(&path, point).await?;
        acknowledged += lines;
        known.extend(told);
        let found = read(&path)
            .await
            .with_context(|| format!("after a kill at write {point}"))?;
        for (writer, told) in &known {
            let found = found.get(writer).copied().unwrap_or(0);
            // One more may have been on its way.
            ensure!(
                found == *told || found == told + 1,
                "kill at write {point}: writer {writer} was told of {told}, there is {found}"
            );
            ahead += found - told;
        }
        known = found;
    }
    Ok(format!(
        "{points} kills, after {acknowledged} acknowledged writes: none lost, {ahead} \
         that were on their way were written"
    ))
}

/// The last number that each writer was told of before the child was killed, and how many it was
/// told of in all.
async fn run_child(path: &Path, point: u64) -> Result<(BTreeMap<u64, u64>, u64)> {
    let (path, program) = (path.to_owned(), std::env::current_exe()?);
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new(program)
            .arg("crash-child")
            .args([path.as_os_str(), point.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output")?;
        let (mut told, mut lines) = (BTreeMap::new(), 0);
        for line in BufReader::new(output).lines() {
            let line = line?;
            let mut words = line.split(' ');
            if let (Some("acknowledged"), Some(writer), Some(number)) =
                (words.next(), words.next(), words.next())
            {
                told.insert(writer.parse()?, number.parse()?);
                lines += 1;
            }
        }
        let status = child.wait()?;
        ensure!(!status.success(), "the child has fewer than {point} writes");
        Ok((told, lines))
    })
    .await?
}

async fn read(path: &Path) -> Result<BTreeMap<u64, u64>> {
    let store = open(path).await?;
    let page = store.range(Range::prefix("writer/")).await?;
    let mut found = BTreeMap::new();
    for entry in &page.entries {
        let key = std::str::from_utf8(&entry.key)?;
        let writer = key.strip_prefix("writer/").context("a key of nobody")?;
        let value = std::str::from_utf8(&entry.value)?;
        let number = value.split(' ').next().unwrap_or_default().parse()?;
        ensure!(
            number == entry.version,
            "{key} has version {} and {number}",
            entry.version
        );
        found.insert(writer.parse()?, number);
    }
    // It must also go on.
    let outcome = store.txn(Txn::put_if("check", Revision::ZERO, "")).await?;
    let TxnOutcome::Applied(revision) = outcome else {
        anyhow::bail!("an earlier check is still there");
    };
    store.txn(Txn::delete_if("check", revision)).await?;
    drop(store);
    // Until its writer has closed the file.
    drop(open(path).await?);
    Ok(found)
}

pub(super) async fn open(path: &Path) -> Result<RedbStore> {
    until_free(|| RedbStore::open(path, options())).await
}

/// Opens a store whose last user may still be closing it.
async fn until_free(open: impl Fn() -> Result<RedbStore, OpenError>) -> Result<RedbStore> {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        match open() {
            Err(OpenError::InUse(_)) if tokio::time::Instant::now() < end => {
                tokio::task::yield_now().await;
            }
            opened => return Ok(opened?),
        }
    }
}
