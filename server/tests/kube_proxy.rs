//! What happens to a request on its way through the server to a cluster.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agents::{Answer, Running, answer, mirror, until, within};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use kube::api::{Api, DeleteParams, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{ClusterRoleTemplateBinding, Subject, User};
use lariat_server::tokens::{self, NewToken};
use serde_json::json;
use testbed::collector::Collector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tunnel::session::{End, Phase, Session};
use tunnel_proto::frame::CloseCode;

fn message(body: &[u8]) -> String {
    let status: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(status["kind"], "Status");
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_cluster_sees_the_path_and_the_user_and_no_credentials() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let path = "/api/v1/namespaces/a%20b/pods//x?watch=0&a=%2F..&&b";
    let request = server
        .request("POST", &format!("/k8s/clusters/c-1{path}"))
        .header("x-mine", "1");
    let (parts, body) = server.ask(request, "hello").await;
    assert_eq!(parts.status, StatusCode::OK);
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.starts_with(&format!("POST {path}\n")), "{text}");
    let user = server.app.directory.login("admin").unwrap().0;
    for line in [
        format!("impersonate-user: {user}\n"),
        "impersonate-group: lariat:administrators\n".into(),
        "impersonate-extra-management.cattle.io%2fusername: admin\n".into(),
        "x-mine: 1\n".into(),
        "\nhello".into(),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    let id = parts.headers["audit-id"].to_str().unwrap();
    assert!(text.contains(&format!("audit-id: {id}\n")), "{text}");
    assert!(
        !text.contains("authorization") && !text.contains(&server.token),
        "{text}"
    );
}

/// The trace that a client brings.
const CAME: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn who_traces_nothing_sends_the_client_s_trace_on() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let request = server.request("GET", "/k8s/clusters/c-1/api");
    let request = request.header("traceparent", CAME);
    let (_, body) = server.ask(request.header("tracestate", "a=1"), "").await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains(&format!("\ntraceparent: {CAME}\n")), "{text}");
    assert!(text.contains("\ntracestate: a=1\n"), "{text}");
}

#[tokio::test]
async fn a_request_is_one_trace_from_its_client_to_the_cluster() {
    let collector = Collector::start(Ipv4Addr::LOCALHOST).unwrap();
    let server = Running::start_with(&["--otlp-endpoint", &collector.url()]).await;
    server.connected(mirror).await;
    let request = server.request("GET", "/k8s/clusters/c-1/api/v1/pods?token=x");
    let request = request.header("traceparent", CAME);
    // A context that belongs to one connection is gone, and the server's is there all the same.
    let request = request.header("connection", "traceparent, keep-alive");
    let (parts, body) = server.ask(request, "").await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let id = parts.headers["audit-id"].to_str().unwrap();
    // It ends last.
    until(|| {
        collector
            .spans()
            .iter()
            .any(|span| span.parent == "b7ad6b7169203331")
    })
    .await;
    let spans = collector.spans();
    let root = (spans.iter())
        .find(|span| span.parent == "b7ad6b7169203331")
        .unwrap();
    assert_eq!(root.attribute("url.path"), "/k8s/clusters/c-1/api/v1/pods");
    assert_eq!(root.attribute("lariat.request_id"), id);
    assert_eq!(root.trace, "0af7651916cd43dd8448eb211c80319c");
    let mut names: Vec<_> = (spans.iter())
        .filter(|span| span.parent == root.id)
        .map(|span| span.name.as_str())
        .collect();
    names.sort_unstable();
    let expected = [
        "authenticate",
        "authorize",
        "body",
        "tunnel request",
        "wait for session",
    ];
    assert_eq!(names, expected);
    let tunnel = spans.iter().find(|span| span.name == "tunnel request");
    let parent = format!("traceparent: 00-{}-{}-01\n", root.trace, tunnel.unwrap().id);
    assert!(text.contains(&parent), "{parent} is not in {text}");
    // The answer of the collector comes after what it has taken.
    let counted = "lariat_trace_spans_total{outcome=\"exported\"} 6\n";
    until(|| server.app.metrics.encode().unwrap().contains(counted)).await;
    assert!(collector.faults().is_empty(), "{:?}", collector.faults());
}

/// What a browser shows by itself stays here, and what it gets speaks for the cluster alone.
#[tokio::test]
async fn cookies_reach_no_cluster_and_come_from_none() {
    let server = Running::start().await;
    server
        .connected(|request: Request<Incoming>| async move {
            let mut answer = mirror(request).await;
            let headers = answer.headers_mut();
            headers.insert(header::SET_COOKIE, "R_SESS=planted".parse().unwrap());
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                "https://evil.example".parse().unwrap(),
            );
            answer
        })
        .await;
    let cookie = Request::get("/k8s/clusters/c-1/api")
        .header("host", "localhost")
        .header("x-api-csrf", "value")
        .header("cookie", format!("R_SESS={}; CSRF=value", server.token));
    let (parts, body) = server.ask(cookie, "").await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(parts.status, StatusCode::OK, "{text}");
    assert!(!text.contains(&server.token), "{text}");
    assert!(!text.contains("cookie") && !text.contains("csrf"), "{text}");
    for dropped in [header::SET_COOKIE, header::ACCESS_CONTROL_ALLOW_ORIGIN] {
        assert!(!parts.headers.contains_key(dropped));
    }
    let policy = &parts.headers[header::CONTENT_SECURITY_POLICY];
    assert_eq!(policy, "default-src 'none'; sandbox");
    // A program is given what the cluster said.
    let (parts, _) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.headers[header::SET_COOKIE], "R_SESS=planted");
}

#[tokio::test]
async fn groups_in_a_cluster_follow_the_roles_there() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let user = User::new(&"u-ann".parse().unwrap(), "ann");
    let users: Api<User> = Api::all(server.app.own.clone());
    users.create(&PostParams::default(), &user).await.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    let token = tokens::create(&server.app, new).await.unwrap().token;
    let groups = async || {
        let request = Request::get("/k8s/clusters/c-1/api")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"));
        let (parts, body) = server.ask(request, "").await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        let lines = text.lines().map(str::to_owned);
        let groups = lines.filter_map(|line| {
            let group = line.strip_prefix("impersonate-group: ")?;
            Some(group.to_owned())
        });
        (parts.status, groups.collect::<Vec<_>>())
    };
    assert_eq!(groups().await, (StatusCode::FORBIDDEN, vec![]));
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
    let own = ["lariat:authenticated", "lariat:cluster-owners"];
    for (role, expected) in [
        ("cluster-member", &[own[0], "lariat:cluster-members"][..]),
        (
            "cluster-owner",
            &[own[0], own[1], "lariat:cluster-members"][..],
        ),
    ] {
        let binding = ClusterRoleTemplateBinding {
            metadata: ObjectMeta {
                name: Some(role.into()),
                ..ObjectMeta::default()
            },
            subject: Subject::user("u-ann"),
            role_template_name: role.into(),
            ..ClusterRoleTemplateBinding::default()
        };
        let made = bindings.create(&PostParams::default(), &binding).await;
        made.unwrap();
        let expected = expected.iter().map(ToString::to_string).collect();
        assert_eq!(groups().await, (StatusCode::OK, expected));
    }
    for role in ["cluster-member", "cluster-owner"] {
        let deleted = bindings.delete(role, &DeleteParams::default()).await;
        deleted.unwrap();
    }
    assert_eq!(groups().await, (StatusCode::FORBIDDEN, vec![]));
}

#[tokio::test]
async fn a_cluster_is_also_chosen_by_the_tls_server_name() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let mut client = server.client("c-1.clusters.lariat.internal").await;
    let request = server
        .request("GET", "/api/v1/pods")
        .body(Full::default().boxed_unsync());
    let response = within(client.send_request(request.unwrap())).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"GET /api/v1/pods\n"));
}

#[tokio::test]
async fn impersonation_by_the_client_is_refused_in_any_spelling() {
    let server = Running::start().await;
    server.connected(mirror).await;
    for name in [
        "Impersonate-User",
        "impersonate-user",
        "IMPERSONATE-GROUP",
        "Impersonate-Extra-Scopes",
        "Impersonate-Uid",
        "Impersonate-Whatever",
    ] {
        let request = server
            .request("GET", "/k8s/clusters/c-1/api")
            .header(name, "system:masters");
        let (parts, body) = server.ask(request, "").await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{name}");
        assert!(message(&body).contains("--as"), "{name}");
    }
}

#[tokio::test]
async fn a_connection_header_takes_no_identity_away() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let user = server.app.directory.login("admin").unwrap().0;
    for named in [
        "Impersonate-User",
        "impersonate-group, IMPERSONATE-USER",
        "close, Impersonate-Extra-username",
        "Upgrade, Impersonate-User",
        "audit-id",
    ] {
        let request = server
            .request("GET", "/k8s/clusters/c-1/api")
            .header("connection", named);
        let (parts, body) = server.ask(request, "").await;
        assert_eq!(parts.status, StatusCode::OK, "{named}");
        let text = String::from_utf8(body.to_vec()).unwrap();
        for line in [
            format!("impersonate-user: {user}\n"),
            "impersonate-group: lariat:administrators\n".into(),
            "impersonate-extra-management.cattle.io%2fusername: admin\n".into(),
            "audit-id: ".into(),
        ] {
            assert!(text.contains(&line), "{named}: {line} is not in {text}");
        }
    }
}

#[tokio::test]
async fn an_unknown_cluster_is_404_and_one_without_an_agent_503() {
    let server = Running::start().await;
    server.cluster("c-2").await;
    until(|| {
        server
            .app
            .directory
            .cluster(&"c-2".parse().unwrap())
            .is_some()
    })
    .await;
    let (parts, body) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    assert!(message(&body).contains("c-1"));
    let (parts, body) = server
        .ask(server.request("GET", "/k8s/clusters/c-2/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(parts.headers.contains_key("retry-after"));
    assert!(message(&body).contains("no agent has registered yet"));
}

#[tokio::test]
async fn a_lost_agent_is_503_with_the_time_since_when() {
    let server = Running::start().await;
    let session = server.connected(mirror).await;
    server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    session.close(tunnel_proto::frame::CloseCode::Normal, "test is over");
    let cluster = || {
        server
            .app
            .directory
            .cluster(&"c-1".parse().unwrap())
            .unwrap()
    };
    until(|| {
        cluster()
            .agent()
            .is_some_and(|agent| agent.disconnected_at.is_some())
    })
    .await;
    let (parts, body) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        message(&body).contains("is not connected since 2"),
        "{}",
        message(&body)
    );
    assert_eq!(cluster().state(), "Disconnected");
}

#[tokio::test]
async fn what_the_agent_says_reaches_the_client_unchanged() {
    let server = Running::start().await;
    server
        .connected(|_| async { answer(502, r#"{"kind":"Status","message":"agent: refused"}"#) })
        .await;
    let (parts, body) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
    assert_eq!(message(&body), "agent: refused");
}

#[tokio::test]
async fn an_answer_is_streamed_while_it_is_made() {
    let server = Running::start().await;
    let (send, receive) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let receive = std::sync::Arc::new(std::sync::Mutex::new(Some(receive)));
    server
        .connected(move |request: http::Request<_>| {
            let receive =
                (request.uri() == "/stream").then(|| receive.lock().unwrap().take().unwrap());
            async move {
                let Some(mut receive) = receive else {
                    return answer(200, "ok");
                };
                let frames = futures::stream::poll_fn(move |context| receive.poll_recv(context));
                http::Response::new(StreamBody::new(frames).boxed_unsync())
            }
        })
        .await;
    let mut client = server.client("localhost").await;
    let request = server
        .request("GET", "/k8s/clusters/c-1/stream")
        .header("te", "trailers");
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let mut response = within(client.send_request(request)).await.unwrap();
    for piece in ["one", "two"] {
        send.send(Ok(Frame::data(piece.into()))).await.unwrap();
        let frame = within(response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    // Access that ends, ends what is open with it.
    let revoked = lariat_server::tokens::revoke(&server.app, &server.token_name);
    revoked.await.unwrap();
    let end = within(response.frame()).await;
    assert!(end.is_none_or(|frame| frame.is_err()));
}

/// What is open does not survive the role by which it was opened.
#[tokio::test]
async fn a_stream_ends_when_the_role_is_taken_away() {
    let server = Running::start().await;
    server
        .connected(|mut request: http::Request<_>| async move {
            if request.uri() == "/exec" {
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut io = TokioIo::new(upgraded.await.unwrap());
                    // Until the other end is gone.
                    let _ = io.read_to_end(&mut Vec::new()).await;
                });
                let mut response = answer(101, "");
                let headers = response.headers_mut();
                headers.insert("connection", "Upgrade".parse().unwrap());
                headers.insert("upgrade", "SPDY/3.1".parse().unwrap());
                return response;
            }
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from("one")))]);
            let frames = first.chain(futures::stream::pending::<Result<_, std::io::Error>>());
            http::Response::new(StreamBody::new(frames).boxed_unsync())
        })
        .await;
    let user = User::new(&"u-ann".parse().unwrap(), "ann");
    let users: Api<User> = Api::all(server.app.own.clone());
    users.create(&PostParams::default(), &user).await.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    let token = tokens::create(&server.app, new).await.unwrap().token;
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
    let bind = async |name: &str, role: &str| {
        let binding = ClusterRoleTemplateBinding {
            metadata: ObjectMeta {
                name: Some(name.into()),
                ..ObjectMeta::default()
            },
            subject: Subject::user("u-ann"),
            role_template_name: role.into(),
            ..ClusterRoleTemplateBinding::default()
        };
        let made = bindings.create(&PostParams::default(), &binding).await;
        made.unwrap();
    };
    bind("member", "cluster-member").await;
    bind("owner", "cluster-owner").await;
    let ask = |path: &str| {
        Request::get(format!("/k8s/clusters/c-1{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
    };
    let followed = async || {
        let mut client = server.client("localhost").await;
        let request = ask("/log").body(Full::default().boxed_unsync()).unwrap();
        let mut log = within(client.send_request(request)).await.unwrap();
        assert_eq!(log.status(), StatusCode::OK);
        within(log.frame()).await.unwrap().unwrap();
        // The connection lives as long as its sender.
        (log, client)
    };
    let mut client = server.client("localhost").await;
    let request = ask("/exec")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let mut response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut exec = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let (mut as_owner, _client) = followed().await;
    let take = async |name: &str| {
        let deleted = bindings.delete(name, &DeleteParams::default()).await;
        deleted.unwrap();
    };
    // What was opened as an owner ends, although ann may still open the same as a member.
    take("owner").await;
    let end = within(as_owner.frame()).await;
    assert!(end.is_none_or(|frame| frame.is_err()));
    let mut rest = Vec::new();
    let end = within(exec.read_to_end(&mut rest)).await;
    assert!(end.is_err() || rest.is_empty());
    let (mut as_member, _client) = followed().await;
    // More rights end nothing.
    bind("again", "cluster-owner").await;
    take("again").await;
    let quiet = tokio::time::timeout(Duration::from_secs(2), as_member.frame()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    // It is not enough to be seen in the same groups by another role.
    bind("nodes", "nodes-view").await;
    let (mut with_nodes, _client) = followed().await;
    take("nodes").await;
    let end = within(with_nodes.frame()).await;
    assert!(end.is_none_or(|frame| frame.is_err()));
    take("member").await;
    let end = within(as_member.frame()).await;
    assert!(end.is_none_or(|frame| frame.is_err()));
}

#[tokio::test]
async fn an_upgrade_carries_bytes_both_ways_and_keeps_the_half_close() {
    let server = Running::start().await;
    server
        .connected(|mut request| async move {
            if request.uri() != "/exec" {
                return answer(200, "ok");
            }
            assert_eq!(request.headers()["upgrade"], "SPDY/3.1");
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgraded.await.unwrap());
                let mut asked = String::new();
                io.read_to_string(&mut asked).await.unwrap();
                io.write_all(format!("answer to {asked}").as_bytes())
                    .await
                    .unwrap();
                io.shutdown().await.unwrap();
            });
            let mut response = answer(101, "");
            response
                .headers_mut()
                .insert("connection", "Upgrade".parse().unwrap());
            response
                .headers_mut()
                .insert("upgrade", "SPDY/3.1".parse().unwrap());
            response
                .headers_mut()
                .insert("x-stream-protocol-version", "v4".parse().unwrap());
            response
        })
        .await;
    let mut client = server.client("localhost").await;
    let request = server
        .request("POST", "/k8s/clusters/c-1/exec")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let mut response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["x-stream-protocol-version"], "v4");
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"question").await.unwrap();
    io.shutdown().await.unwrap();
    let mut text = String::new();
    within(io.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "answer to question");
}

#[tokio::test]
async fn a_refused_upgrade_keeps_the_status_of_the_cluster() {
    let server = Running::start().await;
    server
        .connected(|_| async { answer(403, "no exec for you") })
        .await;
    let request = server
        .request("GET", "/k8s/clusters/c-1/exec")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let (parts, body) = server.ask(request, "").await;
    assert_eq!(parts.status, StatusCode::FORBIDDEN);
    assert_eq!(&body[..], b"no exec for you");
}

#[tokio::test]
async fn a_cluster_upgrades_nothing_that_nobody_asked_to_upgrade() {
    let server = Running::start().await;
    server
        .connected(|_| async {
            let mut response = answer(101, "");
            let headers = response.headers_mut();
            headers.insert("connection", "Upgrade".parse().unwrap());
            headers.insert("upgrade", "websocket".parse().unwrap());
            response
        })
        .await;
    let request = server.request("GET", "/k8s/clusters/c-1/api");
    let (parts, body) = server.ask(request, "").await;
    assert_eq!(parts.status, StatusCode::BAD_GATEWAY);
    assert!(!parts.headers.contains_key("upgrade"), "{parts:?}");
    assert!(!message(&body).is_empty());
}

/// Of an administrator, whom nothing else would stop.
#[tokio::test]
async fn with_a_token_that_only_reads_nothing_else_reaches_the_cluster() {
    let reached = Arc::new(Mutex::new(Vec::new()));
    let server = Running::start().await;
    let reaches = Arc::clone(&reached);
    server
        .connected(move |request: Request<Incoming>| {
            let reaches = Arc::clone(&reaches);
            async move {
                // The server asks for the cluster's health by itself, and what it has.
                let user = request.headers().get("impersonate-user");
                let by_itself = user.is_none_or(|user| user == "lariat:controllers");
                if !by_itself {
                    let asked = format!("{} {}", request.method(), request.uri().path());
                    reaches.lock().unwrap().push(asked);
                }
                answer(200, "done")
            }
        })
        .await;
    let new = NewToken {
        user: server.app.directory.login("admin").unwrap().0.to_string(),
        read_only: true,
        ..NewToken::default()
    };
    let token = tokens::create(&server.app, new).await.unwrap().token;
    let request = |method: &str, path: &str, upgrades: bool| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"));
        match upgrades {
            true => request
                .header("connection", "Upgrade")
                .header("upgrade", "websocket"),
            false => request,
        }
    };
    let mut expected = Vec::new();
    for (method, path) in [
        ("GET", "/api/v1/namespaces/a/pods"),
        ("GET", "/api/v1/namespaces/a/pods/b/log"),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        ),
    ] {
        let asked = request(method, &format!("/k8s/clusters/c-1{path}"), false);
        let (parts, _) = server.ask(asked, "{}").await;
        assert_eq!(parts.status, StatusCode::OK, "{method} {path}");
        expected.push(format!("{method} {path}"));
    }
    assert_eq!(*reached.lock().unwrap(), expected);

    let only_reads = "the token is good for reading only";
    for (method, path, upgrades) in [
        ("POST", "/api/v1/namespaces/a/pods", false),
        ("PUT", "/api/v1/namespaces/a/pods/b", false),
        ("PATCH", "/api/v1/namespaces/a/pods/b", false),
        ("DELETE", "/api/v1/namespaces/a/pods/b", false),
        ("DELETE", "/api/v1/namespaces/a/pods", false),
        ("POST", "/api/v1/namespaces/a/pods/b/exec?command=sh", true),
        ("GET", "/api/v1/namespaces/a/pods/b/exec?command=sh", true),
        ("GET", "/api/v1/namespaces/a/pods/b/%65xec", true),
        ("GET", "/api/v1/namespaces/a/pods/b/attach", true),
        ("GET", "/api/v1/namespaces/a/pods/b/portforward", true),
        ("GET", "/api/v1/namespaces/a/services/b/proxy/x", false),
        ("GET", "/api/v1/nodes/n/proxy/configz", false),
        ("GET", "/api/v1/nodes/n/proxy/exec/a/b/c", true),
        ("GET", "/api/v1/nodes/n%2fproxy/configz", false),
        ("GET", "/apis/example.org/v1/things/x/console", true),
    ] {
        let asked = request(method, &format!("/k8s/clusters/c-1{path}"), upgrades);
        let (parts, body) = server.ask(asked, "").await;
        let said = format!("{method} {path}");
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{said}");
        assert_eq!(message(&body), only_reads, "{said}");
        let mut client = server.client("c-1.clusters.lariat.internal").await;
        let asked = request(method, path, upgrades).body(Full::default().boxed_unsync());
        let sent = client.send_request(asked.unwrap());
        let answered = within(sent).await.unwrap();
        assert_eq!(answered.status(), StatusCode::FORBIDDEN, "{said}, by name");
    }
    assert_eq!(*reached.lock().unwrap(), expected, "nothing more");
}

#[tokio::test]
async fn what_acts_by_reading_is_done_by_who_may_create_it() {
    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    const EXEC: &str = "/api/v1/namespaces/a/pods/b/exec?command=sh";
    let said = Arc::new(Mutex::new(answer(500, "")));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = Running::start().await;
    let (says, asks) = (Arc::clone(&said), Arc::clone(&asked));
    server
        .connected(move |request| {
            let (says, asks) = (Arc::clone(&says), Arc::clone(&asks));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let path = parts.uri.path().to_owned();
                // The server asks for the cluster's health by itself, and what it has.
                let user = parts.headers.get("impersonate-user");
                let by_itself = user.is_some_and(|user| user == "lariat:controllers");
                if !by_itself && (path == REVIEWS || path.starts_with("/api/v1/n")) {
                    asks.lock().unwrap().push((path.clone(), body));
                }
                if path != REVIEWS {
                    return answer(200, "done");
                }
                assert!(parts.headers.contains_key("impersonate-user"));
                let next = answer(500, "");
                std::mem::replace(&mut *says.lock().unwrap(), next)
            }
        })
        .await;
    let try_it = async |says: Answer, path: &str| {
        *said.lock().unwrap() = says;
        asked.lock().unwrap().clear();
        let request = server
            .request("GET", &format!("/k8s/clusters/c-1{path}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket");
        let (parts, body) = server.ask(request, "").await;
        let asked = asked.lock().unwrap();
        let paths: Vec<_> = asked.iter().map(|(path, _)| path.clone()).collect();
        (parts.status, body, paths)
    };
    let review = |allowed: bool| {
        answer(
            201,
            json!({"spec": {}, "status": {"allowed": allowed}}).to_string(),
        )
    };

    let (status, body, paths) = try_it(review(false), EXEC).await;
    assert_eq!((status, paths.len()), (StatusCode::FORBIDDEN, 1));
    let refused = message(&body);
    assert!(
        refused.contains("cannot create resource \"pods/exec\""),
        "{refused}"
    );
    assert!(refused.contains("in the namespace \"a\""), "{refused}");
    let question: serde_json::Value = serde_json::from_slice(&asked.lock().unwrap()[0].1).unwrap();
    let expected = json!({"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "a", "name": "b"});
    assert_eq!(question["spec"]["resourceAttributes"], expected);

    let (status, _, paths) = try_it(review(true), EXEC).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(paths, [REVIEWS, "/api/v1/namespaces/a/pods/b/exec"]);

    for unclear in [
        answer(500, ""),
        answer(201, "{}"),
        answer(201, "yes"),
        answer(200, ""),
    ] {
        let (status, _, paths) = try_it(unclear, EXEC).await;
        assert!(status == StatusCode::BAD_GATEWAY || status == StatusCode::FORBIDDEN);
        assert_eq!(paths, [REVIEWS]);
    }

    let (status, _, paths) = try_it(review(false), "/api/v1/nodes/n/proxy/exec/a/b/c").await;
    assert_eq!((status, paths.len()), (StatusCode::FORBIDDEN, 1));
    let (_, _, paths) = try_it(review(false), "/api/v1/namespaces/a/pods/b/log").await;
    assert_eq!(paths, ["/api/v1/namespaces/a/pods/b/log"]);
}

#[tokio::test]
async fn a_stopping_server_ends_watches_in_order() {
    let server = Running::start().await;
    server
        .connected(|_| async {
            let event = Ok(Frame::data(Bytes::from_static(b"{}\n")));
            let frames = futures::stream::iter([event]).chain(futures::stream::pending());
            http::Response::new(StreamBody::new(frames).boxed_unsync())
        })
        .await;
    let mut client = server.client("localhost").await;
    let request = server.request("GET", "/k8s/clusters/c-1/api/v1/pods?watch=true");
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let mut response = within(client.send_request(request)).await.unwrap();
    let event = within(response.frame()).await.unwrap().unwrap();
    assert_eq!(event.into_data().unwrap(), "{}\n");
    server.stop();
    assert!(within(response.frame()).await.is_none());
}

/// A request that a cluster answers when it is let go.
struct Slow {
    session: Session,
    go: watch::Sender<bool>,
    response: JoinHandle<hyper::Result<http::Response<Incoming>>>,
}

impl Slow {
    /// Sends it, and waits until it has arrived. The cluster gives `last` for an answer.
    async fn send(server: &Running, last: fn() -> Answer) -> Self {
        let (go, wait) = watch::channel(false);
        let (arrive, mut arrived) = watch::channel(false);
        let session = server
            .connected(move |request: http::Request<_>| {
                let (mut wait, arrive) = (wait.clone(), arrive.clone());
                async move {
                    if request.uri() != "/slow" {
                        return answer(200, "done");
                    }
                    arrive.send_replace(true);
                    wait.wait_for(|go| *go).await.unwrap();
                    last()
                }
            })
            .await;
        let mut client = server.client("localhost").await;
        let request = server.request("GET", "/k8s/clusters/c-1/slow");
        let request = request.body(Full::default().boxed_unsync()).unwrap();
        let response = tokio::spawn(async move { client.send_request(request).await });
        within(arrived.wait_for(|arrived| *arrived)).await.unwrap();
        Self {
            session,
            go,
            response,
        }
    }

    /// Lets it go, and checks that the answer comes. Returns the session that it went through.
    async fn finish(self) -> Session {
        self.go.send_replace(true);
        let response = within(self.response).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        self.session
    }
}

#[tokio::test]
async fn a_stopping_server_lets_what_runs_finish() {
    let server = Running::start().await;
    let slow = Slow::send(&server, || answer(200, "done")).await;
    server.stop();
    let mut phase = slow.session.phase();
    within(phase.wait_for(|phase| matches!(phase, Phase::Draining { .. })))
        .await
        .unwrap();
    let session = slow.finish().await;
    within(session.over().cancelled()).await;
}

#[tokio::test]
async fn the_session_of_a_leaving_agent_is_closed_behind_the_last_answer() {
    let server = Running::start().await;
    let slow = Slow::send(&server, || {
        let mut answer = answer(200, "done");
        let close = http::HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
        answer
    })
    .await;
    slow.session
        .drain(Duration::from_secs(60), "agent is stopping");
    let session = slow.finish().await;
    let mut phase = session.phase();
    let closed = within(phase.wait_for(|phase| matches!(phase, Phase::Closed(_)))).await;
    let (code, reason) = (CloseCode::Normal, "drained".to_owned());
    assert_eq!(
        *closed.unwrap(),
        Phase::Closed(End::ClosedByPeer { code, reason })
    );
}

#[tokio::test]
async fn what_one_user_has_open_is_bounded_and_given_back() {
    let server = Running::start_with(&["--proxy-streams-per-user", "1"]).await;
    server
        .connected(|_| async {
            let event = Ok(Frame::data(Bytes::from_static(b"{}\n")));
            let frames = futures::stream::iter([event]).chain(futures::stream::pending());
            http::Response::new(StreamBody::new(frames).boxed_unsync())
        })
        .await;
    let watch = "/k8s/clusters/c-1/api/v1/pods?watch=true";
    let mut client = server.client("localhost").await;
    let request = server.request("GET", watch);
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let open = within(client.send_request(request)).await.unwrap();
    assert_eq!(open.status(), StatusCode::OK);
    let (parts, body) = server.ask(server.request("GET", watch), "").await;
    assert_eq!(parts.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(parts.headers["retry-after"], "1");
    assert!(message(&body).contains("1 watches, logs and connections open"));
    let page = server.ask(server.request("GET", "/metrics"), "").await.1;
    let page = String::from_utf8(page.to_vec()).unwrap();
    let line = "lariat_proxy_refused_total{whose=\"user\",what=\"Streams\"} 1\n";
    assert!(page.contains(line), "{page}");
    let line = "lariat_proxy_under_way{whose=\"cluster\",name=\"c-1\",what=\"Streams\"} 1\n";
    assert!(page.contains(line), "{page}");
    drop((open, client));
    let again = async {
        loop {
            let mut client = server.client("localhost").await;
            let request = server.request("GET", watch);
            let request = request.body(Full::default().boxed_unsync()).unwrap();
            if client.send_request(request).await.unwrap().status() == StatusCode::OK {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(again).await;
}
