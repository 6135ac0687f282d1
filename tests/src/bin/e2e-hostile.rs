//! What a server is sent that it must refuse, each with its clear error, while it goes on serving.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use anyhow::{Context as _, bail, ensure};
use e2e::lariat::{Api, Raw, Server, ServerOptions, binary};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture};
use serde_json::json;
use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};
use testbed::Testbed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tunnel::{
    dial::{DialError, Dialer, Introduction, Trust},
    identity::KeyPair,
};
use tunnel_proto::hello::AgentKind;

struct World<'a> {
    server: Server<'a>,
    api: Api,
    raw: Raw,
    dialer: Dialer,
    cluster: String,
}

type Case = for<'w> fn(&'w World<'_>) -> BoxFuture<'w, anyhow::Result<String>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let testbed = Testbed::open("e2e-hostile")?;
    let folder = std::env::current_dir()?.join("target/e2e-hostile");
    let _ = std::fs::remove_dir_all(&folder);
    let options = ServerOptions::loopback(&folder);
    let server = Server::start(&testbed, options).await?;
    let api = server.api().await?;
    let ca = std::fs::read_to_string(server.ca_file())?;
    let world = World {
        raw: Raw::new(server.url().trim_start_matches("https://").parse()?, &ca)?,
        dialer: Dialer::new(server.url().parse()?, Trust::pem(ca.as_bytes())?),
        cluster: api.create_cluster("hostile").await?,
        api,
        server,
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        match case(&world).await {
            Ok(said) => {
                passed += 1;
                println!("ok      {name}: {said}");
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "logs are in {}", folder.display());
    Ok(())
}

const CASES: &[(&str, Case)] = &[
    ("wrong password", |world| Box::pin(wrong_password(world))),
    ("unknown token", |world| Box::pin(unknown_token(world))),
    ("revoked token", |world| Box::pin(revoked_token(world))),
    ("expired token", |world| Box::pin(expired_token(world))),
    ("impersonation headers in any spelling", |world| {
        Box::pin(impersonation(world))
    }),
    ("a cookie without what proves the page", |world| {
        Box::pin(forged_request(world))
    }),
    ("a WebSocket for a page of another site", |world| {
        Box::pin(foreign_websocket(world))
    }),
    ("a login for a page of another site", |world| {
        Box::pin(foreign_login(world))
    }),
    ("paths that climb", |world| Box::pin(climbing_paths(world))),
    ("a body without end", |world| Box::pin(endless_body(world))),
    ("old tunnel protocol", |world| Box::pin(old_protocol(world))),
    ("a hello of 1 MiB", |world| Box::pin(huge_hello(world))),
    ("garbage after the upgrade", |world| {
        Box::pin(garbage(world))
    }),
    ("a registration token that is used up", |world| {
        Box::pin(used_up(world))
    }),
    ("a second agent with another key", |world| {
        Box::pin(second_key(world))
    }),
    ("a wrong CA pin", |world| Box::pin(wrong_pin(world))),
    ("mistakes in the configuration", |world| {
        Box::pin(configuration(world))
    }),
    ("10,000 idle connections", |world| {
        Box::pin(idle_connections(world))
    }),
    ("too many wrong passwords", |world| {
        Box::pin(many_passwords(world))
    }),
];

/// The message of the Status in an answer.
fn message(answer: &str) -> anyhow::Result<String> {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let begin = body.find('{').context("no JSON in the answer")?;
    let end = body.rfind('}').context("no JSON in the answer")?;
    let status: serde_json::Value = serde_json::from_str(&body[begin..=end])?;
    Ok(status["message"]
        .as_str()
        .context("no message in the answer")?
        .to_owned())
}

async fn expect(
    world: &World<'_>,
    status: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<String> {
    let (found, answer) = world.raw.request(method, path, headers, body).await?;
    ensure!(
        found == status,
        "{method} {path} answered {found}, not {status}: {answer}"
    );
    message(&answer)
}

const CLUSTERS: &str = "/apis/management.cattle.io/v3/clusters";
const LOGIN: &str = "/v3-public/localProviders/local?action=login";

async fn wrong_password(world: &World<'_>) -> anyhow::Result<String> {
    let wrong = json!({"username": "admin", "password": "nonsense"}).to_string();
    let unknown = json!({"username": "nobody", "password": "nonsense"}).to_string();
    let first = expect(world, 401, "POST", LOGIN, &[], &wrong).await?;
    let second = expect(world, 401, "POST", LOGIN, &[], &unknown).await?;
    ensure!(
        first == second,
        "the two are told apart: {first:?}, {second:?}"
    );
    Ok(first)
}

async fn many_passwords(world: &World<'_>) -> anyhow::Result<String> {
    let wrong = json!({"username": "admin", "password": "nonsense"}).to_string();
    for _ in 0..100 {
        let (status, answer) = world.raw.request("POST", LOGIN, &[], &wrong).await?;
        if status == 429 {
            ensure!(
                answer.to_lowercase().contains("retry-after"),
                "no Retry-After"
            );
            return message(&answer);
        }
        ensure!(status == 401, "{status}");
    }
    bail!("100 wrong passwords in a row were all checked")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn unknown_token(world: &World<'_>) -> anyhow::Result<String> {
    let (name, _) = world
        .api
        .token
        .split_once(':')
        .context("no name in the token")?;
    let mut said = String::new();
    for token in [
        "token-zzzzz:nonsense".to_owned(),
        format!("{name}:nonsense"),
        name.to_owned(),
    ] {
        said = expect(
            world,
            401,
            "GET",
            CLUSTERS,
            &[("Authorization", &bearer(&token))],
            "",
        )
        .await?;
    }
    Ok(said)
}

async fn revoked_token(world: &World<'_>) -> anyhow::Result<String> {
    let (user, password) = world.server.administrator();
    let other = Api::login(&world.server.url(), user, password).await?;
    let authorization = bearer(&other.token);
    let headers = [("Authorization", authorization.as_str())];
    let (before, _) = world.raw.request("GET", CLUSTERS, &headers, "").await?;
    ensure!(
        before == 200,
        "the token is not good to begin with: {before}"
    );
    let (status, answer) = world
        .raw
        .request("POST", "/v3/tokens?action=logout", &headers, "")
        .await?;
    ensure!(status < 300, "{answer}");
    expect(world, 401, "GET", CLUSTERS, &headers, "").await
}

async fn expired_token(world: &World<'_>) -> anyhow::Result<String> {
    let (username, password) = world.server.administrator();
    let body = json!({"username": username, "password": password, "ttl": 1000});
    let (status, answer) = world
        .raw
        .request("POST", LOGIN, &[], &body.to_string())
        .await?;
    ensure!(status == 201, "{answer}");
    let token = answer
        .split("\"token\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let authorization = bearer(token.context("no token in the answer")?);
    let headers = [("Authorization", authorization.as_str())];
    let started = Instant::now();
    loop {
        let (status, answer) = world.raw.request("GET", CLUSTERS, &headers, "").await?;
        if status == 401 {
            return message(&answer);
        }
        ensure!(
            started.elapsed() < Duration::from_secs(5),
            "a token of one second is still good: {status}"
        );
    }
}

async fn impersonation(world: &World<'_>) -> anyhow::Result<String> {
    // There is no agent: a request that got as far as the tunnel would be a 503.
    let authorization = bearer(&world.api.token);
    let path = format!("/k8s/clusters/{}/api", world.cluster);
    let mut said = String::new();
    for name in [
        "Impersonate-User",
        "impersonate-group",
        "IMPERSONATE-EXTRA-SCOPES",
        "iMPERSONATE-uID",
    ] {
        let headers = [
            ("Authorization", authorization.as_str()),
            (name, "system:masters"),
        ];
        said = expect(world, 403, "GET", &path, &headers, "").await?;
    }
    Ok(said)
}

/// The cookies of a new session, and its CSRF value.
async fn session(world: &World<'_>) -> anyhow::Result<(String, String)> {
    let (username, password) = world.server.administrator();
    let body = json!({"username": username, "password": password, "responseType": "cookie"});
    let (status, answer) = (world.raw)
        .request("POST", LOGIN, &[], &body.to_string())
        .await?;
    ensure!(status == 200, "{answer}");
    let set = answer.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("set-cookie");
        is_it.then(|| value.split(';').next().unwrap_or_default())
    });
    let cookies: Vec<_> = set.collect();
    let csrf = cookies.iter().find_map(|pair| pair.strip_prefix("CSRF="));
    let csrf = csrf.context("no CSRF cookie")?.to_owned();
    Ok((cookies.join("; "), csrf))
}

async fn forged_request(world: &World<'_>) -> anyhow::Result<String> {
    let (cookies, csrf) = session(world).await?;
    let own = world.server.url();
    let mut said = String::new();
    let body = json!({"apiVersion": "management.cattle.io/v3", "kind": "Cluster",
        "metadata": {"name": "forged"}})
    .to_string();
    let in_cluster = format!("/k8s/clusters/{}/api/v1/namespaces", world.cluster);
    for path in [CLUSTERS, "/v3/tokens?action=logout", &in_cluster] {
        for (origin, csrf) in [
            (own.as_str(), "guess"),
            ("https://evil.example", csrf.as_str()),
            ("null", &csrf),
            ("", &csrf),
        ] {
            let mut headers = vec![
                ("Cookie", cookies.as_str()),
                ("X-API-CSRF", csrf),
                ("Content-Type", "application/json"),
            ];
            if !origin.is_empty() {
                headers.push(("Origin", origin));
            }
            said = expect(world, 403, "POST", path, &headers, &body).await?;
        }
    }
    let headers = [("Cookie", cookies.as_str())];
    let forged = format!("{CLUSTERS}/forged");
    expect(world, 404, "GET", &forged, &headers, "").await?;
    Ok(said)
}

async fn foreign_websocket(world: &World<'_>) -> anyhow::Result<String> {
    let (cookies, _) = session(world).await?;
    let path = format!(
        "/k8s/clusters/{}/api/v1/namespaces/default/pods/web/exec?command=sh",
        world.cluster
    );
    let mut said = String::new();
    for origin in ["https://evil.example", "null", ""] {
        let mut headers = vec![
            ("Cookie", cookies.as_str()),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        if !origin.is_empty() {
            headers.push(("Origin", origin));
        }
        said = expect(world, 403, "GET", &path, &headers, "").await?;
    }
    Ok(said)
}

async fn foreign_login(world: &World<'_>) -> anyhow::Result<String> {
    let (username, password) = world.server.administrator();
    let body = json!({"username": username, "password": password, "responseType": "cookie"});
    let headers = [("Origin", "https://evil.example")];
    expect(world, 403, "POST", LOGIN, &headers, &body.to_string()).await
}

async fn climbing_paths(world: &World<'_>) -> anyhow::Result<String> {
    let authorization = bearer(&world.api.token);
    let headers = [("Authorization", authorization.as_str())];
    let mut said = String::new();
    for path in [
        "/../api",
        "/%2e%2e/api",
        "/..%2fapi",
        "/a%2f..%2fb",
        "/a%5c..%5cb",
        "/./api",
        "/.%2E/x",
    ] {
        let path = format!("/k8s/clusters/{}{path}", world.cluster);
        said = expect(world, 400, "GET", &path, &headers, "").await?;
    }
    for id in ["..", "%2e%2e", "c%2f", "C-1", ""] {
        expect(
            world,
            400,
            "GET",
            &format!("/k8s/clusters/{id}/api"),
            &headers,
            "",
        )
        .await?;
    }
    Ok(said)
}

async fn endless_body(world: &World<'_>) -> anyhow::Result<String> {
    let mut stream = world.raw.connect(None).await?;
    let head = format!(
        "POST {CLUSTERS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        bearer(&world.api.token)
    );
    stream.write_all(head.as_bytes()).await?;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let (mut read, mut write) = tokio::io::split(stream);
    let writing = async {
        let mut written = 0_u64;
        while write.write_all(chunk.as_bytes()).await.is_ok() {
            written += 0x10000;
            if written > 64 << 20 {
                break;
            }
        }
        written
    };
    let reading = async {
        let mut answer = Vec::new();
        let mut block = [0; 4096];
        while let Ok(read @ 1..) = read.read(&mut block).await {
            answer.extend_from_slice(&block[..read]);
        }
        answer
    };
    let both = futures::future::join(writing, reading);
    let (written, answer) = tokio::time::timeout(Duration::from_secs(30), both).await?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    ensure!(written < 64 << 20, "64 MiB were taken");
    message(&answer)
}

const UPGRADE: &str = "GET /v3/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn old_protocol(world: &World<'_>) -> anyhow::Result<String> {
    let headers = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "lariat.v0"),
        ("Connection", "upgrade"),
    ];
    expect(world, 426, "GET", "/v3/connect", &headers, "").await
}

/// Upgrades, sends bytes, and returns what comes back until the end.
async fn after_upgrade(world: &World<'_>, bytes: &[u8]) -> anyhow::Result<String> {
    let head = format!("{UPGRADE}Sec-WebSocket-Protocol: lariat.v1\r\n\r\n");
    let answer = world
        .raw
        .exchange(&[head.as_bytes(), bytes].concat())
        .await?;
    ensure!(answer.starts_with("HTTP/1.1 101"), "{answer:?}");
    let rejected = answer.find("{\"rejected\"").map(|begin| {
        let text = &answer[begin..];
        text[..text.rfind('}').map_or(text.len(), |end| end + 1)].to_owned()
    });
    Ok(rejected.unwrap_or_else(|| "the connection is closed".to_owned()))
}

async fn huge_hello(world: &World<'_>) -> anyhow::Result<String> {
    // A masked binary frame of 1 MiB with the mask 0.
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(1_u64 << 20).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + (1 << 20), b' ');
    let said = after_upgrade(world, &frame).await?;
    ensure!(said.contains("malformed"), "{said}");
    // One that the WebSocket takes and the hello does not.
    let mut frame = vec![0x82, 0xfe, 0x80, 0x00, 0, 0, 0, 0];
    frame.resize(frame.len() + 0x8000, b' ');
    let said = after_upgrade(world, &frame).await?;
    ensure!(said.contains("over the limit"), "{said}");
    Ok(said)
}

async fn garbage(world: &World<'_>) -> anyhow::Result<String> {
    let mut said = String::new();
    for bytes in [
        &b"\xff\xff\xff\xff nonsense"[..],
        &[0x82, 0x82, 0, 0, 0, 0, b'{', b'}'],
        &[0x00; 64],
    ] {
        said = after_upgrade(world, bytes).await?;
    }
    Ok(said)
}

async fn dial(world: &World<'_>, key: &KeyPair, token: &str) -> Result<(), DialError> {
    let introduction = Introduction {
        agent: AgentKind::Cluster {
            cluster_uid: None,
            kubernetes_version: None,
        },
        software: "hostile/0".into(),
        instance: "i".into(),
        registration_token: Some(token.to_owned()),
    };
    world.dialer.dial(key, &introduction).await.map(drop)
}

async fn used_up(world: &World<'_>) -> anyhow::Result<String> {
    let first = world.api.create_cluster("first").await?;
    let import = world.api.import(&first).await?;
    dial(world, &KeyPair::generate()?, &import.token).await?;
    let other = KeyPair::generate()?;
    let Err(DialError::Rejected(rejection)) = dial(world, &other, &import.token).await else {
        bail!("a second key was taken with a token that is used up");
    };
    Ok(rejection.message)
}

async fn second_key(world: &World<'_>) -> anyhow::Result<String> {
    let first = world.api.import(&world.cluster).await?;
    let second = world.api.import(&world.cluster).await?;
    dial(world, &KeyPair::generate()?, &first.token).await?;
    let Err(DialError::Rejected(rejection)) =
        dial(world, &KeyPair::generate()?, &second.token).await
    else {
        bail!("a second key was taken");
    };
    Ok(rejection.message)
}

async fn wrong_pin(world: &World<'_>) -> anyhow::Result<String> {
    let mut dialer = world.dialer.clone();
    dialer.trust = Trust::Platform;
    match tunnel::dial::fetch_pinned(&dialer, &"0".repeat(64)).await {
        Ok(_) => bail!("a wrong pin was taken"),
        Err(error) => Ok(error.to_string()),
    }
}

async fn configuration(_: &World<'_>) -> anyhow::Result<String> {
    let output = Command::new(binary("lariat-server")?)
        .args([
            "--listen",
            "nonsense",
            "--max-connections",
            "many",
            "--no-such-flag",
            "1",
        ])
        .env("LARIAT_HEADER_TIMEOUT", "soon")
        .output()?;
    ensure!(output.status.code() == Some(64), "exit {:?}", output.status);
    let text = String::from_utf8(output.stderr)?;
    for part in [
        "--listen",
        "--max-connections",
        "no-such-flag",
        "LARIAT_HEADER_TIMEOUT",
    ] {
        ensure!(
            text.contains(part),
            "{part} is not reported in one run:\n{text}"
        );
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn idle_connections(world: &World<'_>) -> anyhow::Result<String> {
    const CONNECTIONS: u32 = 10_000;
    let before = resident_kib(world.server.pid())?;
    // Many addresses, as no address may have so many.
    let connections: Vec<_> = futures::stream::iter(0..CONNECTIONS)
        .map(|number| {
            let from = SocketAddr::from(([127, 0, 1, (number % 100) as u8 + 1], 0));
            world.raw.connect(Some(from))
        })
        .buffer_unordered(64)
        .try_collect()
        .await
        .context("a connection was not taken")?;
    let started = Instant::now();
    let authorization = bearer(&world.api.token);
    let (status, answer) = world
        .raw
        .request("GET", CLUSTERS, &[("Authorization", &authorization)], "")
        .await?;
    ensure!(status == 200, "{answer}");
    let answered = started.elapsed();
    let each =
        resident_kib(world.server.pid())?.saturating_sub(before) as f64 / f64::from(CONNECTIONS);
    drop(connections);
    ensure!(
        answered < Duration::from_secs(5),
        "an answer beside them took {answered:?}"
    );
    Ok(format!(
        "another client is answered in {} ms; {each:.1} KiB each",
        answered.as_millis()
    ))
}

fn resident_kib(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?)
}
