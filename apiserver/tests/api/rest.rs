//! Requests for resources, answered over a real store.

use crate::harness::{APPLY, JSON, LIMIT, Setup, TestServer, kinds, user, whole};
use apiserver::admission::Hooks;
use apiserver::serve::{Attributes, Authorizer, Body, Decision, User};
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

#[derive(Debug)]
struct AllButNobody;

impl Authorizer for AllButNobody {
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision {
        if user.name == "nobody" {
            return Decision::Deny(String::new());
        }
        if let Attributes::Resource(what) = what {
            assert_eq!(what.resource, "widgets");
        }
        Decision::Allow
    }
}

fn start() -> TestServer {
    let mut setup = Setup::of([kinds::widgets()]);
    setup.authorizer = Arc::new(AllButNobody);
    setup.start()
}

impl TestServer {
    async fn make_widget(&self, name: &str, labels: Value, spec: Value) -> Value {
        let widget = json!({
            "apiVersion": "example.org/v1", "kind": "Widget",
            "metadata": {"name": name, "labels": labels}, "spec": spec,
        });
        self.make(WIDGETS, widget).await
    }
}

async fn next(watch: &mut Response<Body>) -> Option<Value> {
    let frame = tokio::time::timeout(LIMIT, watch.body_mut().frame());
    let frame = frame.await.unwrap()?.unwrap();
    Some(serde_json::from_slice(&frame.into_data().unwrap()).unwrap())
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    let names = items.iter().map(|item| item["metadata"]["name"].as_str());
    names.map(Option::unwrap).collect()
}

#[tokio::test]
async fn an_object_is_made_read_changed_and_deleted() {
    let server = start();
    let made = server
        .make_widget("a", json!({}), json!({"colour": "red"}))
        .await;
    assert_eq!(made["spec"], json!({"colour": "red", "size": 1}));
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{WIDGETS}/a");
    assert_eq!(
        server.ask("GET", &path, Value::Null).await,
        (200, made.clone())
    );

    let mut wider = made.clone();
    wider["spec"]["size"] = 2.into();
    wider["status"] = json!({"ready": true});
    let (code, changed) = server.ask("PUT", &path, wider.clone()).await;
    assert_eq!(code, 200);
    assert_eq!(changed["metadata"]["generation"], 2);
    assert!(changed.get("status").is_none(), "it has a subresource");
    assert_eq!(server.ask("PUT", &path, wider).await.0, 409);

    let patch = json!({"status": {"ready": true}, "spec": {"size": 9}});
    let (code, patched) = server.ask("PATCH", &format!("{path}/status"), patch).await;
    assert_eq!(code, 200);
    assert_eq!(patched["status"]["ready"], true);
    assert_eq!(patched["spec"]["size"], 2);
    assert_eq!(patched["metadata"]["generation"], 2);
    let nothing = server
        .ask("PATCH", &path, json!({"spec": {"size": 2}}))
        .await
        .1;
    assert_eq!(nothing, patched, "what changes nothing is not written");

    let (code, status) = server.ask("DELETE", &path, Value::Null).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
    assert_eq!(server.ask("GET", &path, Value::Null).await.0, 404);
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.0, 404);
}

/// Names objects by how many it has named, a few times the same.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Counting {
    const SAME: usize = 5;
}

impl Hooks for Counting {
    fn name(&self) -> Option<String> {
        let named = self.0.fetch_add(1, Ordering::Relaxed);
        Some(format!("w-{}", named / Self::SAME))
    }
}

/// Names every object alike.
#[derive(Debug)]
struct Alike;

impl Hooks for Alike {
    fn name(&self) -> Option<String> {
        Some("w".into())
    }
}

#[tokio::test]
async fn a_made_up_name_that_is_taken_is_made_up_again() {
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "spec": {}});
    let mut counted = kinds::widgets();
    counted.hooks = Arc::new(Counting::default());
    let server = TestServer::start([counted]);
    for name in ["w-0", "w-1", "w-2"] {
        let made = server.make(WIDGETS, widget.clone()).await;
        assert_eq!(made["metadata"]["name"], name);
    }
    let mut alike = kinds::widgets();
    alike.hooks = Arc::new(Alike);
    let server = TestServer::start([alike]);
    server.make(WIDGETS, widget.clone()).await;
    let (code, refused) = server.ask("POST", WIDGETS, widget).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("AlreadyExists")));
    let wanted = "widgets.example.org \"w\" already exists, the server was not able to generate a \
        unique name for the object";
    assert_eq!(refused["message"], wanted);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_field() {
    let server = start();
    let widget = |name: &str, spec: Value| json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    let (code, status) = server
        .ask(
            "POST",
            WIDGETS,
            widget("A_", json!({"size": -1, "colour": "green"})),
        )
        .await;
    assert_eq!(code, 422);
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|cause| &cause["field"]).collect();
    for field in ["metadata.name", "spec.size", "spec.colour"] {
        assert!(fields.contains(&&json!(field)), "{field}: {status}");
    }
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let (code, status) = server
        .ask("POST", &strict, widget("a", json!({"bad": 1})))
        .await;
    assert_eq!(code, 400, "{status}");
    let unknown = widget("a", json!({"bad": 1})).to_string();
    let warned = server.send("POST", WIDGETS, [JSON, ""], unknown).await;
    assert_eq!(warned.status(), 201);
    assert!(warned.headers().contains_key("warning"));
    for (path, code) in [
        ("/apis/example.org/v1/widgets/a", 404),
        ("/apis/example.org/v2/widgets", 404),
        ("/apis/example.org/v1/namespaces/default/gadgets", 404),
        (&*format!("{WIDGETS}?fieldSelector=spec.size%3D1"), 400),
        (&*format!("{WIDGETS}?resourceVersion=999999"), 504),
    ] {
        assert_eq!(server.ask("GET", path, Value::Null).await.0, code, "{path}");
    }
}

#[tokio::test]
async fn a_list_goes_on_as_it_was_when_it_began() {
    let server = start();
    for name in ["a", "b", "c", "d"] {
        server
            .make_widget(name, json!({"even": "x"}), json!({}))
            .await;
    }
    let first = server
        .ask("GET", &format!("{WIDGETS}?limit=2"), Value::Null)
        .await
        .1;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    server
        .ask("DELETE", &format!("{WIDGETS}/c"), Value::Null)
        .await;
    server.make_widget("e", json!({}), json!({})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{WIDGETS}?limit=5&continue={token}");
    let rest = server.ask("GET", &path, Value::Null).await.1;
    assert_eq!(names(&rest), ["c", "d"]);
    let selected = format!("{WIDGETS}?labelSelector=even&fieldSelector=metadata.name!%3Da");
    let selected = server.ask("GET", &selected, Value::Null).await.1;
    assert_eq!(names(&selected), ["b", "d"]);
    let everywhere = "/apis/example.org/v1/widgets";
    let everywhere = server.ask("GET", everywhere, Value::Null).await.1;
    assert_eq!(names(&everywhere), ["a", "b", "d", "e"]);
}

#[tokio::test]
async fn a_watch_tells_what_comes_into_view_and_what_leaves_it() {
    let server = start();
    let first = server
        .make_widget("a", json!({"in": "view"}), json!({}))
        .await;
    let path = format!("{WIDGETS}?watch=true&labelSelector=in%3Dview");
    let mut watch = server.send("GET", &path, ["", ""], "").await;
    let event = next(&mut watch).await.unwrap();
    assert_eq!(event, json!({"type": "ADDED", "object": first}));
    server.make_widget("b", json!({}), json!({})).await;
    let put = |labels: Value| json!({"metadata": {"labels": labels}});
    let (a, b) = (format!("{WIDGETS}/a"), format!("{WIDGETS}/b"));
    server.ask("PATCH", &b, put(json!({"in": "view"}))).await;
    server.ask("PATCH", &a, put(json!({"in": null}))).await;
    server.ask("DELETE", &b, Value::Null).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = next(&mut watch).await.unwrap();
        seen.push(format!(
            "{} {}",
            event["type"], event["object"]["metadata"]["name"]
        ));
    }
    assert_eq!(
        seen,
        [r#""ADDED" "b""#, r#""DELETED" "a""#, r#""DELETED" "b""#]
    );
    server.shutdown.cancel();
    assert_eq!(next(&mut watch).await, None);

    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{WIDGETS}?watch=true&resourceVersion={revision}&timeoutSeconds=5");
    let server = server;
    let mut again = server.send("GET", &path, ["", ""], "").await;
    assert_eq!(
        next(&mut again).await.unwrap()["object"]["metadata"]["name"],
        "b"
    );
}

#[tokio::test]
async fn a_watch_begins_at_the_first_write_of_its_kind() {
    let server = start();
    let first = server.make_widget("a", json!({}), json!({})).await;
    server.make_widget("b", json!({}), json!({})).await;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{WIDGETS}?watch=true&resourceVersion={revision}&timeoutSeconds=5");
    let mut watch = server.send("GET", &path, ["", ""], "").await;
    let event = next(&mut watch).await.unwrap();
    assert_eq!(event["type"], "ADDED", "{event}");
    assert_eq!(event["object"]["metadata"]["name"], "b");
}

#[tokio::test]
async fn finalizers_hold_a_deleted_object() {
    let server = start();
    server.make_widget("a", json!({}), json!({})).await;
    let path = format!("{WIDGETS}/a");
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    server
        .ask("PATCH", &path, finalizers(json!(["example.org/hold"])))
        .await;
    let (code, held) = server.ask("DELETE", &path, Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(
        held["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:00Z"
    );
    let more = server.ask(
        "PATCH",
        &path,
        finalizers(json!(["example.org/hold", "example.org/b"])),
    );
    assert_eq!(more.await.0, 422);
    assert_eq!(
        server.ask("PATCH", &path, finalizers(json!([]))).await.0,
        200
    );
    assert_eq!(server.ask("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn an_apply_owns_what_it_says() {
    let server = start();
    let apply = async |manager: &str, spec: Value, more: &str| {
        let config = json!({
            "apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec,
        });
        let path = format!("{WIDGETS}/a?fieldManager={manager}{more}");
        let config = config.to_string();
        whole(server.send("PATCH", &path, [APPLY, ""], config).await).await
    };
    let (code, made) = apply("one", json!({"size": 1}), "").await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "one");
    let (code, same) = apply("one", json!({"size": 1}), "").await;
    assert_eq!((code, same), (200, made));
    let (code, added) = apply("two", json!({"colour": "red"}), "").await;
    assert_eq!(code, 200);
    assert_eq!(added["spec"], json!({"size": 1, "colour": "red"}));
    let (code, conflict) = apply("two", json!({"colour": "red", "size": 2}), "").await;
    assert_eq!(code, 409);
    assert_eq!(
        conflict["message"],
        "Apply failed with 1 conflict: conflict with \"one\": .spec.size"
    );
    assert_eq!(conflict["details"]["causes"][0]["field"], ".spec.size");
    let (code, forced) = apply("two", json!({"size": 2}), "&force=true").await;
    assert_eq!(code, 200);
    assert_eq!(forced["spec"], json!({"size": 2}), "colour was given up");
    assert_eq!(forced["metadata"]["generation"], 3);
}

#[tokio::test]
async fn kubectl_gets_rows() {
    let server = start();
    server.make_widget("a", json!({}), json!({"size": 7})).await;
    let types = ["", "application/json;as=Table;v=v1;g=meta.k8s.io"];
    let table = server.send("GET", WIDGETS, types, "").await;
    let (_, table) = whole(table).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 7]));
    let nobody = user("nobody", &[]);
    let refused = server.ask_as(&nobody, "GET", WIDGETS, Value::Null).await;
    assert_eq!(refused.0, 403);
    assert_eq!(
        refused.1["message"],
        "widgets.example.org is forbidden: User \"nobody\" cannot list resource \"widgets\" in API group \"example.org\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn clients_find_out_what_is_served() {
    let server = start();
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/example.org", "APIGroup"),
        ("/apis/example.org/v1", "APIResourceList"),
        ("/apis/nobody.org/v1", "Status"),
    ] {
        let found = server.ask("GET", path, Value::Null).await.1;
        assert_eq!(found["kind"], kind, "{path}");
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let response = server.send("GET", "/apis", ["", accept], "").await;
    assert_eq!(response.headers()["content-type"], accept);
    let all = whole(response).await.1;
    assert_eq!(
        all["items"][0]["versions"][0]["resources"][0]["resource"],
        "widgets"
    );
}
