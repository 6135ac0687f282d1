//! The power goes at some write to the disk, and what was not synced is there in part or not at
//! all; whatever was acknowledged is there afterwards.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use redb::{Database, DatabaseError, StorageBackend};
use store::{Error, Op, Range, RedbOptions, RedbStore, Revision, Store, Txn, TxnOutcome};

/// How many cuts of the power each test plays.
const CUTS: u64 = 250;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk in memory that knows what is synced.
#[derive(Debug)]
struct Disk {
    /// What is read: everything written.
    shown: Vec<u8>,
    /// What survives for certain.
    synced: Vec<u8>,
    /// Written since.
    unsynced: Vec<Write>,
    /// How many operations are left until the power goes.
    left: u64,
    /// How many bytes it may have.
    room: usize,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Write {
    fn apply(&self, disk: &mut Vec<u8>) {
        match self {
            Self::Length(length) => disk.resize(*length, 0),
            Self::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if disk.len() < end {
                    disk.resize(end, 0);
                }
                disk[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    fn new() -> Self {
        Self {
            shown: Vec::new(),
            synced: Vec::new(),
            unsynced: Vec::new(),
            left: u64::MAX,
            room: usize::MAX,
        }
    }

    fn step(&mut self) -> io::Result<()> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    fn write(&mut self, write: Write) -> io::Result<()> {
        let end = match &write {
            Write::Bytes(offset, bytes) => offset + bytes.len(),
            Write::Length(length) => *length,
        };
        if end > self.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // The one during which the power goes is among those that may be there in part.
        let applied = write.clone();
        self.unsynced.push(write);
        self.step()?;
        applied.apply(&mut self.shown);
        Ok(())
    }

    /// What is on it when the power is back: of what was not synced some, in part, in any order
    /// that a disk may choose.
    fn after_power_loss(&self, random: &mut TestRng) -> Self {
        let mut disk = self.synced.clone();
        let mut unsynced = self.unsynced.clone();
        for last in (1..unsynced.len()).rev() {
            if random.next_u32().is_multiple_of(4) {
                unsynced.swap(last, random.next_u32() as usize % (last + 1));
            }
        }
        for write in unsynced {
            match (random.next_u32() % 3, write) {
                (0, _) => {}
                (1, Write::Bytes(offset, mut bytes)) => {
                    let sectors = bytes.len().div_ceil(SECTOR);
                    let kept = random.next_u32() as usize % (sectors + 1) * SECTOR;
                    bytes.truncate(kept);
                    Write::Bytes(offset, bytes).apply(&mut disk);
                }
                (_, write) => write.apply(&mut disk),
            }
        }
        Self {
            shown: disk.clone(),
            synced: disk,
            ..Self::new()
        }
    }
}

#[derive(Clone, Debug)]
struct Backend(Arc<Mutex<Disk>>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let offset = offset as usize;
        let found = disk.shown.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().write(Write::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        disk.synced = disk.shown.clone();
        disk.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = Write::Bytes(offset as usize, data.to_vec());
        self.0.lock().unwrap().write(write)
    }
}

fn open(disk: &Arc<Mutex<Disk>>) -> Result<RedbStore, store::OpenError> {
    let disk = Arc::clone(disk);
    let opener = move || -> Result<Database, DatabaseError> {
        Database::builder().create_with_backend(Backend(Arc::clone(&disk)))
    };
    // A little history, so that there are compactions among the writes.
    let options = RedbOptions {
        keep_revisions: 5,
        ..RedbOptions::default()
    };
    RedbStore::open_with(Path::new("disk"), opener, options)
}

fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

type Content = BTreeMap<Bytes, Bytes>;

async fn content(store: &RedbStore) -> Content {
    let page = store.range(Range::default()).await.unwrap();
    let entries = page.entries.iter();
    entries
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect()
}

/// A transaction of a few puts and deletes.
fn transaction(random: &mut TestRng) -> Txn {
    let mut ops = BTreeMap::new();
    for _ in 0..=random.next_u32() % 3 {
        let key = Bytes::from(format!("key/{}", random.next_u32() % 12));
        let op = if random.next_u32().is_multiple_of(4) {
            Op::Delete { key: key.clone() }
        } else {
            let value = vec![random.next_u32() as u8; random.next_u32() as usize % 3000];
            Op::Put {
                key: key.clone(),
                value: value.into(),
            }
        };
        ops.insert(key, op);
    }
    Txn {
        compares: Vec::new(),
        ops: ops.into_values().collect(),
    }
}

fn apply(content: &mut Content, txn: &Txn) {
    for op in &txn.ops {
        match op {
            Op::Put { key, value } => content.insert(key.clone(), value.clone()),
            Op::Delete { key } => content.remove(key),
        };
    }
}

/// Writes until the power goes. What is acknowledged, and what was on its way.
async fn write_until_dark(store: &RedbStore, random: &mut TestRng, known: Content) -> [Content; 2] {
    let mut acknowledged = known;
    loop {
        let txn = transaction(random);
        let mut next = acknowledged.clone();
        apply(&mut next, &txn);
        match store.txn(txn).await {
            Ok(TxnOutcome::Applied(_)) => acknowledged = next,
            Ok(TxnOutcome::Conflict(_)) => unreachable!("nothing is compared"),
            Err(Error::Write(_)) => return [acknowledged, next],
            Err(error) => panic!("{error}"),
        }
    }
}

/// The disk of a store that was dropped, when its writer has let go of it.
fn closed(mut disk: Arc<Mutex<Disk>>) -> Disk {
    loop {
        match Arc::try_unwrap(disk) {
            Ok(disk) => return disk.into_inner().unwrap(),
            Err(still_open) => disk = still_open,
        }
        std::thread::yield_now();
    }
}

async fn cut_the_power(seed: u64) {
    let mut random = random(seed);
    // An empty store is made aside and gets its name when it is whole.
    let made = Arc::new(Mutex::new(Disk::new()));
    drop(open(&made).unwrap());
    let mut disk = closed(made);
    let mut possible = [Content::new(), Content::new()];
    // The same disk goes dark several times, also while it is opened.
    for _ in 0..3 {
        disk.left = u64::from(1 + random.next_u32() % 120);
        let shared = Arc::new(Mutex::new(disk));
        if let Ok(store) = open(&shared) {
            let found = content(&store).await;
            assert!(
                possible.contains(&found),
                "seed {seed}: lost or half written"
            );
            possible = write_until_dark(&store, &mut random, found).await;
        }
        disk = closed(shared).after_power_loss(&mut random);
    }
    let shared = Arc::new(Mutex::new(disk));
    let store = open(&shared).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let found = content(&store).await;
    assert!(
        possible.contains(&found),
        "seed {seed}: lost or half written"
    );
    let written = store.txn(transaction(&mut random)).await;
    assert!(written.is_ok(), "seed {seed}: it does not go on");
}

async fn cut_the_power_often(part: u64) {
    for seed in part * CUTS..(part + 1) * CUTS {
        cut_the_power(seed).await;
    }
}

// Four tests, so that they run beside each other.

#[tokio::test]
async fn nothing_acknowledged_is_lost_part_1() {
    cut_the_power_often(0).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_part_2() {
    cut_the_power_often(1).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_part_3() {
    cut_the_power_often(2).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_part_4() {
    cut_the_power_often(3).await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = Arc::new(Mutex::new(Disk::new()));
    let store = open(&disk).unwrap();
    let mut watch = store.watch(b"", Revision::ZERO).await.unwrap();
    let put = |number: u32| {
        let key = format!("key/{number}");
        store.txn(Txn::put_if(key, Revision::ZERO, vec![7; 20_000]))
    };
    {
        let mut disk = disk.lock().unwrap();
        disk.room = disk.shown.len();
    }
    let mut acknowledged = 0;
    let error = loop {
        match put(acknowledged).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "cannot write to the store");
    assert!(put(1000).await.is_err(), "it is still full");
    assert_eq!(content(&store).await.len(), acknowledged as usize);
    disk.lock().unwrap().room = usize::MAX;
    assert!(matches!(put(1001).await, Ok(TxnOutcome::Applied(_))));
    assert_eq!(content(&store).await.len(), acknowledged as usize + 1);
    let mut seen = Revision::ZERO;
    while seen < store.revision().await.unwrap() {
        let changes = watch.next().await.unwrap().unwrap();
        assert_eq!(changes.revision.0, seen.0 + 1, "the watch has no gap");
        seen = changes.revision;
    }
}

#[tokio::test]
async fn a_store_that_was_replaced_while_its_disk_was_full_is_not_written_to() {
    let disk = Arc::new(Mutex::new(Disk::new()));
    let store = open(&disk).unwrap();
    let put = |key: &'static str| store.txn(Txn::put_if(key, Revision::ZERO, "1"));
    put("a").await.unwrap();
    disk.lock().unwrap().room = 0;
    assert!(matches!(put("b").await, Err(Error::Write(_))));
    *disk.lock().unwrap() = Disk::new();
    assert!(matches!(put("b").await, Err(Error::Write(_))));
    assert!(matches!(put("b").await, Err(Error::Write(_))));
    assert_eq!(content(&store).await.len(), 1, "it can still be read");
}

#[tokio::test]
async fn after_another_fault_nothing_is_written_any_more() {
    let disk = Arc::new(Mutex::new(Disk::new()));
    let store = open(&disk).unwrap();
    store
        .txn(Txn::put_if("a", Revision::ZERO, "1"))
        .await
        .unwrap();
    disk.lock().unwrap().left = 2;
    let put = || store.txn(Txn::put_if("b", Revision::ZERO, "1"));
    assert!(matches!(put().await, Err(Error::Write(_))));
    disk.lock().unwrap().left = u64::MAX;
    assert!(
        matches!(put().await, Err(Error::Write(_))),
        "only opening it again helps"
    );
    assert_eq!(content(&store).await.len(), 1, "it can still be read");
}
