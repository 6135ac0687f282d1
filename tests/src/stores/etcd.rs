//! The store in an etcd: the contract, and who is let in.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use store::{Error, EtcdLogin, EtcdOptions, EtcdStore, EtcdTls, OpenError, Range, Store};
use testbed::Etcd;

use super::World;
use super::asking::{check_contract, eventually, expect, open, put};

pub(super) async fn one_member(world: &World) -> Result<String> {
    etcd_contract(&world.etcd("one", 1, false)?).await
}

pub(super) async fn three_members(world: &World) -> Result<String> {
    etcd_contract(&world.etcd("three", 3, false)?).await
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

pub(super) async fn tls(world: &World) -> Result<String> {
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

pub(super) async fn authentication(world: &World) -> Result<String> {
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
pub(super) async fn pieces(world: &World) -> Result<String> {
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
