//! The store in a file: the contract, crashes, a full disk, backups.

use std::sync::Arc;

use anyhow::{Result, ensure};
use store::{
    Error, EtcdOptions, EtcdStore, OpenError, Range, RedbOptions, RedbStore, Revision, Store,
    backup,
};

use super::asking::check_contract;
use super::load::Load;
use super::{World, crash, full_disk};

pub(super) async fn redb_contract(world: &World) -> Result<String> {
    let options = RedbOptions {
        watch_capacity: 8,
        ..RedbOptions::default()
    };
    let slow = RedbStore::open(&world.folder.join("slow"), options)?;
    check_contract(world.redb("contract")?, slow).await?;
    Ok("every rule".to_owned())
}

pub(super) async fn crashes(world: &World) -> Result<String> {
    crash::check(&world.folder.join("crashes"), world.crash_points).await
}

pub(super) async fn disk_is_full(world: &World) -> Result<String> {
    tokio::task::block_in_place(|| full_disk::check(&world.folder.join("disk")))
}

pub(super) async fn backups(world: &World) -> Result<String> {
    let store: Arc<dyn Store> = Arc::new(world.redb("running")?);
    let load = Load::start(std::slice::from_ref(&store), 4).await?;
    while store.revision().await? < Revision(2000) {
        tokio::task::yield_now().await;
    }
    let file = world.folder.join("backup");
    let before = store.revision().await?;
    let summary = backup::write(&*store, tokio::fs::File::create(&file).await?).await?;
    let after = store.revision().await?;
    ensure!(
        (before..=after).contains(&summary.revision),
        "taken at {}",
        summary.revision
    );
    load.finish(&*store).await?;
    ensure!(
        backup::verify(std::fs::File::open(&file)?)? == summary,
        "it reads otherwise"
    );

    let reader = || -> Result<_> { Ok(backup::Reader::new(std::fs::File::open(&file)?)?) };
    let then = Range {
        revision: Some(summary.revision),
        ..Range::default()
    };
    let expected = store.range(then).await?.entries;
    let path = world.folder.join("restored");
    let restored = RedbStore::restore(&path, reader()?, false)?;
    let again = RedbStore::restore(&path, reader()?, false);
    ensure!(
        matches!(again, Err(OpenError::Exists(_))),
        "overwritten without being told"
    );
    let copy = world.redb("restored")?;
    ensure!(
        copy.range(Range::default()).await?.entries == expected,
        "redb holds something else"
    );
    ensure!(
        restored.revision > store.revision().await?,
        "revisions do not go on rising"
    );

    let etcd = world.etcd("moved", 1, false)?;
    let options = EtcdOptions::new(etcd.endpoints());
    let (moved, _) = EtcdStore::restore(options.clone(), reader()?, false).await?;
    let content = |entries: &[Arc<store::Entry>]| -> Vec<_> {
        entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()))
            .collect()
    };
    let found = moved.range(Range::default()).await?;
    ensure!(
        content(&found.entries) == content(&expected),
        "etcd holds something else"
    );
    ensure!(
        found.revision > store.revision().await?,
        "revisions do not go on rising in etcd"
    );
    let old = moved.watch(b"", summary.revision).await;
    ensure!(
        matches!(old, Err(Error::Compacted { .. })),
        "an old watch goes on: {old:?}"
    );
    let again = EtcdStore::restore(options.clone(), reader()?, false).await;
    ensure!(
        matches!(again, Err(OpenError::Exists(_))),
        "overwritten without being told"
    );
    EtcdStore::restore(options.clone(), reader()?, true).await?;
    let opened = EtcdStore::open(options).await?;
    ensure!(opened.revision().await? > found.revision, "revisions fell");
    Ok(format!(
        "{} entries at revision {}, while {} writes went on; back in redb and moved to etcd",
        summary.entries,
        summary.revision,
        after.0 - before.0
    ))
}
