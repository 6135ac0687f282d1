//! What is shown of a cluster's tunnel and of requests, and to whom.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use agents::{Running, answer, mirror, until, within};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{
    ClusterRoleTemplateBinding, ClusterTunnel, Subject, TunnelRequest, TunnelRequestList, User,
};
use lariat_server::tokens::{self, NewToken};
use tunnel_proto::frame::CloseCode;

const TUNNEL: &str = "/apis/management.cattle.io/v3/clusters/c-1/tunnel";

async fn tunnel(server: &Running) -> ClusterTunnel {
    let (parts, body) = server.ask(server.request("GET", TUNNEL), "").await;
    assert_eq!(parts.status, StatusCode::OK, "{body:?}");
    serde_json::from_slice(&body).unwrap()
}

/// The requests that the holder of a token is shown.
async fn requests(server: &Running, token: &str) -> Vec<TunnelRequest> {
    let (parts, body) = as_holder(server, token, &format!("{TUNNEL}/requests")).await;
    assert_eq!(parts.status, StatusCode::OK, "{body:?}");
    let list: TunnelRequestList = serde_json::from_slice(&body).unwrap();
    list.items
}

async fn as_holder(
    server: &Running,
    token: &str,
    path: &str,
) -> (http::response::Parts, bytes::Bytes) {
    let request = Request::builder()
        .uri(path)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"));
    server.ask(request, "").await
}

/// A user without any role, with a token.
async fn ann(server: &Running) -> String {
    let users: Api<User> = Api::all(server.app.own.clone());
    let ann = User::new(&"u-ann".parse().unwrap(), "ann");
    users.create(&PostParams::default(), &ann).await.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    tokens::create(&server.app, new).await.unwrap().token
}

async fn bind(server: &Running, role: &str) {
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
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
}

#[tokio::test]
async fn a_tunnel_is_explained_from_its_session_to_the_api_server() {
    let server = Running::start().await;
    let agent = server.connected(mirror).await;
    let id = "c-1".parse().unwrap();
    // The server has looked after it once.
    let explained = within(async {
        loop {
            let explained = tunnel(&server).await;
            let looked = explained.sessions.first();
            if looked.is_some_and(|session| session.api_server.is_some()) {
                return explained;
            }
        }
    })
    .await;
    assert_eq!(explained.cluster_name, "c-1");
    assert!(explained.registered);
    let [session] = explained.sessions.as_slice() else {
        panic!("{explained:?}");
    };
    assert_eq!(session.id, agent.id());
    assert!(session.in_use && session.attached, "{session:?}");
    assert_eq!((session.phase.as_str(), session.carriers), ("Live", 1));
    assert_eq!(session.software, "test/0");
    assert!(session.remote_address.starts_with("127.0.0.1:"));
    assert!(session.sent_bytes > 0 && session.received_bytes > 0);
    assert!(session.replay_bound_bytes > 0);
    let look = session.api_server.as_ref().unwrap();
    assert!(look.answered_milliseconds.is_some(), "{look:?}");
    assert!(explained.server.windows.total_bytes > 0);
    assert!(session.windows.total_bytes > 0 && session.replay.total_bytes > 0);
    let classes = session
        .streams
        .as_ref()
        .map(|streams| streams.classes.len());
    assert_eq!(classes, Some(4));

    agent.close(CloseCode::Normal, "the test is over");
    until(|| server.app.tunnels.get(&id).is_none()).await;
    let gone = within(async {
        loop {
            let gone = tunnel(&server).await;
            if !gone.problems.is_empty() {
                return gone;
            }
        }
    })
    .await;
    assert!(gone.sessions.is_empty());
    assert_eq!(gone.problems[0].reason, "SessionEnded");
    assert!(gone.problems[0].message.contains("the test is over"));

    let page = server.app.metrics.encode().unwrap();
    for line in [
        "lariat_tunnel_sessions{state=\"attached\"} 0\n",
        "lariat_tunnel_carriers_total{outcome=\"new\"} 1\n",
        "lariat_tunnel_budget_taken_bytes{budget=\"replay\"} ",
        "lariat_tunnel_streams{class=\"interactive\"} 0\n",
        "lariat_tunnel_requests_waiting 0\n",
        "lariat_tunnel_handshakes 0\n",
        "lariat_tunnel_api_server_answer_seconds_count ",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    let bytes = page
        .lines()
        .find_map(|line| line.strip_prefix("lariat_tunnel_bytes_total{direction=\"sent\"} "));
    assert!(bytes.unwrap().parse::<u64>().unwrap() > 0, "{page}");
    let mut ours = page.lines().filter(|line| line.contains("lariat_tunnel_"));
    assert!(!ours.any(|line| line.contains("c-1")), "{page}");
}

#[tokio::test]
async fn a_request_is_found_by_the_id_that_its_client_was_given() {
    let server = Running::start().await;
    let agent = server
        .connected(|request: Request<Incoming>| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            answer(201, [body.as_ref(), b"!"].concat())
        })
        .await;
    let path = "/k8s/clusters/c-1/api/v1/namespaces/a/pods?fieldManager=x&limit=5";
    let request = server.request("POST", path);
    let (parts, body) = server.ask(request, "hello").await;
    assert_eq!(
        (parts.status, &body[..]),
        (StatusCode::CREATED, &b"hello!"[..])
    );
    let id = parts.headers["audit-id"].to_str().unwrap();
    // It is over when the server has let go of it, which the client may know first.
    let found = within(async {
        loop {
            let one = format!("{TUNNEL}/requests/{id}");
            let (parts, body) = server.ask(server.request("GET", &one), "").await;
            assert_eq!(parts.status, StatusCode::OK, "{body:?}");
            let found: TunnelRequest = serde_json::from_slice(&body).unwrap();
            if !found.under_way {
                return found;
            }
        }
    })
    .await;
    assert_eq!(found.id, id);
    assert_eq!(found.username, "admin");
    assert_eq!(
        (found.method.as_str(), found.path.as_str()),
        (
            "POST",
            "/api/v1/namespaces/a/pods?fieldManager=(hidden)&limit=5"
        )
    );
    assert_eq!(found.session, agent.id());
    assert_eq!(found.class, "interactive");
    assert_eq!((found.received_bytes, found.sent_bytes), (5, 6));
    assert_eq!((found.status, found.error.as_str()), (Some(201), ""));
    assert!(found.answered_milliseconds.unwrap() <= found.lasted_milliseconds);
    let (parts, _) = server
        .ask(
            server.request("GET", &format!("{TUNNEL}/requests/none")),
            "",
        )
        .await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_that_goes_on_is_shown_with_what_it_has_carried() {
    let server = Running::start().await;
    server
        .connected(|_: Request<Incoming>| async {
            let first = http_body::Frame::data(bytes::Bytes::from_static(b"first"));
            let first = futures::stream::iter([Ok(first)]);
            let body = futures::StreamExt::chain(
                first,
                futures::stream::pending::<Result<_, std::io::Error>>(),
            );
            http::Response::new(http_body_util::StreamBody::new(body).boxed_unsync())
        })
        .await;
    let mut client = server.client("localhost").await;
    let path = "/k8s/clusters/c-1/api/v1/namespaces/a/pods/p/log?follow=true";
    let request = server.request("GET", path);
    let request = request.body(Full::default().boxed_unsync()).unwrap();
    let mut response = within(client.send_request(request)).await.unwrap();
    let frame = within(response.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    let found = requests(&server, &server.token).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].under_way, "{found:?}");
    assert_eq!((found[0].class.as_str(), found[0].sent_bytes), ("watch", 5));
}

#[tokio::test]
async fn a_request_that_no_session_could_take_says_so() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let (parts, _) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    let failed = within(async {
        loop {
            let found = requests(&server, &server.token).await;
            if found.iter().any(|request| !request.under_way) {
                return found;
            }
        }
    })
    .await;
    assert_eq!(failed[0].status, Some(503));
    assert!(failed[0].error.contains("is not connected"), "{failed:?}");
    assert_eq!(failed[0].session, "");
}

#[tokio::test]
async fn who_sees_a_cluster_sees_its_tunnel_and_only_its_owner_what_others_ask() {
    let server = Running::start().await;
    server.connected(mirror).await;
    let ann = ann(&server).await;
    let secret = "/k8s/clusters/c-1/api/v1/namespaces/a/secrets/s";
    server.ask(server.request("GET", secret), "").await;
    for path in [
        TUNNEL.to_owned(),
        format!("{TUNNEL}/requests"),
        format!("{TUNNEL}/requests/1"),
        TUNNEL.replace("c-1", "c-none"),
    ] {
        let (parts, _) = as_holder(&server, &ann, &path).await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{path}");
    }
    bind(&server, "cluster-member").await;
    let (parts, _) = as_holder(&server, &ann, TUNNEL).await;
    assert_eq!(parts.status, StatusCode::OK);
    assert!(requests(&server, &ann).await.is_empty());
    let others = requests(&server, &server.token).await.remove(0).id;
    let (parts, _) = as_holder(&server, &ann, &format!("{TUNNEL}/requests/{others}")).await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
    as_holder(&server, &ann, "/k8s/clusters/c-1/api").await;
    let own = requests(&server, &ann).await;
    assert_eq!(own.len(), 1);
    assert_eq!(
        (own[0].username.as_str(), own[0].path.as_str()),
        ("ann", "/api")
    );

    bind(&server, "cluster-owner").await;
    assert_eq!(requests(&server, &ann).await.len(), 2);

    for method in ["POST", "DELETE", "PUT"] {
        let (parts, _) = server.ask(server.request(method, TUNNEL), "").await;
        assert_eq!(parts.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let unknown = TUNNEL.replace("c-1", "c-none");
    let (parts, _) = server.ask(server.request("GET", &unknown), "").await;
    assert_eq!(parts.status, StatusCode::NOT_FOUND);
}
