//! Changes as clients of Rancher are told of them.

use futures::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::harness::{Client, LIMIT, TestServer};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens a subscription, or says with which status it was refused.
async fn subscribe(client: &Client, query: &str) -> Result<Socket, u16> {
    let request = Request::get(format!("wss://localhost/v3/subscribe{query}"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    let request = match &client.token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let stream = client.connect("localhost").await.unwrap();
    let opened = tokio_tungstenite::client_async(request.body(()).unwrap(), stream).await;
    match opened {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The next event that is no ping; `None` at the end.
async fn event(socket: &mut Socket) -> Option<Value> {
    loop {
        let next = tokio::time::timeout(LIMIT, socket.next()).await;
        match next.expect("an event in time") {
            Some(Ok(Message::Text(text))) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["name"] != "ping" {
                    return Some(event);
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

async fn create(client: &Client, name: &str) -> String {
    let made = client.post("/v3/clusters", &json!({"name": name})).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

/// Waits for an event of that name about that object.
async fn about(socket: &mut Socket, name: &str, id: &str) -> Value {
    loop {
        let event = event(socket).await.expect("it is still open");
        if event["name"] == name && event["data"]["id"] == id {
            return event;
        }
    }
}

#[tokio::test]
async fn every_object_comes_and_every_change_of_it() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let before = create(&admin, "before").await;
    let mut socket = subscribe(&admin, "?resourceTypes=cluster").await.unwrap();
    let first = about(&mut socket, "resource.change", &before).await;
    assert_eq!(first["resourceType"], "cluster");
    assert_eq!(first["data"]["type"], "cluster");
    assert_eq!(first["data"]["name"], "before");
    assert_eq!(
        first["data"]["links"]["self"],
        format!("https://localhost/v3/clusters/{before}")
    );
    let after = create(&admin, "after").await;
    about(&mut socket, "resource.change", &after).await;
    let path = format!("/v3/clusters/{after}");
    admin.put(&path, &json!({"description": "changed"})).await;
    let changed = about(&mut socket, "resource.change", &after).await;
    assert_eq!(changed["data"]["description"], "changed");
    admin.delete(&path).await;
    about(&mut socket, "resource.remove", &after).await;
}

#[tokio::test]
async fn nobody_is_told_of_what_they_do_not_see() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, _) = server.user(&admin, "ann").await;
    let own = create(&ann, "own").await;
    let mut socket = subscribe(&ann, "").await.unwrap();
    about(&mut socket, "resource.change", &own).await;
    let hidden = create(&admin, "hidden").await;
    let path = format!("/v3/clusters/{own}");
    let changed = ann.put(&path, &json!({"description": "changed"})).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.text());
    loop {
        let event = event(&mut socket).await.expect("it is still open");
        assert_ne!(event["data"]["id"], hidden);
        assert_ne!(event["data"]["clusterId"], hidden);
        assert_ne!(event["data"]["type"], "globalRoleBinding", "{event}");
        if event["data"]["description"] == "changed" {
            break;
        }
    }
    assert_eq!(
        subscribe(&ann, "?resourceTypes=globalRoleBinding")
            .await
            .unwrap_err(),
        404
    );
    assert_eq!(
        subscribe(&ann, "?resourceTypes=nothing").await.unwrap_err(),
        404
    );
    assert_eq!(subscribe(&server.stranger(), "").await.unwrap_err(), 401);
}

#[tokio::test]
async fn a_subscription_ends_with_its_token() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (ann, _) = server.user(&admin, "ann").await;
    let mut socket = subscribe(&ann, "?resourceTypes=setting").await.unwrap();
    assert!(event(&mut socket).await.is_some());
    ann.post("/v3/tokens?action=logout", &json!({})).await;
    while event(&mut socket).await.is_some() {}
}

#[tokio::test]
async fn who_sends_too_much_is_cut_off() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let mut socket = subscribe(&admin, "?resourceTypes=cluster").await.unwrap();
    let _ = socket.send(Message::text("x".repeat(1 << 20))).await;
    while event(&mut socket).await.is_some() {}
}

#[tokio::test]
async fn what_is_no_websocket_is_refused() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let answer = admin.get("/v3/subscribe").await;
    assert_eq!(answer.status.as_u16(), 400, "{}", answer.text());
    assert_eq!(answer.json()["type"], "error");
}
