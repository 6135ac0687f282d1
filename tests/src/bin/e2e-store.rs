//! The store on both back ends: the contract, and what it must survive.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use e2e::stores::{crash, full_disk, load::Load, relay::Relay};
use futures::future::BoxFuture;
use store::{
    Error, EtcdLogin, EtcdOptions, EtcdStore, EtcdTls, OpenError, Range, RedbOptions, RedbStore,
    Revision, Store, Txn, TxnOutcome, Watch, WatchError, backup, conformance,
};
use testbed::{Etcd, Testbed};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    child: Option<Child>,
    /// How long members of etcd are killed.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// At how many writes a process is killed.
    #[arg(long, default_value_t = 1000)]
    crash_points: u64,
    /// Only the cases whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What this program is when it starts itself.
#[derive(Subcommand)]
enum Child {
    #[command(hide = true)]
    CrashChild { path: PathBuf, point: u64 },
    #[command(hide = true)]
    FullDiskChild { folder: PathBuf },
}

struct World {
    testbed: Testbed,
    folder: PathBuf,
    arguments: Arguments,
}

type Case = for<'w> fn(&'w World) -> BoxFuture<'w, Result<String>>;

const CASES: &[(&str, Case)] = &[
    ("redb keeps the contract", |world| {
        Box::pin(redb_contract(world))
    }),
    ("redb loses nothing when it is killed", |world| {
        Box::pin(crashes(world))
    }),
    ("redb on a full disk", |world| Box::pin(disk_is_full(world))),
    ("backup of a running store, and restore", |world| {
        Box::pin(backups(world))
    }),
    ("etcd of one member keeps the contract", |world| {
        Box::pin(one_member(world))
    }),
    ("etcd of three members keeps the contract", |world| {
        Box::pin(three_members(world))
    }),
    ("etcd over TLS", |world| Box::pin(tls(world))),
    ("etcd with authentication", |world| {
        Box::pin(authentication(world))
    }),
    ("answers that come in pieces", |world| {
        Box::pin(pieces(world))
    }),
    ("compaction beneath a watch", |world| {
        Box::pin(compaction(world))
    }),
    ("a quiet watch outlives compaction", |world| {
        Box::pin(quiet_watch(world))
    }),
    ("a member that hangs", |world| {
        Box::pin(hanging_member(world))
    }),
    ("a member without a majority", |world| {
        Box::pin(lonely_member(world))
    }),
    ("members are killed under load", |world| {
        Box::pin(killed_members(world))
    }),
];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.child {
        Some(Child::CrashChild { path, point }) => return crash::child(path, *point).await,
        Some(Child::FullDiskChild { folder }) => {
            println!("{}", full_disk::child(folder).await?);
            return Ok(());
        }
        None => {}
    }
    let folder = std::env::current_dir()?.join("target/e2e-store");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let world = World {
        testbed: Testbed::open("e2e-store")?,
        folder,
        arguments,
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !name.contains(&world.arguments.only) {
            continue;
        }
        let started = Instant::now();
        match case(&world).await {
            Ok(said) => {
                passed += 1;
                println!("ok      {name} ({:.1?}): {said}", started.elapsed());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name} ({:.1?}): {error:#}", started.elapsed());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(
        failed == 0,
        "data and logs are in {}",
        world.folder.display()
    );
    ensure!(passed > 0, "no case has such a name");
    Ok(())
}

impl World {
    /// Starts an etcd for one case. Everything about it blocks.
    fn etcd(&self, name: &str, members: usize, tls: bool) -> Result<Etcd> {
        let options = testbed::EtcdOptions { members, tls };
        let start = || self.testbed.etcd(&self.folder.join(name), options);
        Ok(tokio::task::block_in_place(start)?)
    }

    fn redb(&self, name: &str) -> Result<RedbStore> {
        Ok(RedbStore::open(
            &self.folder.join(name),
            RedbOptions::default(),
        )?)
    }
}

async fn open(etcd: &Etcd) -> Result<EtcdStore> {
    Ok(EtcdStore::open(EtcdOptions::new(etcd.endpoints())).await?)
}

/// Stores that begin with different members.
async fn open_each(etcd: &Etcd) -> Result<Vec<Arc<dyn Store>>> {
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

/// Runs the suite in a task of its own, so that its panic is an error here.
async fn check_contract(store: impl Store, slow: impl Store) -> Result<()> {
    let suite = tokio::spawn(async move {
        conformance::check(&store).await;
        conformance::check_slow_watcher(&slow, 400).await;
    });
    suite.await.context("the contract is broken, see above")
}

async fn redb_contract(world: &World) -> Result<String> {
    let options = RedbOptions {
        watch_capacity: 8,
        ..RedbOptions::default()
    };
    let slow = RedbStore::open(&world.folder.join("slow"), options)?;
    check_contract(world.redb("contract")?, slow).await?;
    Ok("every rule".to_owned())
}

async fn crashes(world: &World) -> Result<String> {
    crash::check(&world.folder.join("crashes"), world.arguments.crash_points).await
}

async fn disk_is_full(world: &World) -> Result<String> {
    tokio::task::block_in_place(|| full_disk::check(&world.folder.join("disk")))
}

async fn etcd_contract(etcd: &Etcd) -> Result<String> {
    let slow = EtcdOptions {
        watch_capacity: 8,
        ..EtcdOptions::new(etcd.endpoints())
    };
    check_contract(open(etcd).await?, EtcdStore::open(slow).await?).await?;
    let other = EtcdOptions {
        prefix: "/other".to_owned(),
        ..EtcdOptions::new(etcd.endpoints())
    };
    let other = EtcdStore::open(other).await?;
    let seen = other.range(Range::default()).await?.entries.len();
    ensure!(seen == 0, "a store sees {seen} entries of its neighbour");
    Ok("every rule, and a neighbour under another prefix sees nothing".to_owned())
}

async fn one_member(world: &World) -> Result<String> {
    etcd_contract(&world.etcd("one", 1, false)?).await
}

async fn three_members(world: &World) -> Result<String> {
    etcd_contract(&world.etcd("three", 3, false)?).await
}

async fn backups(world: &World) -> Result<String> {
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
    let moved = EtcdStore::restore(options.clone(), reader()?, false).await?;
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

async fn tls(world: &World) -> Result<String> {
    let etcd = world.etcd("tls", 1, true)?;
    let (certificate, key) = etcd.client_files().context("no certificate")?;
    let read = |path: &PathBuf| std::fs::read_to_string(path);
    let tls = EtcdTls {
        ca: read(&etcd.ca_file().context("no CA")?)?,
        identity: Some((read(&certificate)?, read(&key)?)),
    };
    let options = |tls| EtcdOptions {
        tls: Some(tls),
        request_timeout: Duration::from_secs(2),
        ..EtcdOptions::new(etcd.endpoints())
    };
    check_contract(EtcdStore::open(options(tls.clone())).await?, {
        let mut slow = options(tls.clone());
        slow.watch_capacity = 8;
        EtcdStore::open(slow).await?
    })
    .await?;
    let anonymous = EtcdTls {
        identity: None,
        ..tls.clone()
    };
    let refused = EtcdStore::open(options(anonymous)).await;
    ensure!(refused.is_err(), "let in without a certificate");
    let other = world.folder.join("tls/other.crt");
    let stranger = rcgen::generate_simple_self_signed(vec!["stranger".to_owned()])?;
    std::fs::write(&other, stranger.cert.pem())?;
    let wrong = EtcdTls {
        ca: read(&other)?,
        ..tls
    };
    ensure!(
        EtcdStore::open(options(wrong)).await.is_err(),
        "any CA will do"
    );
    Ok("every rule; refused without a client certificate and under another CA".to_owned())
}

async fn authentication(world: &World) -> Result<String> {
    let etcd = world.etcd("authentication", 1, false)?;
    for words in [
        &["user", "add", "root:admin"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "lariat"],
        &[
            "role",
            "grant-permission",
            "lariat",
            "--prefix=true",
            "readwrite",
            "/lariat/",
        ],
        &["user", "add", "lariat:secret"],
        &["user", "grant-role", "lariat", "lariat"],
        &["auth", "enable"],
    ] {
        etcd.etcdctl(words)?;
    }
    let options = |password: &str, prefix: &str| EtcdOptions {
        prefix: prefix.to_owned(),
        login: Some(EtcdLogin {
            user: "lariat".to_owned(),
            password: password.to_owned(),
        }),
        ..EtcdOptions::new(etcd.endpoints())
    };
    let store = EtcdStore::open(options("secret", "/lariat")).await?;
    let mut watch = store.watch(b"", store.revision().await?).await?;
    put(&store, "a", "1").await?;
    expect(&mut watch, "a").await?;
    for wrong in [options("guess", "/lariat"), options("secret", "/elsewhere")] {
        let refused = EtcdStore::open(wrong).await;
        ensure!(
            matches!(&refused, Err(OpenError::Etcd(Error::Refused(_)))),
            "not refused: {refused:?}"
        );
    }
    // A member that starts again knows no token any more.
    let member = &etcd.members()[0];
    tokio::task::block_in_place(|| {
        member.kill();
        member.start()
    })?;
    eventually(|| put(&store, "b", "2")).await?;
    expect(&mut watch, "b").await?;
    Ok(
        "a user within its prefix; wrong password and other prefix refused; logs in again"
            .to_owned(),
    )
}

/// A watch that begins behind so much that etcd cannot send it in one message.
async fn pieces(world: &World) -> Result<String> {
    const WRITES: usize = 24;
    let etcd = world.etcd("pieces", 1, false)?;
    let store = open(&etcd).await?;
    let from = store.revision().await?;
    let large = "x".repeat(1_000_000);
    for number in 0..WRITES {
        put(&store, &format!("large/{number:02}"), &large).await?;
    }
    let mut watch = store.watch(b"large/", from).await?;
    for number in 0..WRITES {
        expect(&mut watch, &format!("large/{number:02}")).await?;
    }
    let page = store.range(Range::prefix("large/")).await?;
    ensure!(
        page.entries.len() == WRITES,
        "a range has {}",
        page.entries.len()
    );
    Ok(format!("{WRITES} MB of changes, each once and in order"))
}

/// A store whose way to etcd can be cut, and one with a way of its own.
async fn relayed(etcd: &Etcd) -> Result<(EtcdStore, EtcdStore, Relay)> {
    let endpoint = etcd.endpoints().remove(0);
    let address = endpoint.trim_start_matches("http://").parse()?;
    let relay = Relay::start(address).await?;
    let through = EtcdOptions::new(vec![format!("http://{}", relay.address())]);
    Ok((EtcdStore::open(through).await?, open(etcd).await?, relay))
}

async fn compaction(world: &World) -> Result<String> {
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
async fn quiet_watch(world: &World) -> Result<String> {
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

async fn hanging_member(world: &World) -> Result<String> {
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
async fn lonely_member(world: &World) -> Result<String> {
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

async fn killed_members(world: &World) -> Result<String> {
    let etcd = world.etcd("killed", 3, false)?;
    let stores = open_each(&etcd).await?;
    let load = Load::start(&stores, 8).await?;
    let end = Instant::now() + Duration::from_secs(world.arguments.seconds);
    let mut kills = 0;
    while Instant::now() < end {
        let member = &etcd.members()[kills % etcd.members().len()];
        tokio::task::block_in_place(|| {
            member.kill();
            std::thread::sleep(Duration::from_secs(1));
            member.start()?;
            etcd.wait_until_healthy()
        })?;
        kills += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let said = load.finish(&*stores[0]).await?;
    Ok(format!(
        "{kills} kills in {} s; {said}",
        world.arguments.seconds
    ))
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Result<Revision> {
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

async fn delete(store: &dyn Store, key: &str) -> Result<()> {
    let key = key.to_owned().into();
    let txn = Txn {
        ops: vec![store::Op::Delete { key }],
        ..Txn::default()
    };
    store.txn(txn).await?;
    Ok(())
}

async fn next(watch: &mut Watch) -> Result<Result<store::Changes, WatchError>> {
    let next = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    next.context("nothing comes")?
        .context("the watch has ended")
}

/// Waits for a change of that key, which must be the next one.
async fn expect(watch: &mut Watch, key: &str) -> Result<()> {
    let changes = next(watch).await??;
    let found = &changes.changes[0].key;
    ensure!(
        changes.changes.len() == 1 && found == key,
        "{found:?} comes instead of {key}"
    );
    Ok(())
}

/// Tries until it works, for a minute.
async fn eventually<T, F>(mut attempt: impl FnMut() -> F) -> Result<T>
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
