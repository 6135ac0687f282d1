//! What the cases ask of stores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use store::{
    EtcdOptions, EtcdStore, Revision, Store, Txn, TxnOutcome, Watch, WatchError, conformance,
};
use testbed::Etcd;

/// Runs the suite in a task of its own, so that its panic is an error here.
pub(super) async fn check_contract(store: impl Store, slow: impl Store) -> Result<()> {
    let suite = tokio::spawn(async move {
        conformance::check(&store).await;
        conformance::check_slow_watcher(&slow, 400).await;
    });
    suite.await.context("the contract is broken, see above")
}

pub(super) async fn open(etcd: &Etcd) -> Result<EtcdStore> {
    Ok(EtcdStore::open(EtcdOptions::new(etcd.endpoints())).await?)
}

/// Stores that begin with different members.
pub(super) async fn open_each(etcd: &Etcd) -> Result<Vec<Arc<dyn Store>>> {
    let mut endpoints = etcd.endpoints();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..endpoints.len() {
        stores.push(Arc::new(
            EtcdStore::open(EtcdOptions::new(endpoints.clone())).await?,
        ));
        endpoints.rotate_left(1);
    }
    Ok(stores)
}

pub(super) async fn put(store: &dyn Store, key: &str, value: &str) -> Result<Revision> {
    let txn = Txn {
        ops: vec![store::Op::Put {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
        }],
        ..Txn::default()
    };
    match store.txn(txn).await? {
        TxnOutcome::Applied(revision) => Ok(revision),
        TxnOutcome::Conflict(_) => bail!("a conflict without a comparison"),
    }
}

pub(super) async fn delete(store: &dyn Store, key: &str) -> Result<()> {
    let key = key.to_owned().into();
    let txn = Txn {
        ops: vec![store::Op::Delete { key }],
        ..Txn::default()
    };
    store.txn(txn).await?;
    Ok(())
}

pub(super) async fn next(watch: &mut Watch) -> Result<Result<store::Changes, WatchError>> {
    let next = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    next.context("nothing comes")?
        .context("the watch has ended")
}

/// Waits for a change of that key, which must be the next one.
pub(super) async fn expect(watch: &mut Watch, key: &str) -> Result<()> {
    let changes = next(watch).await??;
    let found = &changes.changes[0].key;
    ensure!(
        changes.changes.len() == 1 && found == key,
        "{found:?} comes instead of {key}"
    );
    Ok(())
}

/// Tries until it works, for a minute.
pub(super) async fn eventually<T, F>(mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Err(_) if Instant::now() < end => tokio::time::sleep(Duration::from_millis(100)).await,
            result => return result,
        }
    }
}
