//! What goes wrong around an etcd while it is used.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use store::{Error, EtcdOptions, EtcdStore, Range, Store, WatchError};
use testbed::Etcd;

use super::World;
use super::asking::{delete, eventually, expect, next, open, open_each, put};
use super::load::Load;
use super::relay::Relay;

pub(super) async fn compaction(world: &World) -> Result<String> {
    let etcd = world.etcd("compaction", 1, false)?;
    let (store, other, relay) = relayed(&etcd).await?;
    let mut watch = store.watch(b"", store.revision().await?).await?;
    put(&other, "a", "1").await?;
    expect(&mut watch, "a").await?;
    // Cut off and back: nothing is missing and nothing comes twice.
    relay.cut();
    put(&other, "b", "1").await?;
    let seen = put(&other, "c", "1").await?;
    relay.heal();
    expect(&mut watch, "b").await?;
    expect(&mut watch, "c").await?;
    // Cut off while the history goes away.
    relay.cut();
    put(&other, "d", "1").await?;
    delete(&other, "d").await?;
    other.compact(other.revision().await?).await?;
    relay.heal();
    let end = next(&mut watch).await?;
    ensure!(end == Err(WatchError::Lagged), "the watch goes on: {end:?}");
    let again = eventually(|| async {
        match store.watch(b"", seen).await {
            Err(Error::Unavailable) => bail!("not there"),
            other => Ok(other),
        }
    });
    let again = again.await?;
    ensure!(
        matches!(again, Err(Error::Compacted { .. })),
        "an old watch begins: {again:?}"
    );
    Ok("resumed without a gap; cut off when what it missed was compacted".to_owned())
}

/// What a watch does not ask for moves on; its own revision must, too.
pub(super) async fn quiet_watch(world: &World) -> Result<String> {
    let etcd = world.etcd("quiet", 1, false)?;
    let (store, other, relay) = relayed(&etcd).await?;
    let mut watch = store.watch(b"quiet/", store.revision().await?).await?;
    for number in 0..10 {
        put(&other, &format!("loud/{number}"), "1").await?;
    }
    // Long enough for the watch to ask how far it is.
    ensure!(
        tokio::time::timeout(Duration::from_secs(15), watch.next())
            .await
            .is_err(),
        "the watch is not quiet"
    );
    other.compact(other.revision().await?).await?;
    relay.cut();
    put(&other, "quiet/a", "1").await?;
    relay.heal();
    expect(&mut watch, "quiet/a").await?;
    Ok("it knew how far it was, and went on where it had been".to_owned())
}

/// A store whose way to etcd can be cut, and one with a way of its own.
async fn relayed(etcd: &Etcd) -> Result<(EtcdStore, EtcdStore, Relay)> {
    let endpoint = etcd.endpoints().remove(0);
    let address = endpoint.trim_start_matches("http://").parse()?;
    let relay = Relay::start(address).await?;
    let through = EtcdOptions::new(vec![format!("http://{}", relay.address())]);
    Ok((EtcdStore::open(through).await?, open(etcd).await?, relay))
}

pub(super) async fn hanging_member(world: &World) -> Result<String> {
    let etcd = world.etcd("hanging", 3, false)?;
    let stores = open_each(&etcd).await?;
    let load = Load::start(&stores, 6).await?;
    for member in etcd.members() {
        member.pause()?;
        eventually(|| put(&*stores[0], "meanwhile", "1")).await?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        member.resume()?;
        tokio::task::block_in_place(|| etcd.wait_until_healthy())?;
    }
    load.finish(&*stores[0]).await
}

/// Its clients still reach it, but it reaches no other member: they must find out.
pub(super) async fn lonely_member(world: &World) -> Result<String> {
    let etcd = world.etcd("lonely", 3, false)?;
    let stores = open_each(&etcd).await?;
    let load = Load::start(&stores, 6).await?;
    for (number, member) in etcd.members().iter().enumerate() {
        let revision = stores[number].revision().await?;
        member.cut_off()?;
        // Nobody has told the store yet; at a revision that it has, the member still answers.
        let then = Range {
            revision: Some(revision),
            ..Range::prefix("load/")
        };
        stores[number]
            .range(then)
            .await
            .context("reading what the lonely member has")?;
        eventually(|| put(&*stores[number], "meanwhile", "1")).await?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        member.heal()?;
        tokio::task::block_in_place(|| etcd.wait_until_healthy())?;
    }
    load.finish(&*stores[0]).await
}

pub(super) async fn killed_members(world: &World) -> Result<String> {
    let etcd = world.etcd("killed", 3, false)?;
    let stores = open_each(&etcd).await?;
    let load = Load::start(&stores, 8).await?;
    let end = Instant::now() + Duration::from_secs(world.seconds);
    let mut kills = 0;
    while Instant::now() < end {
        let member = &etcd.members()[kills % etcd.members().len()];
        tokio::task::block_in_place(|| member.kill());
        // Two members go on meanwhile.
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| {
            member.start()?;
            etcd.wait_until_healthy()
        })?;
        kills += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let said = load.finish(&*stores[0]).await?;
    Ok(format!("{kills} kills in {} s; {said}", world.seconds))
}
