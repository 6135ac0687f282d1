//! The server with its store in an etcd of three members, over TLS.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::Etcd;

use super::World;
use super::asking::eventually;
use super::kubectls::Kubectls;
use super::server::{is_in, run};
use crate::lariat::{Api, Server, ServerOptions, binary};

const NAMESPACES: &str = "/api/v1/namespaces";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1";
const SECRET: &str = "nobody-may-read-this-in-etcd";

/// How long all members are away.
const AWAY: Duration = Duration::from_secs(20);

/// How long the server may take to be as it was after a member, or all of them, were away.
const RECOVERY: Duration = Duration::from_secs(15);

/// kubectl in a loop while a member is killed, and then all of them for a while; then everything that
/// follows the store must still follow it.
pub(super) async fn outages(world: &World) -> Result<String> {
    let etcd = world.etcd("outages", 3, true)?;
    let folder = world.folder.join("outages-server");
    let server = start(world, &etcd, folder.clone(), "/e2e").await?;
    let pid = server.pid();
    let api = server.api().await?;
    put_secret(&api, "before").await?;
    let refused = second_server(&server, world, &etcd).await?;

    let kubectl = Kubectls::start(&server, &api, &folder)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let lost_one = Instant::now();
    etcd.members()[0].kill();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let worst = kubectl.longest_gap_since(lost_one);
    ensure!(
        worst < RECOVERY,
        "one member is gone: no answer for {worst:.1?}"
    );
    etcd.members()[0].start()?;

    for member in etcd.members() {
        member.kill();
    }
    tokio::time::sleep(AWAY).await;
    let ready = readiness(&server).await?;
    ensure!(ready.contains("[-]store failed"), "etcd is away: {ready}");
    for member in etcd.members() {
        member.start()?;
    }
    etcd.wait_until_healthy()?;
    let back = Instant::now();
    let recovered = kubectl.wait_for_success(back).await?;
    ensure!(
        recovered < RECOVERY,
        "etcd is back: no answer for {recovered:.1?}"
    );
    everything_follows(&server).await?;
    let ready = eventually(async || {
        let ready = readiness(&server).await?;
        ensure!(ready == "ok", "{ready}");
        Ok(ready)
    });
    ready.await?;
    ensure!(server.pid() == pid, "the server was started again");
    let (ran, failed) = kubectl.stop();

    let secret = api
        .call(Method::GET, &format!("{SECRETS}/before"), None)
        .await?;
    ensure!(
        secret["data"]["it"] == encoded(SECRET),
        "another secret: {secret}"
    );
    for member in 0..etcd.members().len() {
        let data = world
            .folder
            .join("outages")
            .join(format!("member-{member}"));
        ensure!(
            !is_in(&data, &encoded(SECRET))?,
            "a secret is in the clear in {}",
            data.display()
        );
        ensure!(
            is_in(&data, "e2e-in-the-clear")?,
            "{} is not the data",
            data.display()
        );
    }
    Ok(format!(
        "{ran} kubectl runs, {failed} failed; {worst:.1?} without an answer when a member was killed, \
         {recovered:.1?} after all came back; a second server: {refused}"
    ))
}

/// From a file to etcd and back, with a backup and the key ring.
pub(super) async fn moves(world: &World) -> Result<String> {
    let etcd = world.etcd("moves", 1, false)?;
    let on_file = |name: &str| ServerOptions::loopback(world.folder.join(name));
    let first = Server::start(&world.testbed, on_file("moves-from")).await?;
    put_secret(&first.api().await?, "moved").await?;
    let backup = world.folder.join("moves-1.backup");
    run(&first, &["backup", path(&backup)], &[])?;
    ensure!(
        !is_in(&backup, &encoded(SECRET))?,
        "a secret is in the clear in a backup"
    );
    first.kill();

    let flags = flags(&etcd, "/moved");
    let mut options = on_file("moves-to-etcd");
    options.flags.clone_from(&flags);
    let data = options.folder.join("data");
    let restore = ["restore", path(&backup)];
    let refused = super::server::run_in(&data, &restore, &flags);
    let refused = refused.map_or_else(|error| error.to_string(), |_| String::new());
    ensure!(
        refused.contains("is sealed with key"),
        "without its key: {refused:?}"
    );
    copy_ring(first.folder(), &options.folder)?;
    super::server::run_in(&data, &restore, &flags)?;
    let second = Server::start(&world.testbed, options).await?;
    let api = second.api().await?;
    let secret = api
        .call(Method::GET, &format!("{SECRETS}/moved"), None)
        .await?;
    ensure!(
        secret["data"]["it"] == encoded(SECRET),
        "another secret: {secret}"
    );
    put_secret(&api, "made-in-etcd").await?;
    let back = world.folder.join("moves-2.backup");
    run(&second, &["backup", path(&back)], &flags)?;
    let busy = run(&second, &["restore", path(&back), "--overwrite"], &flags);
    let busy = busy.map_or_else(|error| error.to_string(), |_| String::new());
    ensure!(
        busy.contains("in use"),
        "restored beneath a server: {busy:?}"
    );
    second.kill();

    let options = on_file("moves-back");
    copy_ring(second.folder(), &options.folder)?;
    super::server::run_in(&options.folder.join("data"), &["restore", path(&back)], &[])?;
    let third = Server::start(&world.testbed, options).await?;
    let api = third.api().await?;
    for name in ["moved", "made-in-etcd"] {
        let secret = api
            .call(Method::GET, &format!("{SECRETS}/{name}"), None)
            .await?;
        ensure!(
            secret["data"]["it"] == encoded(SECRET),
            "another secret: {secret}"
        );
    }
    Ok("redb to etcd and back; refused without its key ring, and beneath a server".to_owned())
}

async fn start<'w>(
    world: &'w World,
    etcd: &Etcd,
    folder: PathBuf,
    prefix: &str,
) -> Result<Server<'w>> {
    let options = ServerOptions {
        flags: flags(etcd, prefix),
        ..ServerOptions::loopback(folder)
    };
    Server::start(&world.testbed, options).await
}

fn flags(etcd: &Etcd, prefix: &str) -> Vec<String> {
    let mut flags = vec![
        "--store=etcd".to_owned(),
        format!("--etcd-endpoints={}", etcd.endpoints().join(",")),
        format!("--etcd-prefix={prefix}"),
    ];
    if let (Some(ca), Some((certificate, key))) = (etcd.ca_file(), etcd.client_files()) {
        flags.push(format!("--etcd-ca-file={}", ca.display()));
        flags.push(format!("--etcd-cert-file={}", certificate.display()));
        flags.push(format!("--etcd-key-file={}", key.display()));
    }
    flags
}

/// A second server on the same store must say why it does not start, also on a copy of the data
/// directory, as one that stands by has it. What it said.
async fn second_server(first: &Server<'_>, world: &World, etcd: &Etcd) -> Result<String> {
    let data = world.folder.join("outages-second");
    std::fs::create_dir(&data)?;
    for entry in std::fs::read_dir(first.folder().join("data"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), data.join(entry.file_name()))?;
        }
    }
    let second = tokio::process::Command::new(binary("lariat-server")?)
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .args(flags(etcd, "/e2e"))
        .kill_on_drop(true)
        .stderr(Stdio::piped())
        .spawn()?;
    let ended = tokio::time::timeout(RECOVERY, second.wait_with_output());
    let ended = ended.await.context("two servers use one store")??;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let why = said.lines().find(|line| line.contains("is in use"));
    let why = why.with_context(|| format!("not for the other one: {said}"))?;
    ensure!(
        !ended.status.success() && why.contains("claimed by server"),
        "{why}"
    );
    Ok("refused".to_owned())
}

/// What follows the store must know what happens after the outage: who may log in, what is defined,
/// who may do what, which namespaces go, who owns whom.
async fn everything_follows(server: &Server<'_>) -> Result<()> {
    let api = server.api().await?;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    api.call(Method::POST, DEFINITIONS, Some(&definition))
        .await?;
    let things = "/apis/example.org/v1/namespaces/default/things";
    eventually(async || api.call(Method::GET, things, None).await).await?;

    let owner = config_map("owner", json!({}));
    let owner = api.call(Method::POST, CONFIG_MAPS, Some(&owner)).await?;
    let reference = json!({
        "ownerReferences": [{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        }],
    });
    let owned = config_map("owned", reference);
    api.call(Method::POST, CONFIG_MAPS, Some(&owned)).await?;
    api.call(Method::DELETE, &format!("{CONFIG_MAPS}/owner"), None)
        .await?;
    gone(&api, &format!("{CONFIG_MAPS}/owned")).await?;

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short"}});
    api.call(Method::POST, NAMESPACES, Some(&namespace)).await?;
    api.call(Method::DELETE, &format!("{NAMESPACES}/short"), None)
        .await?;
    gone(&api, &format!("{NAMESPACES}/short")).await?;

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reads-secrets"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    api.call(Method::POST, &format!("{ROLES}/clusterroles"), Some(&role))
        .await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reads-secrets"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads-secrets",
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody",
        }],
    });
    api.call(
        Method::POST,
        &format!("{ROLES}/clusterrolebindings"),
        Some(&binding),
    )
    .await?;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "somebody",
            "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "default"},
        },
    });
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    eventually(async || {
        let answer = api.call(Method::POST, reviews, Some(&review)).await?;
        ensure!(answer["status"]["allowed"] == true, "{answer}");
        Ok(())
    })
    .await
}

async fn gone(api: &Api, path: &str) -> Result<()> {
    eventually(async || {
        let found = api.call(Method::GET, path, None).await;
        match found {
            Err(error) if format!("{error:#}").contains("NotFound") => Ok(()),
            Err(error) => Err(error),
            Ok(_) => anyhow::bail!("{path} is still there"),
        }
    })
    .await
}

async fn put_secret(api: &Api, name: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "data": {"it": encoded(SECRET)},
    });
    api.call(Method::POST, SECRETS, Some(&secret)).await?;
    let clear = config_map(&format!("beside-{name}"), json!({}));
    api.call(Method::POST, CONFIG_MAPS, Some(&clear)).await?;
    Ok(())
}

fn config_map(name: &str, mut metadata: Value) -> Value {
    metadata["name"] = name.into();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"it": "e2e-in-the-clear"},
    })
}

/// As it is in a Secret, and what must not be found in the store either.
fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The check of the server that machines use, without a token.
async fn readiness(server: &Server<'_>) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "10", "--cacert"])
        .arg(server.ca_file());
    curl.arg(format!("{}/readyz", server.url()));
    let output = tokio::task::block_in_place(|| curl.output())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy_ring(from: &Path, to: &Path) -> Result<()> {
    let ring = |folder: &Path| folder.join("data/encryption.keys");
    std::fs::create_dir_all(to.join("data"))?;
    std::fs::copy(ring(from), ring(to))?;
    Ok(())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
