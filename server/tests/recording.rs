//! Sessions in containers that must be recorded: what is written down, and what does not get through.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agents;

use agents::{Answer, Running, answer, mirror, until, within};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{ClusterRoleTemplateBinding, RecordingPhase, SessionRecording, Subject, User};
use lariat_server::recordings;
use lariat_server::tokens::{self, NewToken};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const EXEC: &str = "/k8s/clusters/c-1/api/v1/namespaces/a/pods/b/exec?command=sh&tty=true";

/// A message on a channel, with a mask of zeros if it is a client's.
fn message(client: bool, channel: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap();
    assert!(length < 126);
    let mut bytes = vec![0x82, length];
    if client {
        bytes[1] |= 0x80;
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes.push(channel);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Whether the server asks whether the user may.
fn is_review(request: &Request<Incoming>) -> bool {
    request.uri().path().ends_with("/selfsubjectaccessreviews")
}

fn allowed() -> Answer {
    answer(201, r#"{"spec": {}, "status": {"allowed": true}}"#)
}

/// A cluster in which the command prints what is typed, in upper case, and ends with the code 3 after
/// an empty line. It chooses the first version that is offered.
async fn cluster(mut request: Request<Incoming>) -> Answer {
    if is_review(&request) {
        return allowed();
    }
    if !request.headers().contains_key("upgrade") {
        return mirror(request).await;
    }
    let offered = request.headers()["sec-websocket-protocol"].clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.unwrap());
        loop {
            let mut head = [0; 7];
            if io.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut text = vec![0; usize::from(head[1] & 0x7f) - 1];
            io.read_exact(&mut text).await.unwrap();
            let text = String::from_utf8(text).unwrap();
            if text == "\n" {
                break;
            }
            let printed = message(false, 1, &text.to_uppercase());
            io.write_all(&printed).await.unwrap();
        }
        let status = r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        io.write_all(&message(false, 3, status)).await.unwrap();
        io.shutdown().await.unwrap();
    });
    let mut response = answer(101, "");
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    let offered = offered.to_str().unwrap();
    let first = offered.split(',').next().unwrap().parse().unwrap();
    headers.insert("sec-websocket-protocol", first);
    response
}

fn asks(request: http::request::Builder) -> http::request::Builder {
    request
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
}

/// Opens a session.
async fn open(server: &Running, path: &str) -> TokioIo<Upgraded> {
    let mut client = server.client("localhost").await;
    let request = asks(server.request("GET", path)).body(Full::default().boxed_unsync());
    let mut response = within(client.send_request(request.unwrap())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap())
}

/// Everything that is still to come.
async fn rest(io: &mut TokioIo<Upgraded>) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut may end with an error.
    let _ = within(io.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Demands that everybody's sessions in `c-1` are recorded.
async fn demand(server: &Running, input: bool) {
    let spec = json!({"spec": {"sessionRecording": {"required": true, "input": input}}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(spec));
    let patched = server.clusters().patch("c-1", &params, &patch).await;
    patched.unwrap();
}

fn of_cluster(server: &Running) -> Api<SessionRecording> {
    Api::namespaced(server.app.own.clone(), "c-1")
}

/// The only recording, once it has ended.
async fn recording(server: &Running) -> SessionRecording {
    let ended = async {
        loop {
            let listed = of_cluster(server).list(&ListParams::default()).await;
            let mut listed = listed.unwrap().items;
            assert!(listed.len() < 2, "{listed:?}");
            if let Some(found) = listed.pop()
                && found.status.phase != RecordingPhase::Recording
            {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    within(ended).await
}

fn cast_path(recording: &SessionRecording) -> String {
    let name = recording.metadata.name.as_deref().unwrap();
    format!("/apis/management.cattle.io/v3/namespaces/c-1/sessionrecordings/{name}/cast")
}

/// The header and the events of a recording, without their times.
async fn read(server: &Running, recording: &SessionRecording) -> (Value, Vec<(String, String)>) {
    let path = cast_path(recording);
    let (parts, body) = server.ask(server.request("GET", &path), "").await;
    assert_eq!(parts.status, StatusCode::OK);
    assert_eq!(parts.headers["content-type"], "application/x-asciicast");
    let text = String::from_utf8(body.to_vec()).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    let events = lines.map(|line| {
        let (_, code, text): (f64, String, String) = serde_json::from_str(line).unwrap();
        (code, text)
    });
    (header, events.collect())
}

fn events(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = expected.iter();
    pairs
        .map(|(code, text)| ((*code).to_owned(), (*text).to_owned()))
        .collect()
}

async fn refusal(server: &Running, request: http::request::Builder, status: u16) -> String {
    let (parts, body) = server.ask(request, "").await;
    let value: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(parts.status.as_u16(), status, "{value}");
    assert_eq!(value["kind"], "Status");
    value["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_recorded_from_its_beginning_to_its_end() {
    let server = Running::start().await;
    server.connected(cluster).await;
    demand(&server, false).await;
    let mut session = open(&server, EXEC).await;
    session
        .write_all(&message(true, 4, r#"{"Width":100,"Height":30}"#))
        .await
        .unwrap();
    session.write_all(&message(true, 0, "hello")).await.unwrap();
    let expected = message(false, 1, "HELLO");
    // The size of the window was echoed as well.
    let mut echoed =
        vec![0; expected.len() + message(false, 1, r#"{"WIDTH":100,"HEIGHT":30}"#).len()];
    within(session.read_exact(&mut echoed)).await.unwrap();
    assert!(echoed.ends_with(&expected));
    session.write_all(&message(true, 0, "\n")).await.unwrap();
    rest(&mut session).await;
    drop(session);
    let found = recording(&server).await;
    assert_eq!(found.status.phase, RecordingPhase::Complete);
    assert_eq!(found.status.exit_code, Some(3));
    let (spec, admin) = (&found.spec, server.app.directory.login("admin").unwrap().0);
    assert_eq!((&*spec.user_id, &*spec.username), (admin.as_str(), "admin"));
    assert_eq!((&*spec.pod_namespace, &*spec.pod), ("a", "b"));
    assert_eq!(
        (&*spec.action, &spec.command),
        ("exec", &vec!["sh".to_owned()])
    );
    assert!(spec.terminal && !spec.input && !spec.audit_id.is_empty());
    let (header, recorded) = read(&server, &found).await;
    assert_eq!(header["version"], 2);
    assert_eq!(header["session"]["auditID"], spec.audit_id);
    let expected = events(&[
        ("r", "100x30"),
        ("o", r#"{"WIDTH":100,"HEIGHT":30}"#),
        ("o", "HELLO"),
        ("m", "exit code 3"),
        ("m", "end"),
    ]);
    assert_eq!(recorded, expected);
    let page = server.ask(server.request("GET", "/metrics"), "").await.1;
    let page = String::from_utf8(page.to_vec()).unwrap();
    let line = "lariat_recorded_sessions_total{outcome=\"Recorded\"} 1\n";
    assert!(page.contains(line), "{page}");
    // The file goes with the object.
    let name = found.metadata.name.as_deref().unwrap();
    let file = server
        .data
        .path()
        .join(format!("recordings/c-1/{name}.cast"));
    assert!(file.exists());
    let deleted = of_cluster(&server)
        .delete(name, &DeleteParams::default())
        .await;
    deleted.unwrap();
    recordings::sweep(&server.app).await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn what_is_typed_is_recorded_where_the_cluster_asks_for_it() {
    let server = Running::start().await;
    server.connected(cluster).await;
    demand(&server, true).await;
    let mut session = open(&server, EXEC).await;
    session.write_all(&message(true, 0, "ls")).await.unwrap();
    session.write_all(&message(true, 0, "\n")).await.unwrap();
    rest(&mut session).await;
    drop(session);
    let (_, mut recorded) = read(&server, &recording(&server).await).await;
    recorded.retain(|(code, _)| code == "i");
    assert_eq!(recorded, events(&[("i", "ls"), ("i", "\n")]));
}

#[tokio::test]
async fn a_role_demands_it_of_who_has_it_and_of_nobody_else() {
    let server = Running::start().await;
    server.connected(cluster).await;
    let user = User::new(&"u-ann".parse().unwrap(), "ann");
    let users: Api<User> = Api::all(server.app.own.clone());
    users.create(&PostParams::default(), &user).await.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    let token = tokens::create(&server.app, new).await.unwrap().token;
    // The role itself does not; one that inherits it does.
    let template = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "RoleTemplate", "context": "cluster",
        "metadata": {"name": "watched"}, "sessionRecording": "required",
    });
    let above = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "RoleTemplate", "context": "cluster",
        "metadata": {"name": "above"}, "roleTemplateNames": ["watched"],
    });
    let templates: Api<lariat_api::RoleTemplate> = Api::all(server.app.own.clone());
    for template in [template, above] {
        let template = serde_json::from_value(template).unwrap();
        templates
            .create(&PostParams::default(), &template)
            .await
            .unwrap();
    }
    let binding = ClusterRoleTemplateBinding {
        metadata: ObjectMeta {
            name: Some("ann".into()),
            ..ObjectMeta::default()
        },
        subject: Subject::user("u-ann"),
        role_template_name: "above".into(),
        ..ClusterRoleTemplateBinding::default()
    };
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();

    let by_ann = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
    };
    let api = "/k8s/clusters/c-1/api/v1";
    let socket = |request: http::request::Builder| {
        request
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
    };
    for (request, expected) in [
        (
            by_ann("POST", &format!("{api}/nodes/n/proxy/run/a/b/c")),
            "a node is not told",
        ),
        (
            socket(by_ann("GET", &format!("{api}/nodes/n/proxy/exec/a/b/c"))),
            "through a proxy",
        ),
        (
            socket(by_ann("GET", &format!("{api}/namespaces/a/pods/b/proxy/"))),
            "through a proxy",
        ),
        (
            socket(by_ann("GET", EXEC)),
            "neither v4.channel.k8s.io nor v5.channel.k8s.io",
        ),
        (
            by_ann("GET", EXEC)
                .header("connection", "Upgrade")
                .header("upgrade", "h2c"),
            "no WebSocket and no SPDY/3.1",
        ),
    ] {
        let message = refusal(&server, request, 403).await;
        assert!(
            message.starts_with("your sessions in this cluster must be recorded"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
    let (parts, _) = server
        .ask(by_ann("GET", &format!("{api}/nodes/n/proxy/metrics")), "")
        .await;
    assert_eq!(parts.status, StatusCode::OK);

    // An administrator has no such role, and leaves no trace.
    let mut session = open(&server, EXEC).await;
    session.write_all(&message(true, 0, "\n")).await.unwrap();
    rest(&mut session).await;
    let listed = of_cluster(&server)
        .list(&ListParams::default())
        .await
        .unwrap();
    assert!(listed.items.is_empty(), "{listed:?}");

    let mut client = server.client("localhost").await;
    let request = asks(by_ann("GET", EXEC)).body(Full::default().boxed_unsync());
    let mut response = within(client.send_request(request.unwrap())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut session = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    session.write_all(&message(true, 0, "\n")).await.unwrap();
    rest(&mut session).await;
    drop(session);
    let found = recording(&server).await;
    assert_eq!(found.spec.username, "ann");
    // Whose session it is does not read or delete the recording.
    let path = cast_path(&found);
    refusal(&server, by_ann("GET", &path), 403).await;
    refusal(
        &server,
        by_ann("DELETE", path.trim_end_matches("/cast")),
        403,
    )
    .await;
    refusal(&server, server.request("DELETE", &path), 405).await;
    refusal(
        &server,
        server.request("GET", &path.replace("/cast", "x/cast")),
        404,
    )
    .await;
    // Nor does anybody make one, or change it.
    let mut forged = serde_json::to_value(&found).unwrap();
    forged["metadata"] = json!({"name": "forged"});
    let forged = forged.to_string().leak();
    let all = "/apis/management.cattle.io/v3/namespaces/c-1/sessionrecordings";
    let request = server
        .request("POST", all)
        .header("content-type", "application/json");
    let (parts, body) = server.ask(request, forged).await;
    assert_eq!(parts.status, StatusCode::FORBIDDEN, "{body:?}");
}

#[tokio::test]
async fn a_session_that_cannot_be_recorded_any_longer_ends() {
    let server = Running::start_with(&["--recordings-session-maxsize", "1"]).await;
    server.connected(cluster).await;
    demand(&server, false).await;
    let mut session = open(&server, EXEC).await;
    let text = "x".repeat(100);
    let (mut reader, mut writer) = tokio::io::split(&mut session);
    let typing = async {
        let typed = message(true, 0, &text);
        while writer.write_all(&typed).await.is_ok() {}
    };
    let mut told = Vec::new();
    let reading = async {
        let _ = reader.read_to_end(&mut told).await;
    };
    within(async { tokio::join!(typing, reading) }).await;
    let found = recording(&server).await;
    assert!(
        found.status.reason.contains("recordings-session-maxsize"),
        "{found:?}"
    );
    assert!(
        found.status.size > 1_000_000 && found.status.size <= 1024 * 1024,
        "{found:?}"
    );
    assert_eq!(found.status.exit_code, None);
    // All that was told is in it.
    let (_, recorded) = read(&server, &found).await;
    let printed: usize = recorded
        .iter()
        .map(|(code, text)| match code.as_str() {
            "o" => text.len(),
            _ => 0,
        })
        .sum();
    let seen = told.iter().filter(|byte| **byte == b'X').count();
    assert!(printed >= seen && seen > 0, "{printed} of {seen}");
}

#[tokio::test]
async fn what_is_not_understood_does_not_go_on_to_the_cluster() {
    let server = Running::start().await;
    server.connected(cluster).await;
    demand(&server, false).await;
    let mut session = open(&server, EXEC).await;
    // A part of a message, which Kubernetes reads as a whole one.
    let mut fragment = message(true, 0, "hello");
    fragment[0] = 0x02;
    session.write_all(&fragment).await.unwrap();
    let told = rest(&mut session).await;
    assert!(
        told.contains("a part of a message") && !told.contains("HELLO"),
        "{told}"
    );
    let found = recording(&server).await;
    assert!(
        found.status.reason.contains("a part of a message"),
        "{found:?}"
    );
}

#[tokio::test]
async fn nobody_begins_what_there_is_no_room_for() {
    let server = Running::start().await;
    server.connected(cluster).await;
    demand(&server, false).await;
    let folder = server.data.path().join("recordings");
    std::fs::remove_dir_all(&folder).unwrap();
    let message = refusal(&server, asks(server.request("GET", EXEC)), 503).await;
    assert!(message.contains("No such file or directory"), "{message}");
    let gone = async || {
        let listed = of_cluster(&server).list(&ListParams::default()).await;
        listed.unwrap().items.is_empty()
    };
    let none = async {
        while !gone().await {
            tokio::task::yield_now().await;
        }
    };
    within(none).await;
    // Everything else goes on.
    let (parts, _) = server
        .ask(server.request("GET", "/k8s/clusters/c-1/api"), "")
        .await;
    assert_eq!(parts.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refused_session_leaves_nothing() {
    let server = Running::start().await;
    server
        .connected(|request| async move {
            match is_review(&request) {
                true => allowed(),
                false => answer(403, "no exec for you"),
            }
        })
        .await;
    demand(&server, false).await;
    let (parts, body) = server.ask(asks(server.request("GET", EXEC)), "").await;
    assert_eq!(
        (parts.status, body),
        (StatusCode::FORBIDDEN, Bytes::from("no exec for you"))
    );
    let folder = server.data.path().join("recordings/c-1");
    until(|| std::fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_none())).await;
}

#[tokio::test]
async fn what_an_earlier_server_did_not_see_the_end_of_is_said_to_be_interrupted() {
    let server = Running::start().await;
    server.connected(cluster).await;
    let object = json!({
        "apiVersion": "management.cattle.io/v3", "kind": "SessionRecording",
        "metadata": {"name": "cut"}, "spec": {"clusterName": "c-1"},
        "status": {"phase": "Recording", "startedAt": "2026-01-31T08:15:00Z", "size": 0},
    });
    let object = serde_json::from_value(object).unwrap();
    let made = of_cluster(&server)
        .create(&PostParams::default(), &object)
        .await;
    made.unwrap();
    let folder = server.data.path().join("recordings/c-1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cut.cast"), "{\"version\":2}\n").unwrap();
    let ended = recordings::end_interrupted(&server.app.own, &server.app.recordings).await;
    ended.unwrap();
    let found = recording(&server).await;
    assert_eq!(found.status.phase, RecordingPhase::Interrupted);
    assert_eq!(found.status.size, 14);
    assert!(found.status.ended_at.is_some());
    let (header, recorded) = read(&server, &found).await;
    assert_eq!((header, recorded), (json!({"version": 2}), vec![]));
}

#[tokio::test]
async fn who_is_recorded_does_not_end_it() {
    let server = Running::start().await;
    server.connected(cluster).await;
    demand(&server, false).await;
    let user = User::new(&"u-ann".parse().unwrap(), "ann");
    let users: Api<User> = Api::all(server.app.own.clone());
    users.create(&PostParams::default(), &user).await.unwrap();
    let new = NewToken {
        user: "u-ann".into(),
        ..NewToken::default()
    };
    let token = tokens::create(&server.app, new).await.unwrap().token;
    let binding = ClusterRoleTemplateBinding {
        metadata: ObjectMeta {
            name: Some("ann".into()),
            ..ObjectMeta::default()
        },
        subject: Subject::user("u-ann"),
        role_template_name: "cluster-owner".into(),
        ..ClusterRoleTemplateBinding::default()
    };
    let bindings: Api<ClusterRoleTemplateBinding> = Api::namespaced(server.app.own.clone(), "c-1");
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    let path = "/apis/management.cattle.io/v3/clusters/c-1";
    let patch = async |token: &str, spec: &'static str| {
        let request = Request::patch(path)
            .header("host", "localhost")
            .header("content-type", "application/merge-patch+json")
            .header("authorization", format!("Bearer {token}"));
        server.ask(request, spec).await
    };
    for end in [
        r#"{"spec": {"sessionRecording": null}}"#,
        r#"{"spec": {"sessionRecording": {"required": false}}}"#,
    ] {
        let (parts, body) = patch(&token, end).await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{body:?}");
    }
    let (parts, body) = patch(&token, r#"{"spec": {"description": "hers"}}"#).await;
    assert_eq!(parts.status, StatusCode::OK, "{body:?}");
    let (parts, body) = patch(&server.token, r#"{"spec": {"sessionRecording": null}}"#).await;
    assert_eq!(parts.status, StatusCode::OK, "{body:?}");
}
