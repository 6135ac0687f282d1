//! Random histories against a model that keeps a copy of everything at every revision.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use store::{
    Change, Compare, Error, Op, Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome,
};

#[derive(Clone, Debug)]
enum Step {
    /// Compare some key with its revision (or not), then write.
    Txn {
        compare: Option<(u8, bool)>,
        ops: Vec<(u8, Option<u8>)>,
    },
    /// Compact this many revisions before now.
    Compact {
        behind: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0..6u8, prop::option::of(any::<u8>()));
    let ops = prop::collection::vec(op, 0..4);
    let txn = (prop::option::of((0..6u8, any::<bool>())), ops)
        .prop_map(|(compare, ops)| Step::Txn { compare, ops });
    prop_oneof![
        12 => txn,
        2 => (0..6u64).prop_map(|behind| Step::Compact { behind }),
        1 => Just(Step::Reopen),
    ]
}

type Snapshot = BTreeMap<Bytes, (Bytes, u64)>;

/// What the store must look like: `snapshots[revision]`.
struct Model {
    snapshots: Vec<Snapshot>,
    compacted: u64,
}

impl Model {
    fn revision(&self) -> u64 {
        self.snapshots.len() as u64 - 1
    }

    fn latest(&self) -> &Snapshot {
        self.snapshots.last().unwrap()
    }

    fn apply(&mut self, ops: &[Op]) {
        let mut next = self.latest().clone();
        let revision = self.revision() + 1;
        for op in ops {
            match op {
                Op::Put { key, value } => {
                    next.insert(key.clone(), (value.clone(), revision));
                }
                Op::Delete { key } => {
                    next.remove(key);
                }
            }
        }
        if next != *self.latest() {
            self.snapshots.push(next);
        }
    }
}

fn key(number: u8) -> Bytes {
    // Two prefixes, one of which is a prefix of the other as text.
    Bytes::from(format!(
        "{}/{number}",
        if number.is_multiple_of(2) { "a" } else { "a/b" }
    ))
}

fn open(path: &std::path::Path) -> RedbStore {
    RedbStore::open(path, RedbOptions::default()).unwrap()
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = open(&path);
    let mut model = Model {
        snapshots: vec![Snapshot::new()],
        compacted: 0,
    };
    for step in steps {
        match step {
            Step::Txn { compare, ops } => write(&store, &mut model, compare, ops).await,
            Step::Compact { behind } => {
                let revision = model.revision().saturating_sub(behind);
                let result = store.compact(Revision(revision)).await;
                assert_eq!(result.is_ok(), revision >= model.compacted);
                model.compacted = model.compacted.max(revision);
            }
            Step::Reopen => {
                drop(store);
                store = open(&path);
            }
        }
        verify_ranges(&store, &model).await;
    }
    verify_watches(&store, &model).await;
}

async fn write(
    store: &RedbStore,
    model: &mut Model,
    compare: Option<(u8, bool)>,
    ops: Vec<(u8, Option<u8>)>,
) {
    let ops: BTreeMap<_, _> = ops.into_iter().collect();
    let ops: Vec<_> = (ops.into_iter())
        .map(|(number, value)| match value {
            Some(value) => Op::Put {
                key: key(number),
                value: vec![value].into(),
            },
            None => Op::Delete { key: key(number) },
        })
        .collect();
    let compare = compare.map(|(number, right)| {
        let actual = model
            .latest()
            .get(&key(number))
            .map_or(0, |(_, modified)| *modified);
        let modified = Revision(if right { actual } else { actual + 1 });
        (
            right,
            Compare {
                key: key(number),
                modified,
            },
        )
    });
    let holds = compare.as_ref().is_none_or(|(right, _)| *right);
    let compares = compare.into_iter().map(|(_, compare)| compare).collect();
    let outcome = store
        .txn(Txn {
            compares,
            ops: ops.clone(),
        })
        .await
        .unwrap();
    if holds {
        model.apply(&ops);
        assert_eq!(outcome, TxnOutcome::Applied(Revision(model.revision())));
    } else {
        assert!(matches!(outcome, TxnOutcome::Conflict(_)));
    }
}

async fn verify_ranges(store: &RedbStore, model: &Model) {
    for revision in 0..=model.revision() {
        let range = Range {
            revision: Some(Revision(revision)),
            ..Range::prefix("a/b/")
        };
        let page = store.range(range).await;
        if revision < model.compacted {
            assert!(matches!(page, Err(Error::Compacted { .. })));
            continue;
        }
        let found: Snapshot = (page.unwrap().entries.iter())
            .map(|entry| (entry.key.clone(), (entry.value.clone(), entry.modified.0)))
            .collect();
        let mut expected = model.snapshots[revision as usize].clone();
        expected.retain(|key, _| key.starts_with(b"a/b/"));
        assert_eq!(found, expected);
    }
}

/// Replaying a watch from any kept revision leads to what there is now.
async fn verify_watches(store: &RedbStore, model: &Model) {
    for after in model.compacted..=model.revision() {
        let mut watch = store.watch(b"", Revision(after)).await.unwrap();
        let mut state = model.snapshots[after as usize].clone();
        for revision in after + 1..=model.revision() {
            let changes = watch.next().await.unwrap().unwrap();
            assert_eq!(changes.revision, Revision(revision));
            for change in &changes.changes {
                replay(&mut state, change);
            }
            assert_eq!(state, model.snapshots[revision as usize]);
        }
    }
}

fn replay(state: &mut Snapshot, change: &Change) {
    let previous = match &change.current {
        Some(entry) => state.insert(change.key.clone(), (entry.value.clone(), entry.modified.0)),
        None => state.remove(&change.key),
    };
    let told = change
        .previous
        .as_ref()
        .map(|entry| (entry.value.clone(), entry.modified.0));
    assert_eq!(told, previous);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_store_is_its_history(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps));
    }
}
