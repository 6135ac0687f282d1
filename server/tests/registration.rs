//! Which agents are taken for which cluster.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use agents::{Running, mirror, serve, until, within};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::Upgraded;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tunnel::dial::{DialError, Introduction};
use tunnel::identity::KeyPair;
use tunnel::session::refusal_in;
use tunnel_proto::SUBPROTOCOL;
use tunnel_proto::hello::{AgentKind, Rejection, RejectionCode};
use tunnel_proto::stream::{Class, OpenV1, RefusalReason, Target};

fn rejection(error: DialError) -> Rejection {
    let DialError::Rejected(rejection) = error else {
        panic!("not a rejection: {error:?}");
    };
    rejection
}

async fn rejected(server: &Running, key: &KeyPair, token: Option<&str>) -> Rejection {
    rejection(server.dial(key, token).await.err().unwrap())
}

#[tokio::test]
async fn a_key_is_bound_once_and_comes_back_without_a_token() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = KeyPair::generate().unwrap();
    let connected = server.dial(&key, Some(&token)).await.unwrap();
    assert_eq!(connected.welcome.bound_to, "c-1");
    drop(connected);
    // The same key again, with the used-up token and without any.
    server.dial(&key, Some(&token)).await.unwrap();
    server.dial(&key, None).await.unwrap();
    let token = server.registrations("c-1").get("t").await.unwrap();
    assert_eq!(token.status.unwrap().uses, 1);
}

#[tokio::test]
async fn a_second_key_needs_the_administrators_word() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let first = server.registration("c-1", "first").await;
    let second = server.registration("c-1", "second").await;
    server
        .dial(&KeyPair::generate().unwrap(), Some(&first))
        .await
        .unwrap();
    let other = KeyPair::generate().unwrap();
    let refused = rejected(&server, &other, Some(&second)).await;
    assert_eq!(refused.code, RejectionCode::KeyMismatch);
    assert!(
        refused.message.contains("lariat cluster rebind c-1"),
        "{}",
        refused.message
    );
    server.allow_rebind("c-1").await;
    server.dial(&other, Some(&second)).await.unwrap();
    let cluster = server.clusters().get("c-1").await.unwrap();
    assert!(!cluster.spec.allow_agent_rebind);
}

#[tokio::test]
async fn a_replaced_key_loses_its_session() {
    let server = Running::start().await;
    let session = server.connected(mirror).await;
    let second = server.registration("c-1", "second").await;
    server.allow_rebind("c-1").await;
    let connected = server
        .dial(&KeyPair::generate().unwrap(), Some(&second))
        .await
        .unwrap();
    tokio::spawn(connected.driver);
    within(session.over().cancelled()).await;
}

#[tokio::test]
async fn unknown_used_up_and_missing_tokens_are_told_apart() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = || KeyPair::generate().unwrap();
    let missing = rejected(&server, &key(), None).await;
    assert_eq!(missing.code, RejectionCode::UnknownKey);
    let unknown = rejected(&server, &key(), Some("nonsense")).await;
    assert_eq!(unknown.code, RejectionCode::BadToken);
    assert!(unknown.message.contains("not known"));
    let used = Patch::Merge(json!({"status": {"uses": 1}}));
    let tokens = server.registrations("c-1");
    let params = PatchParams::default();
    tokens.patch_status("t", &params, &used).await.unwrap();
    let used = rejected(&server, &key(), Some(&token)).await;
    assert_eq!(used.code, RejectionCode::BadToken);
    assert!(used.message.contains("used up"), "{}", used.message);
}

#[tokio::test]
async fn a_deleted_cluster_ends_the_session() {
    let server = Running::start().await;
    let session = server.connected(mirror).await;
    until(|| {
        server
            .app
            .directory
            .cluster(&"c-1".parse().unwrap())
            .is_some()
    })
    .await;
    let params = DeleteParams::default();
    server.clusters().delete("c-1", &params).await.unwrap();
    within(session.over().cancelled()).await;
}

#[tokio::test]
async fn a_restarted_agent_replaces_its_own_session_and_a_sibling_stays_beside_it() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = KeyPair::generate().unwrap();
    let first = server.dial(&key, Some(&token)).await.unwrap();
    tokio::spawn(first.driver);
    serve(&first.session, mirror);
    until(|| server.app.tunnels.len() == 1).await;
    let cluster = server.clusters().get("c-1").await.unwrap();
    assert!(cluster.status.unwrap().agent.is_some());
    assert_eq!(
        cluster.metadata.generation,
        Some(1),
        "it counts what people want, not what is found"
    );
    // The same instance: one session.
    let again = server.dial(&key, None).await.unwrap();
    tokio::spawn(again.driver);
    serve(&again.session, mirror);
    within(first.session.over().cancelled()).await;
    until(|| server.app.tunnels.len() == 1).await;
    let id = "c-1".parse().unwrap();
    until(|| {
        server
            .app
            .tunnels
            .get(&id)
            .is_some_and(|tunnel| tunnel.session.id() == again.session.id())
    })
    .await;
}

/// An upgrade that the server has answered, and nothing behind it.
async fn silent(server: &Running) -> Upgraded {
    let mut client = server.client("localhost").await;
    let request = Request::get("/v3/connect")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
        .header("sec-websocket-protocol", SUBPROTOCOL)
        .body(Empty::new().boxed_unsync());
    let response = within(client.send_request(request.unwrap())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    within(hyper::upgrade::on(response)).await.unwrap()
}

#[tokio::test]
async fn an_agent_for_which_there_is_no_room_is_told_when_to_come_again() {
    let server = Running::start_with(&["--agent-handshakes", "1"]).await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = KeyPair::generate().unwrap();
    let before_it = silent(&server).await;
    let refused = server.dial(&key, Some(&token)).await.err().unwrap();
    assert!(
        matches!(&refused, DialError::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE),
        "{refused:?}"
    );
    let wait = refused.retry_after().expect("when to come again");
    assert!((1..=60).contains(&wait.as_secs()), "{wait:?}");
    let (_, page) = server.ask(server.request("GET", "/metrics"), "").await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    for line in [
        "lariat_tunnel_handshakes 1",
        "lariat_tunnel_handshakes_refused_total{reason=\"full\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    // Its end makes room.
    drop(before_it);
    within(async {
        while let Err(error) = server.dial(&key, Some(&token)).await {
            assert!(error.retry_after().is_some(), "{error:?}");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn introduction(agent: AgentKind, token: Option<&str>) -> Introduction {
    Introduction {
        agent,
        software: "test/0".into(),
        instance: "i".into(),
        registration_token: token.map(str::to_owned),
    }
}

#[tokio::test]
async fn an_agent_that_runs_in_another_cluster_than_its_key_is_refused() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let key = KeyPair::generate().unwrap();
    server.dial(&key, Some(&token)).await.unwrap();
    let known = Patch::Merge(json!({"status": {"info": {"uid": "the-first"}}}));
    let (clusters, params) = (server.clusters(), PatchParams::default());
    clusters.patch_status("c-1", &params, &known).await.unwrap();
    until(|| {
        let cluster = server.app.directory.cluster(&"c-1".parse().unwrap());
        let status = cluster.and_then(|cluster| cluster.status.clone());
        let info = status.and_then(|status| status.info);
        info.is_some_and(|info| info.uid == "the-first")
    })
    .await;
    let running_in = async |uid: &str| {
        let agent = AgentKind::Cluster {
            cluster_uid: Some(uid.to_owned()),
            kubernetes_version: None,
        };
        let introduction = introduction(agent, Some(&token));
        within(server.dialer().dial(&key, &introduction)).await
    };
    let refused = rejection(running_in("another").await.err().unwrap());
    assert_eq!(refused.code, RejectionCode::KeyMismatch);
    assert!(
        refused.message.contains("runs in another one"),
        "{}",
        refused.message
    );
    running_in("the-first").await.unwrap();
}

#[tokio::test]
async fn a_node_is_no_cluster_even_with_its_token() {
    let server = Running::start().await;
    server.cluster("c-1").await;
    let token = server.registration("c-1", "t").await;
    let agent = AgentKind::Node {
        node_name: "c-1".into(),
    };
    let (key, introduction) = (
        KeyPair::generate().unwrap(),
        introduction(agent, Some(&token)),
    );
    let dialled = within(server.dialer().dial(&key, &introduction)).await;
    let refused = rejection(dialled.err().unwrap());
    assert_eq!(refused.code, RejectionCode::UnsupportedVersion);
    let cluster = server.clusters().get("c-1").await.unwrap();
    assert!(cluster.status.and_then(|status| status.agent).is_none());
}

/// Nothing of the server, of what it reaches, or of other clusters.
#[tokio::test]
async fn an_agent_opens_nothing_at_the_server() {
    let server = Running::start().await;
    let session = server.connected(mirror).await;
    for target in [
        Target::KubeApi,
        Target::ServerApi,
        Target::AgentApi,
        Target::ServerListener,
        Target::Dial("127.0.0.1:22".into()),
        Target::Dial("c-2".into()),
    ] {
        let open = OpenV1 {
            target: target.clone(),
            class: Class::Interactive,
            trace: [0; 16],
            deadline_ms: 5_000,
        };
        let mut stream = session.open(&open).await.unwrap();
        let error = within(stream.confirmed()).await.unwrap_err();
        let refusal = refusal_in(&error).expect("a refusal");
        assert_eq!(refusal.reason, RefusalReason::NotServed, "{target:?}");
    }
    // And goes on serving.
    let (parts, _) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, http::StatusCode::OK);
}
