//! A process is killed while it writes; whatever it was told is written is there afterwards.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use store::{Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome};

/// Set only in the child: the file to write to.
const CHILD_FILE: &str = "STORE_CRASH_TEST_FILE";
const WRITERS: usize = 8;

/// Not a test of its own: the body of the child process, which writes until it is killed and
/// prints what was acknowledged.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD_FILE) else {
        return;
    };
    let options = RedbOptions {
        keep_revisions: 50,
        ..RedbOptions::default()
    };
    let store = Arc::new(RedbStore::open(path.as_ref(), options).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let key = format!("writer/{writer}");
                let mut last = store.get(key.as_bytes()).await.unwrap();
                loop {
                    let number = last.as_ref().map_or(0, |entry| entry.version);
                    let expected = last.map_or(Revision::ZERO, |entry| entry.modified);
                    let txn = Txn::put_if(key.clone(), expected, (number + 1).to_string());
                    let outcome = store.txn(txn).await.unwrap();
                    assert!(matches!(outcome, TxnOutcome::Applied(_)));
                    println!("acknowledged {writer} {}", number + 1);
                    last = store.get(key.as_bytes()).await.unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut acknowledged = [0u64; WRITERS];
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after a different number of writes each time, most of them inside a commit.
        for line in lines.by_ref().take(40 + round * 37) {
            note(&mut acknowledged, &line.unwrap());
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            note(&mut acknowledged, &line);
        }
        child.wait().unwrap();

        let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
        let page = store.range(Range::prefix("writer/")).await.unwrap();
        for (writer, entry) in page.entries.iter().enumerate() {
            let found: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            assert_eq!(found, entry.version);
            let told = acknowledged[writer];
            assert!(
                found == told || found == told + 1,
                "writer {writer}: {told} became {found}"
            );
            acknowledged[writer] = found;
        }
        assert_eq!(page.entries.len(), WRITERS);
        drop(store);
        // The file is closed when the writer thread of the store just dropped has ended.
        wait_until_closed(&path);
    }
    assert!(acknowledged.iter().sum::<u64>() > 1000);
}

fn wait_until_closed(path: &std::path::Path) {
    loop {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        if file.try_lock().is_ok() {
            return;
        }
        std::thread::yield_now();
    }
}

/// A line may be cut by the kill, or prefixed by the test harness.
fn note(acknowledged: &mut [u64; WRITERS], line: &str) {
    let Some((_, rest)) = line.split_once("acknowledged ") else {
        return;
    };
    let Some((writer, number)) = rest.split_once(' ') else {
        return;
    };
    if let (Ok(writer), Ok(number)) = (writer.parse::<usize>(), number.parse::<u64>()) {
        acknowledged[writer] = acknowledged[writer].max(number);
    }
}
