//! Bodies and answers in protobuf.

use crate::harness::{JSON, TestServer, kinds};
use apiserver::protobuf::{self, Expected};
use apiserver::serve::Body;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";
const METADATA: &str =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Where the types of the core group and those of all kinds are.
const CORE: &str = "api.core.v1";
const META: &str = "apimachinery.pkg.apis.meta.v1";

/// A server with a widget.
async fn start() -> TestServer {
    let server = TestServer::start(kinds::all());
    server.namespace("default", json!({})).await;
    let widget = json!({
        "apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {},
    });
    server.make(WIDGETS, widget).await;
    server
}

fn map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}},
        "data": {"a": "b"}, "binaryData": {"b": "AP8="},
    })
}

/// Code, type and body.
async fn whole(response: Response<Body>) -> (u16, String, Bytes) {
    let (parts, body) = response.into_parts();
    let media_type = parts.headers["content-type"].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), media_type, body)
}

fn decoded(body: &[u8], package: &str, api_version: &str, kind: &str) -> Value {
    let expected = Expected {
        type_name: format!("io.k8s.{package}.{kind}"),
        api_version: api_version.into(),
        kind: kind.into(),
    };
    protobuf::decode(body, &expected).unwrap()
}

#[tokio::test]
async fn an_object_may_come_as_protobuf_and_go_as_protobuf() {
    let server = start().await;
    let mut made = Vec::new();
    for (name, types) in [
        ("a", [JSON, JSON]),
        ("b", [JSON, protobuf::MEDIA_TYPE]),
        ("c", [protobuf::MEDIA_TYPE, JSON]),
        ("d", [protobuf::MEDIA_TYPE, protobuf::MEDIA_TYPE]),
    ] {
        let body = match types[0] {
            JSON => map(name).to_string().into_bytes(),
            _ => protobuf::encode(&map(name)).unwrap(),
        };
        let (code, media_type, body) = whole(server.send("POST", MAPS, types, body).await).await;
        assert_eq!((code, media_type.as_str()), (201, types[1]));
        let mut object: Value = match types[1] {
            JSON => serde_json::from_slice(&body).unwrap(),
            _ => decoded(&body, CORE, "v1", "ConfigMap"),
        };
        assert_eq!(object["metadata"]["name"], name);
        for field in ["name", "uid", "resourceVersion"] {
            assert!(object["metadata"][field].take().is_string(), "{object}");
        }
        made.push(object);
    }
    assert_eq!(made[0]["binaryData"], json!({"b": "AP8="}));
    assert!(made[0]["metadata"]["managedFields"].is_array());
    for object in &made {
        assert_eq!(*object, made[0]);
    }
}

#[tokio::test]
async fn lists_statuses_and_failures_are_sent_as_protobuf() {
    let server = start().await;
    for name in ["a", "b"] {
        server.make(MAPS, map(name)).await;
    }
    let types = [JSON, "application/vnd.kubernetes.protobuf,application/json"];
    let (_, media_type, body) = whole(server.send("GET", MAPS, types, "").await).await;
    assert_eq!(media_type, protobuf::MEDIA_TYPE);
    let list = decoded(&body, CORE, "v1", "ConfigMapList");
    let names = [0, 1].map(|at| list["items"][at]["metadata"]["name"].clone());
    assert_eq!(names, ["a", "b"]);
    assert!(list["metadata"]["resourceVersion"].is_string());

    let none = format!("{MAPS}/none");
    let (code, media_type, body) = whole(server.send("GET", &none, types, "").await).await;
    assert_eq!(media_type, protobuf::MEDIA_TYPE);
    let status = decoded(&body, META, "v1", "Status");
    assert_eq!((code, &status["code"]), (404, &json!(404)));
    assert_eq!(status["message"], r#"configmaps "none" not found"#);
    assert_eq!(status["details"]["name"], "none");

    let one = format!("{MAPS}/a");
    let deleted = server.send("DELETE", &one, types, "").await;
    let status = decoded(&whole(deleted).await.2, META, "v1", "Status");
    assert_eq!(status["status"], "Success");
}

#[tokio::test]
async fn a_watch_is_sent_as_frames() {
    let server = start().await;
    server.make(MAPS, map("a")).await;
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    );
    for (accept, package, api_version, kind) in [
        (protobuf::MEDIA_TYPE, CORE, "v1", "ConfigMap"),
        (METADATA, META, "meta.k8s.io/v1", "PartialObjectMetadata"),
    ] {
        let watch = server.send("GET", &path, [JSON, accept], "").await;
        let media_type = watch.headers()["content-type"].clone();
        assert_eq!(media_type, protobuf::WATCH_MEDIA_TYPE);
        let mut frames = watch.into_body();
        for (word, name) in [("ADDED", Some("a")), ("BOOKMARK", None)] {
            let frame = frames.frame().await.unwrap().unwrap();
            let frame = frame.into_data().unwrap();
            let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
            assert_eq!(frame.len(), 4 + length as usize);
            let begins = [&[0x0a, word.len() as u8], word.as_bytes(), &[0x12]].concat();
            assert!(frame[4..].starts_with(&begins), "{frame:?}");
            let mut marks = frame.windows(4);
            let at = marks.position(|bytes| bytes == b"k8s\0").unwrap();
            let object = decoded(&frame[at..], package, api_version, kind);
            let found = object["metadata"].get("name").and_then(Value::as_str);
            assert_eq!(found, name);
        }
    }
}

#[tokio::test]
async fn kinds_of_others_are_protobuf_only_as_metadata() {
    let server = start().await;
    let body = protobuf::encode(&map("b")).unwrap();
    let types = [protobuf::MEDIA_TYPE, JSON];
    let refused = server.send("POST", WIDGETS, types, body).await;
    let (code, _, body) = whole(refused).await;
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(code, 415);
    let message = status["message"].as_str().unwrap();
    let expected = "accepted media types include: application/json, application/yaml";
    assert!(message.ends_with(expected), "{message}");
    let one = format!("{WIDGETS}/a");
    let types = [JSON, protobuf::MEDIA_TYPE];
    assert_eq!(server.send("GET", &one, types, "").await.status(), 406);
    let types = [JSON, METADATA];
    let (code, _, body) = whole(server.send("GET", &one, types, "").await).await;
    let object = decoded(&body, META, "meta.k8s.io/v1", "PartialObjectMetadata");
    assert_eq!((code, &object["metadata"]["name"]), (200, &json!("a")));
}

#[tokio::test]
async fn options_of_a_deletion_may_come_as_protobuf_for_every_kind() {
    let server = start().await;
    let types = [protobuf::MEDIA_TYPE, JSON];
    let dry = json!({"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]});
    let wet = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    let one = format!("{WIDGETS}/a");
    for (options, code) in [(&map("a"), 400), (&dry, 200), (&wet, 200), (&wet, 404)] {
        let body = protobuf::encode(options).unwrap();
        let answer = server.send("DELETE", &one, types, body).await;
        assert_eq!(answer.status(), code, "{options}");
    }
}

#[tokio::test]
async fn an_object_of_another_kind_is_refused_by_its_kind() {
    let server = start().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}});
    let body = protobuf::encode(&secret).unwrap();
    let types = [protobuf::MEDIA_TYPE, JSON];
    let refused = server.send("POST", MAPS, types, body).await;
    let (code, _, body) = whole(refused).await;
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(code, 400);
    let message = status["message"].as_str().unwrap();
    let expected = r#"Secret in version "v1" cannot be handled as a ConfigMap"#;
    assert!(message.starts_with(expected), "{message}");
}
