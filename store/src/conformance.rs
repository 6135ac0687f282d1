//! What every implementation of [`Store`] must do, as a suite to run against one.

#![expect(
    clippy::unwrap_used,
    reason = "a suite for tests: a failure is a panic that says where"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Compare, Error, MAX_KEY_BYTES, MAX_TXN_ITEMS, MAX_VALUE_BYTES, Op, Range, Revision, Store, Txn,
    TxnOutcome, Watch, WatchError,
};

/// Runs the suite against an empty store that nobody else writes to.
///
/// # Panics
/// At the first rule that the store breaks.
pub async fn check(store: &dyn Store) {
    writes_take_the_next_revision(store).await;
    a_comparison_that_fails_writes_nothing(store).await;
    operations_of_a_transaction_share_a_revision(store).await;
    ranges_are_ordered_paged_and_consistent(store).await;
    watches_have_no_gap(store).await;
    watches_follow_a_prefix(store).await;
    compaction_forgets_only_what_was_overwritten(store).await;
    limits_are_kept(store).await;
    one_of_many_writers_wins(store).await;
}

/// Checks that a reader who does not read is cut off while writers go on. `enough` is a number of
/// writes that must overflow the store's buffer for it.
///
/// # Panics
/// When it is not.
pub async fn check_slow_watcher(store: &dyn Store, enough: usize) {
    let mut watch = store.watch(b"slow/", now(store).await).await.unwrap();
    for number in 0..enough {
        put(store, "slow/key", &number.to_string()).await;
    }
    let mut seen = 0;
    let end = loop {
        match next(&mut watch).await.unwrap() {
            Ok(changes) => seen += changes.changes.len(),
            Err(end) => break end,
        }
    };
    assert_eq!(end, WatchError::Lagged);
    assert!(seen < enough);
    assert!(watch.next().await.is_none(), "a watch ends after its error");
}

async fn writes_take_the_next_revision(store: &dyn Store) {
    let before = now(store).await;
    assert_eq!(store.get(b"a/x").await.unwrap(), None);
    let first = put(store, "a/x", "1").await;
    assert_eq!(first, Revision(before.0 + 1));
    let second = put(store, "a/x", "2").await;
    assert_eq!(second, Revision(before.0 + 2));
    let entry = store.get(b"a/x").await.unwrap().unwrap();
    assert_eq!(entry.value, "2");
    assert_eq!(
        (entry.created, entry.modified, entry.version),
        (first, second, 2)
    );

    delete(store, "a/x").await;
    assert_eq!(store.get(b"a/x").await.unwrap(), None);
    let deleted = now(store).await;
    delete(store, "a/x").await;
    assert_eq!(
        now(store).await,
        deleted,
        "deleting nothing takes no revision"
    );

    let again = put(store, "a/x", "3").await;
    let entry = store.get(b"a/x").await.unwrap().unwrap();
    assert_eq!(
        (entry.created, entry.modified, entry.version),
        (again, again, 1)
    );
}

async fn a_comparison_that_fails_writes_nothing(store: &dyn Store) {
    let created = apply(store, Txn::put_if("b/x", Revision::ZERO, "1")).await;
    let before = now(store).await;
    let outcome = store
        .txn(Txn::put_if("b/x", Revision::ZERO, "2"))
        .await
        .unwrap();
    let TxnOutcome::Conflict(entries) = outcome else {
        panic!("created twice");
    };
    assert_eq!(entries[0].as_ref().unwrap().value, "1");
    let mixed = Txn {
        compares: vec![
            Compare {
                key: "b/x".into(),
                modified: created,
            },
            Compare {
                key: "b/y".into(),
                modified: created,
            },
        ],
        ops: vec![put_op("b/x", "2"), put_op("b/y", "2")],
    };
    let outcome = store.txn(mixed).await.unwrap();
    assert!(matches!(outcome, TxnOutcome::Conflict(entries) if entries[1].is_none()));
    assert_eq!(now(store).await, before);
    let updated = apply(store, Txn::put_if("b/x", created, "2")).await;
    let outcome = store.txn(Txn::delete_if("b/x", created)).await.unwrap();
    assert!(matches!(outcome, TxnOutcome::Conflict(_)));
    apply(store, Txn::delete_if("b/x", updated)).await;
    assert_eq!(store.get(b"b/x").await.unwrap(), None);
}

async fn operations_of_a_transaction_share_a_revision(store: &dyn Store) {
    put(store, "c/old", "1").await;
    let mut watch = store.watch(b"c/", now(store).await).await.unwrap();
    let txn = Txn {
        compares: vec![],
        ops: vec![put_op("c/a", "1"), put_op("c/b", "1"), delete_op("c/old")],
    };
    let revision = apply(store, txn).await;
    let changes = next(&mut watch).await.unwrap().unwrap();
    assert_eq!(changes.revision, revision);
    let keys: Vec<_> = changes
        .changes
        .iter()
        .map(|change| &change.key[..])
        .collect();
    assert_eq!(
        keys.len(),
        3,
        "changes of one revision come together: {keys:?}"
    );
    let deleted = changes
        .changes
        .iter()
        .find(|change| change.key == "c/old")
        .unwrap();
    assert!(deleted.current.is_none());
    assert_eq!(deleted.previous.as_ref().unwrap().value, "1");
    assert!(
        changes
            .changes
            .iter()
            .all(|change| change.revision == revision)
    );
}

async fn ranges_are_ordered_paged_and_consistent(store: &dyn Store) {
    for key in ["d/3", "d/1", "d/2", "d/20", "d0", "c/z"] {
        put(store, key, "old").await;
    }
    let all = store.range(Range::prefix("d/")).await.unwrap();
    let keys: Vec<_> = all.entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(keys, ["d/1", "d/2", "d/20", "d/3"]);
    assert_eq!(all.remaining, 0);

    let first = Range {
        limit: Some(2),
        ..Range::prefix("d/")
    };
    let first = store.range(first).await.unwrap();
    assert_eq!((first.entries.len(), first.remaining), (2, 2));
    put(store, "d/20", "new").await;
    delete(store, "d/3").await;
    put(store, "d/4", "new").await;
    let second = Range {
        after: Some(first.entries[1].key.clone()),
        revision: Some(first.revision),
        ..Range::prefix("d/")
    };
    let second = store.range(second).await.unwrap();
    let found: Vec<_> = (second.entries.iter())
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect();
    let old = Bytes::from_static(b"old");
    let expected = [("d/20".into(), old.clone()), ("d/3".into(), old)];
    assert_eq!(
        found, expected,
        "a later page is of the revision of the first"
    );
    let future = Range {
        revision: Some(Revision(u64::MAX)),
        ..Range::prefix("d/")
    };
    let error = store.range(future).await.unwrap_err();
    assert!(matches!(error, Error::FutureRevision { .. }));
}

async fn watches_have_no_gap(store: &dyn Store) {
    let before = now(store).await;
    let first = put(store, "e/x", "1").await;
    let second = put(store, "e/x", "2").await;
    let mut watch = store.watch(b"e/", before).await.unwrap();
    let third = put(store, "e/x", "3").await;
    delete(store, "e/x").await;
    for (revision, value, previous) in [
        (first, Some("1"), None),
        (second, Some("2"), Some("1")),
        (third, Some("3"), Some("2")),
        (Revision(third.0 + 1), None, Some("3")),
    ] {
        let changes = next(&mut watch).await.unwrap().unwrap();
        let change = &changes.changes[0];
        assert_eq!(change.revision, revision);
        let text = |entry: &Option<Arc<crate::Entry>>| {
            (entry.as_ref()).map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
        };
        assert_eq!(text(&change.current).as_deref(), value);
        assert_eq!(text(&change.previous).as_deref(), previous);
    }
    let future = store.watch(b"e/", Revision(u64::MAX)).await.unwrap_err();
    assert!(matches!(future, Error::FutureRevision { .. }));
}

async fn watches_follow_a_prefix(store: &dyn Store) {
    let mut watch = store.watch(b"f/1/", now(store).await).await.unwrap();
    for key in ["f/1", "f/10/x", "f/2/x", "f/1/x"] {
        put(store, key, "").await;
    }
    let changes = next(&mut watch).await.unwrap().unwrap();
    assert_eq!(changes.changes[0].key, "f/1/x");
}

async fn compaction_forgets_only_what_was_overwritten(store: &dyn Store) {
    let first = put(store, "g/x", "1").await;
    put(store, "g/gone", "1").await;
    delete(store, "g/gone").await;
    let second = put(store, "g/x", "2").await;
    put(store, "g/x", "3").await;
    store.compact(second).await.unwrap();
    let at = |revision| Range {
        revision: Some(revision),
        ..Range::prefix("g/")
    };
    let error = store.range(at(first)).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { requested, compacted }
            if requested == first && compacted == second));
    let error = store.watch(b"g/", first).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }));
    let error = store.compact(first).await.unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }));
    let kept = store.range(at(second)).await.unwrap();
    assert_eq!(kept.entries.len(), 1);
    assert_eq!(kept.entries[0].value, "2");
    let mut watch = store.watch(b"g/", second).await.unwrap();
    let changes = next(&mut watch).await.unwrap().unwrap();
    assert_eq!(changes.changes[0].current.as_ref().unwrap().value, "3");
    let error = store.compact(Revision(u64::MAX)).await.unwrap_err();
    assert!(matches!(error, Error::FutureRevision { .. }));
}

async fn limits_are_kept(store: &dyn Store) {
    let before = now(store).await;
    let one = |op| Txn {
        compares: vec![],
        ops: vec![op],
    };
    let error = store.txn(one(put_op("", ""))).await.unwrap_err();
    assert!(matches!(error, Error::KeyLength(0)));
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let error = store.txn(one(put_op(&long, ""))).await.unwrap_err();
    assert!(matches!(error, Error::KeyLength(_)));
    let large = "v".repeat(MAX_VALUE_BYTES + 1);
    let error = store.txn(one(put_op("h/x", &large))).await.unwrap_err();
    assert!(matches!(error, Error::ValueLength(_)));
    let twice = Txn {
        compares: vec![],
        ops: vec![put_op("h/x", "1"), delete_op("h/x")],
    };
    let error = store.txn(twice).await.unwrap_err();
    assert!(matches!(error, Error::DuplicateKey));
    let many = |items: usize| {
        let key = |at| format!("h/{at}");
        let absent = |at| Compare {
            key: key(at).into(),
            modified: Revision::ZERO,
        };
        Txn {
            compares: (0..items).map(absent).collect(),
            ops: (0..items).map(|at| put_op(&key(at), "")).collect(),
        }
    };
    let error = store.txn(many(MAX_TXN_ITEMS + 1)).await.unwrap_err();
    assert!(matches!(error, Error::TxnLength(_)));
    let half = "v".repeat(MAX_VALUE_BYTES / 2 + 100_000);
    let large = Txn {
        compares: vec![],
        ops: vec![put_op("h/x", &half), put_op("h/y", &half)],
    };
    let error = store.txn(large).await.unwrap_err();
    assert!(matches!(error, Error::TxnBytes(_)));
    assert_eq!(
        now(store).await,
        before,
        "what breaks a limit writes nothing"
    );
    let most = store.txn(many(MAX_TXN_ITEMS)).await.unwrap();
    assert!(matches!(most, TxnOutcome::Applied(_)), "{most:?}");
    let again = store.txn(many(MAX_TXN_ITEMS)).await.unwrap();
    assert!(matches!(again, TxnOutcome::Conflict(found) if found.len() == MAX_TXN_ITEMS));
    put(
        store,
        &"k".repeat(MAX_KEY_BYTES),
        &"v".repeat(MAX_VALUE_BYTES),
    )
    .await;
}

async fn one_of_many_writers_wins(store: &dyn Store) {
    let attempts =
        (0..32).map(|writer| store.txn(Txn::put_if("i/lock", Revision::ZERO, writer.to_string())));
    let outcomes = futures::future::join_all(attempts).await;
    let winners = (outcomes.into_iter())
        .filter(|outcome| matches!(outcome, Ok(TxnOutcome::Applied(_))))
        .count();
    assert_eq!(winners, 1);
}

async fn now(store: &dyn Store) -> Revision {
    store.revision().await.unwrap()
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    apply(
        store,
        Txn {
            compares: vec![],
            ops: vec![put_op(key, value)],
        },
    )
    .await
}

async fn delete(store: &dyn Store, key: &str) {
    apply(
        store,
        Txn {
            compares: vec![],
            ops: vec![delete_op(key)],
        },
    )
    .await;
}

async fn apply(store: &dyn Store, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Applied(revision) => revision,
        TxnOutcome::Conflict(entries) => panic!("conflict with {entries:?}"),
    }
}

async fn next(watch: &mut Watch) -> Option<Result<crate::Changes, WatchError>> {
    let limit = Duration::from_secs(10);
    (tokio::time::timeout(limit, watch.next()).await).expect("a change within 10 s")
}

fn put_op(key: &str, value: &str) -> Op {
    Op::Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn delete_op(key: &str) -> Op {
    Op::Delete {
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}
