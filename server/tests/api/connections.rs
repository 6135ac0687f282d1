//! Connections that mean no good, or many of them.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::harness::{Client, LIMIT, TestServer, cluster, clusters, object};

/// Sends raw bytes and returns everything that comes back until the server closes.
async fn raw(client: &Client, server_name: &str, bytes: &[u8]) -> String {
    let mut stream = client.connect(server_name).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let ended = tokio::time::timeout(LIMIT, reading).await;
    // A close without TLS's own goodbye is an error, and an end all the same.
    let _ = ended.expect("the server closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(path: &str, token: &str) -> Vec<u8> {
    let head = "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer";
    format!("GET {path} {head} {token}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn paths_that_climb_are_refused_as_they_come() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let token = admin.token.clone().unwrap();
    for path in [
        "/k8s/clusters/c-1/../c-2/api",
        "/k8s/clusters/c-1/%2e%2e/c-2/api",
        "/k8s/clusters/c-1/..%2f..%2fmetrics",
        "/k8s/clusters/c-1/a/%2E./b",
        "/k8s/clusters/c-1%2fapi",
        "/k8s/clusters/%2e%2e/api",
        "/k8s/clusters/..;/api",
    ] {
        let answer = raw(&admin, "localhost", &request(path, &token)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(
            answer.contains("\"reason\":\"BadRequest\""),
            "{path}: {answer}"
        );
    }
    let by_name = "c-1.clusters.lariat.internal";
    let answer = raw(&admin, by_name, &request("/api/../metrics", &token)).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = raw(&admin, by_name, &request("/metrics", &token)).await;
    assert!(
        answer.starts_with("HTTP/1.1 404 ") && answer.contains("c-1"),
        "{answer}"
    );
}

#[tokio::test]
async fn smuggled_and_doubled_headers_are_refused() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    for head in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked, identity\r\n",
        "Content-Length: -1\r\n",
        "Bad Header: x\r\n",
    ] {
        let text =
            format!("POST /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n");
        let answer = raw(&stranger, "localhost", text.as_bytes()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{head}: {answer}"
        );
    }
    let twice = "GET /apis HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Authorization: Bearer a:b\r\nAuthorization: Bearer c:d\r\n\r\n";
    let answer = raw(&stranger, "localhost", twice.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn nobody_acts_in_the_name_of_somebody_else_anywhere() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let token = admin.token.clone().unwrap();
    let prod = object("Cluster", "prod", json!({}));
    assert_eq!(
        admin.post(&clusters(), &prod).await.status,
        StatusCode::CREATED
    );
    let ask = async |line: &str, header: &str| {
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n";
        let text =
            format!("{line} HTTP/1.1\r\n{head}Authorization: Bearer {token}\r\n{header}\r\n\r\n");
        raw(&admin, "localhost", text.as_bytes()).await
    };
    let itself = cluster("prod");
    let refused = |answer: &str| answer.starts_with("HTTP/1.1 403 ") && answer.contains("--as");
    for header in [
        "Impersonate-User: u-nobody",
        "impersonate-user: u-nobody",
        "IMPERSONATE-USER: u-nobody",
        "iMPERSONATE-uSER: u-nobody",
        "Impersonate-User:",
        "Impersonate-Uid: 1",
        "Impersonate-Group: system:masters",
        "IMPERSONATE-GROUP: lariat:administrators",
        "Impersonate-Extra-Scopes: all",
        "impersonate-extra-a%2Fb: all",
        "Impersonate-Whatever: yes",
        "Impersonate_User: u-nobody",
        "Impersonate: u-nobody",
        "X-First: 1\r\nImpersonate-User: u-nobody\r\nImpersonate-User: u-other",
        "Connection: Impersonate-User\r\nImpersonate-User: u-nobody",
    ] {
        for line in [
            format!("DELETE {itself}"),
            "GET /k8s/clusters/prod/api".to_owned(),
        ] {
            let answer = ask(&line, header).await;
            assert!(refused(&answer), "{line} {header}: {answer}");
        }
    }
    for line in [
        "GET /apis",
        "GET /openapi/v3",
        "GET /api/v1/secrets",
        "GET /metrics",
        "POST /apis/management.cattle.io/v3/tokens",
        "GET /apis/management.cattle.io/v3/namespaces/prod/sessionrecordings/x/cast",
        "GET /v3",
        "GET /v3/clusters",
        "DELETE /v3/clusters/prod",
        "POST /v3/clusters/prod?action=generateKubeconfig",
        "POST /v3/users?action=refreshauthprovideraccess",
        "POST /v3/tokens?action=logout",
        "GET /v3/principals",
        "GET /v3/subscribe",
        "GET /v3/cluster/prod/namespaces",
    ] {
        let answer = ask(line, "Impersonate-User: u-nobody").await;
        assert!(refused(&answer), "{line}: {answer}");
    }
    // Such a header is none: one parser decides.
    for broken in ["Impersonate-User : u-nobody", " Impersonate-User: u-nobody"] {
        let answer = ask(&format!("DELETE {itself}"), broken).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400 ");
        assert!(refused, "{broken}: {answer}");
    }
    // Nothing of it was done, and who tried is on record.
    assert_eq!(admin.get(&itself).await.status, StatusCode::OK);
    server.app.audit.flush();
    let log = server.audit_log();
    let tried = log.lines().find(|line| line.contains("--as")).unwrap();
    let tried: serde_json::Value = serde_json::from_str(tried).unwrap();
    let (admin, _, _) = server.app.directory.login("admin").unwrap();
    assert_eq!(tried["user"]["username"], admin.as_str(), "{tried}");
}

#[tokio::test]
async fn nothing_is_fetched_from_elsewhere_for_anybody() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let token = admin.token.clone().unwrap();
    let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let at = inside.local_addr().unwrap();
    for line in [
        format!("GET /meta/proxy/http:/{at}/latest/meta-data"),
        format!("GET /meta/proxy/http://{at}/latest/meta-data"),
        format!("PUT /v3/meta/proxy/http:/{at}/latest"),
        format!("GET /v1/meta/proxy/http:/{at}/latest"),
        format!("GET /proxy/http://{at}/"),
        format!("GET /k8s/proxy/{at}/"),
        format!("GET /k8s/clusters/{at}/api"),
        format!("GET http://{at}/latest"),
        format!("GET //{at}/latest"),
        format!("CONNECT {at}"),
        format!("GET /v3/import/http:%2f%2f{at}"),
        format!("GET /?url=http://{at}/"),
    ] {
        let head = format!("Host: {at}\r\nConnection: close\r\nX-API-Auth-Header: Basic x");
        let text = format!("{line} HTTP/1.1\r\n{head}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = raw(&admin, "localhost", text.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "),
            "{line}: {answer}"
        );
    }
    let came = inside.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(came, Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn a_body_without_end_is_given_up() {
    let server = TestServer::start_with(&[("LARIAT_BODY_TIMEOUT", "300ms")]).await;
    let text = "POST /v3-public/localProviders/local?action=login HTTP/1.1\r\nHost: localhost\r\n\
                Transfer-Encoding: chunked\r\n\r\n5\r\n{\"use";
    let answer = raw(&server.stranger(), "localhost", text.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let settings = [
        ("LARIAT_HEADER_TIMEOUT", "300ms"),
        ("LARIAT_HANDSHAKE_TIMEOUT", "300ms"),
    ];
    let server = TestServer::start_with(&settings).await;
    let answer = raw(
        &server.stranger(),
        "localhost",
        b"GET /ping HTTP/1.1\r\nHost: ",
    )
    .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408 "),
        "{answer}"
    );
    // Not even a handshake.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut nothing = [0; 1];
    let closed = tokio::time::timeout(LIMIT, silent.read(&mut nothing)).await;
    assert_eq!(closed.expect("the server closes in time").unwrap_or(0), 0);
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let settings = [("LARIAT_MAX_CONNECTIONS_PER_ADDRESS", "2")];
    let server = TestServer::start_with(&settings).await;
    let stranger = server.stranger();
    let _held = [
        stranger.connect("localhost").await.unwrap(),
        stranger.connect("localhost").await.unwrap(),
    ];
    assert!(stranger.connect("localhost").await.is_err());
}

#[tokio::test]
async fn garbage_instead_of_tls_harms_nobody() {
    let server = TestServer::start().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff],
        &[0; 1000],
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer))
            .await
            .unwrap();
    }
    assert_eq!(server.stranger().get("/ping").await.text(), "pong");
}

#[tokio::test]
async fn stopping_waits_for_what_is_open_and_not_for_ever() {
    let mut server = TestServer::start_with(&[("LARIAT_DRAIN_TIMEOUT", "300ms")]).await;
    let stranger = server.stranger();
    let idle = stranger.connect("localhost").await.unwrap();
    let mut busy = stranger.connect("localhost").await.unwrap();
    let head = "POST /v3-public/localProviders/local?action=login HTTP/1.1\r\n\
                Host: localhost\r\nContent-Length: 10\r\n\r\n";
    busy.write_all(head.as_bytes()).await.unwrap();
    // Once this is answered the head above was read as well: it was sent before.
    assert_eq!(stranger.get("/ping").await.status, StatusCode::OK);
    server.shutdown.cancel();
    let cut = tokio::time::timeout(LIMIT, &mut server.running)
        .await
        .unwrap()
        .unwrap();
    assert!(
        cut <= 1,
        "the idle connection is closed at once, {cut} were cut"
    );
    drop((idle, busy));
    assert!(stranger.connect("localhost").await.is_err());
}

/// The server in a process of its own, which has its own file descriptors and its own memory.
struct Process {
    child: tokio::process::Child,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Process {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_lariat-server"))
            .args([
                "--listen=127.0.0.1:0",
                "--log-format=json",
                "--audit-log=off",
            ])
            .arg("--data-dir")
            .arg(folder.path())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the server says where it listens");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["fields"]["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let authority = std::fs::read_to_string(folder.path().join("ca.crt")).unwrap();
        let client = Client::new(address, &authority);
        Self {
            child,
            client,
            _folder: folder,
        }
    }

    /// Resident memory in KiB.
    fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_survived() {
    let server = Process::start().await;
    assert_eq!(server.client.get("/ping").await.text(), "pong");
    let before = server.memory();
    let mut idle = Vec::with_capacity(10_000);
    while idle.len() < 10_000 {
        let batch = (0..50).map(|_| {
            let client = server.client.clone();
            async move { client.connect("localhost").await.unwrap() }
        });
        idle.extend(futures::future::join_all(batch).await);
    }
    let started = std::time::Instant::now();
    assert_eq!(server.client.get("/ping").await.text(), "pong");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let each = (server.memory() - before) / idle.len();
    println!("{each} KiB of server memory per idle connection");
    assert!(
        each <= 40,
        "{each} KiB of server memory per idle connection"
    );
}
