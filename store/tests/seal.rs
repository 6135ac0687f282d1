//! Secrets in a store: that they are sealed in it, readable through it, and that keys can change.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use store::{
    Error, KeyRing, Op, OpenError, Range, RedbOptions, RedbStore, Revision, SealFault, SealedStore,
    Store, Txn, TxnOutcome, conformance, is_sealed,
};
use tempfile::TempDir;

const SECRET: &str = "the-secret-that-nobody-may-read";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        KeyRing::create(&place.ring(), "first").unwrap();
        place
    }

    fn ring(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Opens the store, also one that was just dropped: its thread closes it a moment later.
    fn inner(&self) -> Arc<RedbStore> {
        loop {
            match RedbStore::open(&self.file(), RedbOptions::default()) {
                Err(OpenError::InUse(_)) => std::thread::yield_now(),
                opened => return Arc::new(opened.unwrap()),
            }
        }
    }

    fn open(&self) -> SealedStore {
        let ring = KeyRing::read(&self.ring()).unwrap();
        sealed(self.inner(), ring)
    }
}

fn sealed(inner: Arc<dyn Store>, ring: KeyRing) -> SealedStore {
    // Of what the conformance suite writes, all but the largest value that a store takes.
    let prefixes = ["secrets/", "a/", "b/", "c/a", "d/", "e/", "f/1", "g/", "i/"];
    let prefixes = prefixes.map(Bytes::from).into();
    SealedStore::new(inner, ring, prefixes)
}

async fn put(store: &dyn Store, key: &str, value: &str) {
    let op = Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
    };
    let txn = Txn {
        ops: vec![op],
        ..Txn::default()
    };
    store.txn(txn).await.unwrap();
}

async fn value(store: &dyn Store, key: &str) -> Bytes {
    store.get(key.as_bytes()).await.unwrap().unwrap().value
}

async fn is_on_disk(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let place = Place::new();
    conformance::check(&place.open()).await;
}

#[tokio::test]
async fn what_is_secret_is_in_the_clear_nowhere_but_in_memory() {
    let place = Place::new();
    let store = place.open();
    put(&store, "secrets/a", SECRET).await;
    put(&store, "other/a", "what everybody may read").await;
    assert_eq!(value(&store, "secrets/a").await, SECRET);
    assert!(is_sealed(&value(&**store.inner(), "secrets/a").await));
    drop(store);
    drop(place.inner());
    assert!(!is_on_disk(&place.file(), SECRET).await);
    assert!(is_on_disk(&place.file(), "what everybody may read").await);
    assert_eq!(value(&place.open(), "secrets/a").await, SECRET);
}

#[tokio::test]
async fn watches_ranges_and_conflicts_show_it_in_the_clear() {
    let place = Place::new();
    let store = place.open();
    let mut watch = store.watch(b"", Revision::ZERO).await.unwrap();
    put(&store, "secrets/a", "old").await;
    put(&store, "secrets/a", SECRET).await;
    let page = store.range(Range::prefix("sec")).await.unwrap();
    assert_eq!(page.entries[0].value, SECRET);
    watch.next().await.unwrap().unwrap();
    let changes = watch.next().await.unwrap().unwrap();
    let change = &changes.changes[0];
    assert_eq!(change.current.as_ref().unwrap().value, SECRET);
    assert_eq!(change.previous.as_ref().unwrap().value, "old");
    let txn = Txn::put_if("secrets/a", Revision::ZERO, "");
    let TxnOutcome::Conflict(found) = store.txn(txn).await.unwrap() else {
        panic!("it was there before");
    };
    assert_eq!(found[0].as_ref().unwrap().value, SECRET);
}

#[tokio::test]
async fn what_is_not_secret_is_the_stores_own_bytes() {
    let place = Place::new();
    let store = place.open();
    put(&store, "other/a", "x").await;
    let through = store.range(Range::prefix("")).await.unwrap();
    let own = store.inner().range(Range::prefix("")).await.unwrap();
    assert!(Arc::ptr_eq(&through.entries[0], &own.entries[0]));
}

#[tokio::test]
async fn values_from_before_are_read_and_sealed() {
    let place = Place::new();
    let inner = place.inner();
    for number in 0..1200 {
        put(&*inner, &format!("secrets/{number:04}"), SECRET).await;
    }
    drop(inner);
    let store = place.open();
    assert_eq!(value(&store, "secrets/0007").await, SECRET);
    assert_eq!(store.survey().await.unwrap().clear, 1200);
    let mut told = (0, 0);
    let resealed = store.reseal(|done, all| told = (done, all)).await.unwrap();
    assert_eq!((resealed.written, told), (1200, (1200, 1200)));
    let survey = store.survey().await.unwrap();
    let key = store.ring().keys()[0].id;
    assert_eq!((survey.clear, survey.sealed_with(key)), (0, 1200));
    assert_eq!(value(&store, "secrets/1199").await, SECRET);
    assert_eq!(store.reseal(|_, _| {}).await.unwrap().written, 0);
}

/// Values cannot change places, and one that was changed harms no other.
#[tokio::test]
async fn a_value_that_was_tampered_with_is_named_and_others_stay_readable() {
    let place = Place::new();
    let store = place.open();
    for name in ["a", "b", "c"] {
        put(&store, &format!("secrets/{name}"), name).await;
    }
    let inner = store.inner();
    let moved = value(&**inner, "secrets/a").await;
    let op = Op::Put {
        key: "secrets/b".into(),
        value: moved,
    };
    let txn = Txn {
        ops: vec![op],
        ..Txn::default()
    };
    inner.txn(txn).await.unwrap();
    let error = store.get(b"secrets/b").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the value of secrets/b cannot be opened"),
        "{error}"
    );
    let page = store.range(Range::prefix("secrets/")).await.unwrap();
    let readable: Vec<_> = (page.entries.iter())
        .filter(|entry| !is_sealed(&entry.value))
        .map(|entry| entry.value.clone())
        .collect();
    assert_eq!(readable, ["a", "c"]);

    store.ring().rotate("later").unwrap();
    let resealed = store.reseal(|_, _| {}).await.unwrap();
    assert_eq!(resealed.written, 2);
    assert_eq!(resealed.unreadable, ["secrets/b"]);
    let unreadable = store.unreadable().await.unwrap();
    assert_eq!(unreadable, [("secrets/b".to_owned(), SealFault::Damaged)]);
    assert_eq!(store.discard_unreadable().await.unwrap(), ["secrets/b"]);
    assert_eq!(store.get(b"secrets/b").await.unwrap(), None);
    assert_eq!(value(&store, "secrets/c").await, "c");
}

#[tokio::test]
async fn a_key_that_is_missing_is_named_and_what_it_sealed_is_not_lost() {
    let place = Place::new();
    let store = place.open();
    put(&store, "secrets/a", SECRET).await;
    let key = store.ring().keys()[0].id;
    drop(store);
    std::fs::rename(place.ring(), place.folder.path().join("away")).unwrap();
    KeyRing::create(&place.ring(), "other").unwrap();
    let store = place.open();
    let survey = store.survey().await.unwrap();
    assert_eq!(survey.unknown, ["secrets/a"]);
    assert_eq!(survey.missing.get(&key), Some(&1));
    let error = store.get(b"secrets/a").await.unwrap_err();
    let unknown = SealFault::UnknownKey(key);
    assert!(matches!(error, Error::Sealed { fault, .. } if fault == unknown));
    drop(store);
    std::fs::rename(place.folder.path().join("away"), place.ring()).unwrap();
    assert_eq!(value(&place.open(), "secrets/a").await, SECRET);
}

/// Writers go on while keys change again and again, and everything they were told is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_load() {
    const WRITERS: usize = 4;
    const WRITES: usize = 100;
    let place = Place::new();
    let store = place.open();
    let writer = |writer: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..WRITES {
                let key = format!("secrets/{writer}/{}", number % 10);
                loop {
                    let found = store.get(key.as_bytes()).await.unwrap();
                    let expected = found.map_or(Revision::ZERO, |entry| entry.modified);
                    let txn = Txn::put_if(key.clone(), expected, number.to_string());
                    if let TxnOutcome::Applied(_) = store.txn(txn).await.unwrap() {
                        break;
                    }
                }
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    let mut rotations = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        store.ring().rotate("later").unwrap();
        store.reseal(|_, _| {}).await.unwrap();
        rotations += 1;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    store.reseal(|_, _| {}).await.unwrap();
    assert!(rotations > 2, "{rotations}");
    let current = store.ring().keys()[0].id;
    for old in store.ring().keys().into_iter().skip(1) {
        store.ring().remove(old.id).unwrap();
    }
    let survey = store.survey().await.unwrap();
    assert_eq!(survey.sealed_with(current), (WRITERS * 10) as u64);
    drop(store);
    let store = place.open();
    for writer in 0..WRITERS {
        for at in 0..10 {
            let key = format!("secrets/{writer}/{at}");
            let last = (WRITES - 10 + at).to_string();
            assert_eq!(value(&store, &key).await, last, "{key}");
        }
    }
}

/// Whatever the moment at which it stops, both keys are on disk and the work can go on.
#[tokio::test]
async fn a_change_of_keys_that_was_cut_short_goes_on() {
    let place = Place::new();
    let store = place.open();
    for number in 0..300 {
        put(&store, &format!("secrets/{number}"), SECRET).await;
    }
    let new = store.ring().rotate("later").unwrap();
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    tokio::select! {
        biased;
        _ = seen.wait_for(|done| *done >= 100) => {}
        _ = store.reseal(|done, _| progress.send(done).unwrap_or_default()) => panic!("it was not cut short"),
    }
    drop(store);
    let store = place.open();
    for number in 0..300 {
        assert_eq!(value(&store, &format!("secrets/{number}")).await, SECRET);
    }
    let left = store.survey().await.unwrap();
    assert!(left.sealed_with(new) < 300, "{left:?}");
    store.reseal(|_, _| {}).await.unwrap();
    assert_eq!(store.survey().await.unwrap().sealed_with(new), 300);
}
