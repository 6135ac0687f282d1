//! The redb back end against the contract, and what only a file can get wrong.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use store::{OpenError, Range, RedbOptions, RedbStore, Revision, Store, Txn, conformance};

fn open(path: &Path) -> RedbStore {
    RedbStore::open(path, RedbOptions::default()).unwrap()
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    conformance::check(&store).await;
    let before = store.range(Range::default()).await.unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(store.range(Range::default()).await.unwrap(), before);
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let options = RedbOptions {
        watch_capacity: 8,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&folder.path().join("store"), options).unwrap();
    conformance::check_slow_watcher(&store, 20).await;
}

#[tokio::test]
async fn history_is_bounded_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let options = RedbOptions {
        keep_revisions: 40,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&path, options).unwrap();
    let mut last = Revision::ZERO;
    for number in 0..200 {
        let txn = Txn::put_if("x", last, number.to_string());
        store.txn(txn).await.unwrap();
        last = store.revision().await.unwrap();
    }
    assert!(store.watch(b"", Revision(100)).await.is_err());
    assert!(store.watch(b"", Revision(last.0 - 40)).await.is_ok());
    drop(store);
    let store = RedbStore::open(&path, options).unwrap();
    assert!(store.watch(b"", Revision(100)).await.is_err());
    assert_eq!(store.get(b"x").await.unwrap().unwrap().version, 200);
}

#[test]
fn a_second_opener_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _first = open(&path);
    let error = RedbStore::open(&path, RedbOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is in use by another process", path.display())
    );
}

#[test]
fn the_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let _store = open(&path);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let text = b"not a store\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    let error = RedbStore::open(&path, RedbOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), text);
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    let value = vec![7; 100_000];
    for number in 0..20 {
        let key = format!("key/{number}");
        store
            .txn(Txn::put_if(key, Revision::ZERO, value.clone()))
            .await
            .unwrap();
    }
    drop(store);
    drop(open(&path));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = RedbStore::open(&path, RedbOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_missing_folder_is_named() {
    let error = RedbStore::open(Path::new("/nowhere/store"), RedbOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot open /nowhere/store");
}
