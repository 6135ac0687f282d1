//! Following a store that is away for a while, or forgets what was not seen.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use store::{
    Entry, Error, Follow, Followed, Op, Page, Range, RedbOptions, RedbStore, Revision, Store, Txn,
    TxnOutcome, Watch,
};

/// A store that can be away.
#[derive(Debug)]
struct Flaky {
    inner: RedbStore,
    away: AtomicBool,
    refused: AtomicU32,
}

impl Flaky {
    fn new(folder: &tempfile::TempDir, watch_capacity: usize) -> Arc<Self> {
        let options = RedbOptions {
            watch_capacity,
            ..RedbOptions::default()
        };
        Arc::new(Self {
            inner: RedbStore::open(&folder.path().join("store"), options).unwrap(),
            away: AtomicBool::new(false),
            refused: AtomicU32::new(0),
        })
    }

    fn is_away(&self) -> bool {
        let away = self.away.load(Ordering::Relaxed);
        self.refused.fetch_add(u32::from(away), Ordering::Relaxed);
        away
    }

    async fn put(&self, key: &str) -> Revision {
        let op = Op::Put {
            key: key.to_owned().into(),
            value: "".into(),
        };
        let txn = Txn {
            ops: vec![op],
            ..Txn::default()
        };
        match self.inner.txn(txn).await.unwrap() {
            TxnOutcome::Applied(revision) => revision,
            TxnOutcome::Conflict(_) => panic!("a conflict without a comparison"),
        }
    }
}

impl Store for Flaky {
    fn revision(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        self.inner.revision()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        self.inner.get(key)
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        if self.is_away() {
            return future::ready(Err(Error::Unavailable)).boxed();
        }
        self.inner.range(range)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, Error>> {
        self.inner.txn(txn)
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Revision,
    ) -> BoxFuture<'a, Result<Watch, Error>> {
        if self.is_away() {
            return future::ready(Err(Error::Unavailable)).boxed();
        }
        self.inner.watch(prefix, after)
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.compact(revision)
    }
}

async fn next(follow: &mut Follow) -> Followed {
    let next = tokio::time::timeout(Duration::from_secs(20), follow.next()).await;
    next.unwrap().unwrap()
}

fn keys(followed: &Followed) -> Vec<String> {
    let text = |key: &bytes::Bytes| String::from_utf8_lossy(key).into_owned();
    match followed {
        Followed::All(entries, _) => entries.iter().map(|entry| text(&entry.key)).collect(),
        Followed::Changes(changes) => {
            let keys = changes.changes.iter().map(|change| text(&change.key));
            keys.collect()
        }
    }
}

#[tokio::test]
async fn it_begins_with_everything_or_after_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Flaky::new(&folder, 8);
    store.put("a/1").await;
    store.put("b/1").await;
    let read = store.put("a/2").await;
    let mut all = Follow::new(store.clone(), "a/");
    let mut later = Follow::after(store.clone(), "a/", read);
    let first = next(&mut all).await;
    assert_eq!(keys(&first), ["a/1", "a/2"]);
    assert!(matches!(first, Followed::All(_, revision) if revision == read));
    store.put("a/3").await;
    for follow in [&mut all, &mut later] {
        let change = next(follow).await;
        assert!(matches!(change, Followed::Changes(_)));
        assert_eq!(keys(&change), ["a/3"]);
    }
}

#[tokio::test]
async fn some_of_it_is_read_and_all_changes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = Flaky::new(&folder, 8);
    for key in ["a/1", "b/1", "c/1"] {
        store.put(key).await;
    }
    let read = ["c/", "a/"].map(bytes::Bytes::from).to_vec();
    let mut follow = Follow::new(store.clone(), "").reading(read);
    let first = next(&mut follow).await;
    assert_eq!(keys(&first), ["c/1", "a/1"]);
    let read = store.put("b/2").await;
    let change = next(&mut follow).await;
    assert_eq!(keys(&change), ["b/2"]);
    assert!(matches!(change, Followed::Changes(changes) if changes.revision == read));
}

/// Asked with a short patience, as who also has other things to do asks it.
#[tokio::test]
async fn it_waits_until_the_store_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Flaky::new(&folder, 8);
    store.put("a").await;
    store.away.store(true, Ordering::Relaxed);
    let mut follow = Follow::new(store.clone(), "");
    let short = Duration::from_millis(30);
    while store.refused.load(Ordering::Relaxed) < 3 {
        assert!(tokio::time::timeout(short, follow.next()).await.is_err());
    }
    store.away.store(false, Ordering::Relaxed);
    assert_eq!(keys(&next(&mut follow).await), ["a"]);
}

#[tokio::test]
async fn what_it_missed_comes_as_changes_or_all_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Flaky::new(&folder, 4);
    let mut follow = Follow::new(store.clone(), "");
    next(&mut follow).await;
    store.put("seen").await;
    next(&mut follow).await;
    // Too many for the watch, which is cut off; the history still has them.
    for number in 0..20 {
        store.put(&format!("many/{number:02}")).await;
    }
    for number in 0..20 {
        let change = next(&mut follow).await;
        assert_eq!(keys(&change), [format!("many/{number:02}")]);
    }
    for _ in 0..19 {
        store.put("lost").await;
    }
    let last = store.put("last").await;
    store.compact(last).await.unwrap();
    let all = loop {
        match next(&mut follow).await {
            // What was waiting for it when it was cut off.
            Followed::Changes(_) => {}
            all @ Followed::All(..) => break all,
        }
    };
    assert!(matches!(&all, Followed::All(_, revision) if *revision == last));
    assert_eq!(keys(&all).len(), 23);
}
