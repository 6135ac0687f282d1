//! The keys that seal secrets, changed beneath a server that runs, is killed, or has lost them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde_json::json;
use store::{RedbOptions, RedbStore, Store, Txn};

use super::World;
use super::server::{is_in, run, run_in};
use crate::lariat::{Api, Server, ServerOptions, binary};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
/// In base64, as it is in a Secret: nothing else has it.
const SECRET: &str = "bm9ib2R5LW1heS1yZWFkLXRoaXMtb24tZGlzaw==";

/// How many secrets are sealed again.
const COUNT: usize = 1000;

/// How often the server is killed while it seals them.
const KILLS: u32 = 5;

/// Longer than an old key is kept.
const PRUNING: Duration = Duration::from_secs(90);

/// Secrets are written while keys change and the server is killed; nothing is lost, and nothing is on
/// disk in the clear.
pub(super) async fn rotation(world: &World) -> Result<String> {
    let folder = world.folder.join("keys");
    let mut server = Server::start(&world.testbed, ServerOptions::loopback(&folder)).await?;
    let api = server.api().await?;
    let made = stream::iter(0..COUNT).map(|number| put(&api, format!("s-{number}")));
    made.buffer_unordered(16).try_collect::<Vec<_>>().await?;
    let mut cut_short = 0;
    for kill in 1..=KILLS {
        let mut rotating = Command::new(binary("lariat-server")?)
            .args(["keys", "rotate", "--data-dir"])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::time::sleep(Duration::from_millis(40 * u64::from(kill))).await;
        server.kill();
        cut_short += u32::from(!rotating.wait()?.success());
        server.restart().await?;
        check_all(&server.api().await?).await?;
    }
    ensure!(cut_short > 0, "no change of keys was cut short");

    let api = server.api().await?;
    let writing = Arc::new(AtomicBool::new(true));
    let writer = tokio::spawn(write_on(api.clone(), Arc::clone(&writing)));
    let started = Instant::now();
    let said = run(&server, &["keys", "rotate"], &[])?;
    let took = started.elapsed();
    writing.store(false, Ordering::Relaxed);
    let written = writer.await??;
    ensure!(said.contains("seals what is written from now on"), "{said}");
    check_all(&api).await?;

    let early = run(&server, &["keys", "prune"], &[]);
    let early = early.unwrap_or_else(|error| error.to_string());
    ensure!(
        early.contains("may still be in use"),
        "pruned at once: {early}"
    );
    let pruned = prune(&server).await?;
    let listed = run(&server, &["keys", "list"], &[])?;
    ensure!(listed.lines().count() == 2, "one key is left: {listed}");
    server.kill();
    let file = folder.join("data/store.redb");
    ensure!(!is_in(&file, SECRET)?, "a secret is on disk in the clear");
    server.restart().await?;
    check_all(&server.api().await?).await?;
    Ok(format!(
        "{COUNT} secrets; {cut_short} of {KILLS} changes of keys cut short by SIGKILL; a whole one in \
         {took:.1?} beside {written} writes; {pruned} old keys removed"
    ))
}

/// What cannot be opened is named, harms nothing else, and is deleted only when somebody says so.
pub(super) async fn faults(world: &World) -> Result<String> {
    let folder = world.folder.join("keys-faults");
    let data = folder.join("data");
    let mut server = Server::start(&world.testbed, ServerOptions::loopback(&folder)).await?;
    let api = server.api().await?;
    for name in ["a", "b", "c"] {
        put(&api, name.to_owned()).await?;
    }
    server.kill();
    swap(&data.join("store.redb")).await?;
    server.restart().await?;
    let api = server.api().await?;
    let error = api.call(Method::GET, &format!("{SECRETS}/b"), None).await;
    let error = error.map_or_else(|error| format!("{error:#}"), |found| found.to_string());
    ensure!(
        error.contains("secrets/default/b cannot be opened"),
        "{error}"
    );
    ensure!(names(&api).await? == ["a", "c"], "others are not readable");
    let log = std::fs::read_to_string(server.log())?;
    let named =
        |line: &str| line.contains("cannot be opened") && line.contains("secrets/default/b");
    ensure!(log.lines().any(named), "the log does not name it");
    let listed = run(&server, &["keys", "list"], &[])?;
    ensure!(
        listed.contains("secrets/default/b cannot be opened"),
        "{listed}"
    );
    server.kill();

    let (ring, away) = (data.join("encryption.keys"), data.join("away"));
    std::fs::rename(&ring, &away)?;
    let missing = refused(&mut server).await?;
    ensure!(
        missing.contains("does not have"),
        "without a key ring: {missing}"
    );
    ensure!(!ring.exists(), "a new key ring is made over a lost one");
    let listed = run_in(&data, &["keys", "list"], &[])?;
    ensure!(listed.contains("NOT IN THE KEY RING"), "{listed}");
    std::fs::write(&ring, format!("{}=\n", "A".repeat(43)))?;
    let wrong = refused(&mut server).await?;
    ensure!(
        wrong.contains("Put the key ring back"),
        "with another key ring: {wrong}"
    );
    std::fs::rename(&away, &ring)?;

    server.restart().await?;
    let discarded = run(&server, &["keys", "discard", "--yes"], &[])?;
    ensure!(discarded.contains("1 secrets were deleted"), "{discarded}");
    let api = server.api().await?;
    ensure!(names(&api).await? == ["a", "c"], "others are gone");
    put(&api, "b".to_owned()).await?;
    Ok("named by the API, the log and the command; no start without the right key ring".to_owned())
}

async fn put(api: &Api, name: String) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"it": SECRET},
    });
    api.call(Method::POST, SECRETS, Some(&secret)).await?;
    Ok(())
}

/// Replaces secrets until told to stop. Returns how many.
async fn write_on(api: Api, go_on: Arc<AtomicBool>) -> Result<usize> {
    let mut written = 0;
    while go_on.load(Ordering::Relaxed) {
        let path = format!("{SECRETS}/s-{}", written % COUNT);
        let mut secret = api.call(Method::GET, &path, None).await?;
        secret["metadata"]["labels"]["n"] = written.to_string().into();
        match api.call(Method::PUT, &path, Some(&secret)).await {
            Ok(_) => written += 1,
            // It was sealed again between its reading and its writing.
            Err(error) if format!("{error:#}").contains("Conflict") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

async fn check_all(api: &Api) -> Result<()> {
    let list = api.call(Method::GET, SECRETS, None).await?;
    let items = list["items"].as_array().context("no list")?;
    ensure!(items.len() == COUNT, "{} of {COUNT} secrets", items.len());
    for item in items {
        ensure!(item["data"]["it"] == SECRET, "another secret: {item}");
    }
    Ok(())
}

async fn names(api: &Api) -> Result<Vec<String>> {
    let list = api.call(Method::GET, SECRETS, None).await?;
    let items = list["items"].as_array().context("no list")?;
    let name = |item: &serde_json::Value| item["metadata"]["name"].as_str().map(str::to_owned);
    Ok(items.iter().filter_map(name).collect())
}

/// Prunes as soon as it is let. Returns how many keys are removed.
async fn prune(server: &Server<'_>) -> Result<usize> {
    let started = Instant::now();
    loop {
        match run(server, &["keys", "prune"], &[]) {
            Ok(said) => {
                return Ok(said
                    .lines()
                    .filter(|line| line.contains("is removed"))
                    .count());
            }
            Err(error) if started.elapsed() > PRUNING => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Puts the value of one secret under the name of another.
async fn swap(path: &Path) -> Result<()> {
    let prefix = "/registry/core/secrets/default";
    let store = RedbStore::open(path, RedbOptions::default())?;
    let get = async |name: &str| {
        let key = format!("{prefix}/{name}");
        store.get(key.as_bytes()).await?.context("no such secret")
    };
    let (from, to) = (get("a").await?, get("b").await?);
    store
        .txn(Txn::put_if(to.key, to.modified, from.value))
        .await?;
    Ok(())
}

/// What a server says that must not start.
async fn refused(server: &mut Server<'_>) -> Result<String> {
    match server.restart().await {
        Ok(()) => bail!("the server has started"),
        Err(error) => Ok(format!("{error:#}")),
    }
}
