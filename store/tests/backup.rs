//! Backups: what is in them, and what is refused.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::path::Path;

use store::backup::{self, REVISION_GAP, Reader};
use store::{
    BackupError, Error, OpenError, Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome,
};
use tokio::io::AsyncReadExt;

async fn fill(path: &Path, count: u32) -> RedbStore {
    let store = RedbStore::open(path, RedbOptions::default()).unwrap();
    for number in 0..count {
        let key = format!("key/{number:04}");
        let txn = Txn::put_if(key, Revision::ZERO, format!("value {number}"));
        store.txn(txn).await.unwrap();
    }
    store
}

async fn bytes(store: &RedbStore) -> Vec<u8> {
    let mut bytes = Vec::new();
    backup::write(store, &mut bytes).await.unwrap();
    bytes
}

async fn entries(store: &RedbStore) -> Vec<std::sync::Arc<store::Entry>> {
    store.range(Range::default()).await.unwrap().entries
}

fn restore(path: &Path, bytes: &[u8], overwrite: bool) -> Result<backup::Summary, OpenError> {
    RedbStore::restore(path, Reader::new(bytes)?, overwrite)
}

#[tokio::test]
async fn a_restored_store_is_the_same_with_later_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let store = fill(&folder.path().join("store"), 2500).await;
    let deleted = store.get(b"key/0007").await.unwrap().unwrap();
    store
        .txn(Txn::delete_if("key/0007", deleted.modified))
        .await
        .unwrap();
    let bytes = bytes(&store).await;
    let summary = backup::verify(&bytes[..]).unwrap();
    assert_eq!((summary.revision, summary.entries), (Revision(2501), 2499));

    let path = folder.path().join("restored");
    let restored = restore(&path, &bytes, false).unwrap();
    assert_eq!(restored.revision, Revision(2501 + REVISION_GAP));
    let copy = RedbStore::open(&path, RedbOptions::default()).unwrap();
    assert_eq!(entries(&copy).await, entries(&store).await);
    assert_eq!(copy.revision().await.unwrap(), restored.revision);
    let old = copy.watch(b"", Revision(2501)).await;
    assert!(matches!(old, Err(Error::Compacted { .. })));
    let next = copy
        .txn(Txn::put_if("new", Revision::ZERO, ""))
        .await
        .unwrap();
    assert_eq!(next, TxnOutcome::Applied(Revision(restored.revision.0 + 1)));
}

#[tokio::test]
async fn a_store_is_overwritten_only_when_told_and_never_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = fill(&path, 10).await;
    let bytes = bytes(&store).await;
    assert!(matches!(
        restore(&path, &bytes, false),
        Err(OpenError::Exists(_))
    ));
    assert!(matches!(
        restore(&path, &bytes, true),
        Err(OpenError::InUse(_))
    ));
    drop(store);
    let first = restore(&path, &bytes, true).unwrap();
    let second = restore(&path, &bytes, true).unwrap();
    assert!(
        second.revision > first.revision,
        "revisions rise with each restore"
    );
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_leaves_the_store_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = fill(&path, 20).await;
    let whole = bytes(&store).await;
    let target = folder.path().join("restored");
    for length in 0..whole.len() {
        assert!(
            restore(&target, &whole[..length], false).is_err(),
            "cut at {length}"
        );
    }
    for position in 0..whole.len() {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        assert!(
            backup::verify(&changed[..]).is_err(),
            "changed at {position}"
        );
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(restore(&target, &longer, false).is_err());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the store is there: {left:?}");
}

#[tokio::test]
async fn another_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = bytes(&fill(&folder.path().join("store"), 1).await).await;
    bytes[23] = 9;
    let error = Reader::new(&bytes[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "backup has format 9, this version reads format 1"
    );
    let error = Reader::new(&b"something else entirely"[..]).unwrap_err();
    assert!(matches!(error, BackupError::NotABackup));
}

#[tokio::test]
async fn a_backup_is_of_one_revision_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = fill(&folder.path().join("store"), 3000).await;
    // A narrow pipe, so that writes come in between.
    let (reading, writing) = tokio::io::duplex(64);
    let copy = tokio::spawn({
        let store = store.clone();
        async move { backup::write(&store, writing).await }
    });
    let read = tokio::spawn(async move {
        let mut reading = reading;
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).await.map(|_| bytes)
    });
    for number in 0..500 {
        let key = format!("key/{:04}", number * 5);
        let last = store.get(key.as_bytes()).await.unwrap().unwrap();
        store
            .txn(Txn::put_if(key, last.modified, "changed"))
            .await
            .unwrap();
    }
    let bytes = read.await.unwrap().unwrap();
    let summary = copy.await.unwrap().unwrap();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    let mut count = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        assert!(
            entry.modified <= summary.revision,
            "a write from later is in it"
        );
        count += 1;
    }
    assert_eq!(count, 3000);
}
