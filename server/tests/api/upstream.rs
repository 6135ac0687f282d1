//! What clients rely on that were written for kube-apiserver.

use http::Request;
use http::request::Builder;
use http_body_util::Full;
use serde_json::{Value, json};

use super::harness::{Answer, Client, TestServer};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// A definition with two versions, of which the first is stored.
fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "a": {"type": "string"}, "b": {"type": "string"}}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {
            "group": "example.org", "scope": "Cluster",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema},
                {"name": "v2", "served": true, "storage": false, "schema": schema},
            ],
        },
    })
}

fn thing(name: &str, fields: Value) -> Value {
    let mut thing = fields;
    thing["apiVersion"] = "example.org/v1".into();
    thing["kind"] = "Thing".into();
    thing["metadata"] = json!({"name": name});
    thing
}

async fn sent(client: &Client, request: Builder, body: &Value) -> Answer {
    let body = body.to_string().into();
    client.answer(request.body(Full::new(body)).unwrap()).await
}

async fn patch(client: &Client, path: &str, patch: &Value) -> Value {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    let answer = sent(client, request, patch).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_stored_object_is_read_by_the_schema_of_today_in_the_version_of_the_request() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let made = admin.post(DEFINITIONS, &definition()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let old = thing("old", json!({"b": "gone soon"}));
    let made = admin.post("/apis/example.org/v1/things", &old).await;
    assert_eq!(made.status, 201, "{}", made.text());

    let patched = patch(
        &admin,
        "/apis/example.org/v2/things/old",
        &json!({"a": "x"}),
    )
    .await;
    assert_eq!(patched["apiVersion"], "example.org/v2");
    let emptied = json!({"a": null});
    patch(&admin, "/apis/example.org/v1/things/old", &emptied).await;

    let one = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"a": {"type": "string", "default": "filled in"}}}}})
    };
    let versions = json!({"spec": {"versions": [one("v1", true), one("v2", false)]}});
    let path = format!("{DEFINITIONS}/things.example.org");
    patch(&admin, &path, &versions).await;
    for path in [
        "/apis/example.org/v1/things/old",
        "/apis/example.org/v2/things/old",
    ] {
        let read = admin.get(path).await.json();
        assert_eq!(read["a"], "filled in", "{read}");
        assert!(read.get("b").is_none(), "{read}");
    }
    let list = admin.get("/apis/example.org/v1/things").await.json();
    assert_eq!(list["items"][0]["a"], "filled in", "{list}");
}

#[tokio::test]
async fn older_kinds_are_replaced_without_a_version_and_newer_ones_are_not() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let map = json!({"metadata": {"name": "words"}, "data": {"a": "1"}});
    let missing = admin.put(&format!("{MAPS}/words"), &map).await;
    assert_eq!(missing.status, 404, "{}", missing.text());
    admin.post(MAPS, &map).await;
    let map = json!({"metadata": {"name": "words"}, "data": {"a": "2"}});
    let replaced = admin.put(&format!("{MAPS}/words"), &map).await.json();
    assert_eq!(replaced["data"]["a"], "2", "{replaced}");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "leader"}, "spec": {}});
    let made = admin.post(leases, &lease).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let refused = admin.put(&format!("{leases}/leader"), &lease).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
}

#[tokio::test]
async fn the_metadata_of_a_namespace_is_written_with_its_status() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let noted = json!({"metadata": {"annotations": {"seen": "yes"}}, "spec": {"finalizers": []}});
    let written = patch(&admin, "/api/v1/namespaces/default/status", &noted).await;
    assert_eq!(
        written["metadata"]["annotations"]["seen"], "yes",
        "{written}"
    );
    assert_eq!(written["spec"]["finalizers"], json!(["kubernetes"]));
}

#[tokio::test]
async fn only_the_first_line_of_a_watch_in_tables_has_columns_and_reviews_are_no_tables() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for name in ["one", "two"] {
        admin.post(MAPS, &json!({"metadata": {"name": name}})).await;
    }
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    );
    let request = Request::get(&path).header("accept", TABLE);
    let watched = sent(&admin, request, &Value::Null).await.text();
    let columns: Vec<bool> = watched
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["object"]["columnDefinitions"].is_array())
        .collect();
    assert_eq!(columns, [true, false, false], "{watched}");

    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let request = Request::post(reviews).header("content-type", "application/json");
    let refused = sent(&admin, request.header("accept", TABLE), &review).await;
    assert_eq!(refused.status, 406, "{}", refused.text());
}

#[tokio::test]
async fn resources_say_in_which_version_they_are_stored() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let found = admin.get("/api/v1").await.json();
    let resources = found["resources"].as_array().unwrap().iter();
    let mut hashes = resources.filter(|resource| resource["name"] == "configmaps");
    // What kube-apiserver 1.35 says.
    assert_eq!(hashes.next().unwrap()["storageVersionHash"], "qFsyl6wFWjQ=");
}
