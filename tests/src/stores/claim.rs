//! One process at a time has a store in etcd.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use store::{ClaimError, Error, EtcdOptions, EtcdStore, Store};
use testbed::Etcd;
use tokio::sync::oneshot;

use super::World;
use super::asking::{check_contract, eventually, open, put};

/// Longer than a claim lives that is not renewed.
const LIFE: Duration = Duration::from_secs(18);

/// Who has the store may do all that the contract says, for as long as it runs; who has it no more
/// writes nothing.
pub(super) async fn one_owner(world: &World) -> Result<String> {
    let etcd = world.etcd("claim", 1, false)?;
    let (first, second) = (open(&etcd).await?, open(&etcd).await?);
    let claim = first.claim("first").await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let keeping = tokio::spawn(claim.keep(stopped.map(drop)));
    let begin = Instant::now();
    check_contract(first.clone(), slow(&etcd).await?).await?;
    tokio::time::sleep(LIFE.saturating_sub(begin.elapsed())).await;
    taken(&second, "first").await?;

    drop(stop);
    keeping.await??;
    let ended = second.claim("second").await?;
    taken(&first, "second").await?;
    ensure!(put(&second, "of", "second").await.is_ok(), "not let in");
    for key in ["of", "new"] {
        let error = put(&first, key, "first").await.err().context("let in")?;
        let error = error.downcast_ref::<Error>();
        ensure!(matches!(error, Some(Error::Unavailable)), "{error:?}");
    }
    let of = second.get(b"of").await?.context("gone")?;
    ensure!(of.value == "second", "overwritten: {of:?}");
    ensure!(second.get(b"new").await?.is_none(), "written");

    // As of a process that was killed.
    drop(ended);
    let again = Instant::now();
    eventually(async || Ok(first.claim("first").await?)).await?;
    let waited = again.elapsed();
    put(&first, "of", "first").await?;
    ensure!(put(&second, "of", "second").await.is_err(), "let in");
    Ok(format!(
        "every rule; another one is refused, and let in {waited:.0?} after the end of the first"
    ))
}

async fn taken(store: &EtcdStore, by: &str) -> Result<()> {
    match store.claim("another").await {
        Err(ClaimError::Taken(holder)) if holder == by => Ok(()),
        other => bail!("not claimed by {by}: {other:?}"),
    }
}

async fn slow(etcd: &Etcd) -> Result<EtcdStore> {
    let options = EtcdOptions {
        watch_capacity: 8,
        ..EtcdOptions::new(etcd.endpoints())
    };
    Ok(EtcdStore::open(options).await?)
}
