//! The Kubernetes-style API, asked plainly and by a Kubernetes client.

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use lariat_api::Cluster;
use serde_json::{Value, json};

use super::harness::{Client, LIMIT, TestServer, cluster, clusters, object, users};

#[tokio::test]
async fn clusters_are_made_read_changed_and_deleted() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let made = admin
        .post(
            &clusters(),
            &object("Cluster", "", json!({"spec": {"displayName": "prod"}})),
        )
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    let id = made["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(id.starts_with("c-") && id.len() == 7);
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"][field].is_string(), "{field}");
    }
    assert_eq!(made["status"]["driver"], "imported");

    let mut changed = made.clone();
    changed["spec"]["description"] = json!("the important one");
    changed["status"] = json!({"driver": "forged"});
    let changed = admin.put(&cluster(&id), &changed).await.json();
    assert_eq!(changed["spec"]["description"], "the important one");
    assert_eq!(changed["status"]["driver"], "imported");
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(changed["metadata"]["generation"], 2);

    // `made` is old by now.
    let conflict = admin.put(&cluster(&id), &made).await;
    assert_eq!(conflict.json()["reason"], "Conflict");
    conflict.refusal(409);

    let listed = admin.get(&clusters()).await.json();
    assert_eq!(listed["kind"], "ClusterList");
    assert_eq!(listed["items"], json!([changed]));
    assert_eq!(
        admin.delete(&cluster(&id)).await.json()["status"],
        "Success"
    );
    admin.get(&cluster(&id)).await.refusal(404);
    admin.delete(&cluster(&id)).await.refusal(404);
}

#[tokio::test]
async fn an_id_given_by_the_user_is_kept_and_taken_once() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let prod = object("Cluster", "prod", json!({}));
    let made = admin.post(&clusters(), &prod).await.json();
    assert_eq!(made["metadata"]["name"], "prod");
    assert_eq!(made["spec"]["displayName"], "prod");
    let again = admin.post(&clusters(), &prod).await;
    assert_eq!(again.json()["reason"], "AlreadyExists");
    again.refusal(409);
}

#[tokio::test]
async fn bad_objects_are_refused_with_the_field() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let refused = |answer: super::harness::Answer, status| answer.refusal(status);
    let name = object("Cluster", "Prod", json!({}));
    assert!(refused(admin.post(&clusters(), &name).await, 422).contains("metadata.name"));
    let kind = object("User", "prod", json!({}));
    assert!(refused(admin.post(&clusters(), &kind).await, 422).contains("kind"));
    let password = object("User", "", json!({"username": "ann", "password": "short"}));
    let message = refused(admin.post(&users(), &password).await, 422);
    assert!(message.contains("at least 12") && !message.contains("short"));
    let id = object("User", "root", json!({"username": "ann"}));
    assert!(refused(admin.post(&users(), &id).await, 422).contains("u-"));
    refused(admin.post(&clusters(), &json!("text")).await, 400);
    refused(
        admin.get("/apis/management.cattle.io/v3/nothings").await,
        404,
    );
    refused(admin.get(&format!("{}?limit=x", clusters())).await, 400);
    refused(
        admin
            .get(&format!("{}?resourceVersion=x&watch=1", clusters()))
            .await,
        400,
    );
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_and_leaves_nothing() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let dry = object("Cluster", "dry", json!({}));
    let shown = admin
        .post(&format!("{}?dryRun=All", clusters()), &dry)
        .await;
    assert_eq!(shown.status, StatusCode::CREATED);
    assert_eq!(shown.json()["spec"]["displayName"], "dry");
    admin.get(&cluster("dry")).await.refusal(404);
    let token = object("Token", "", json!({}));
    let path = format!("{}?dryRun=All", super::harness::tokens());
    assert_eq!(admin.post(&path, &token).await.json()["token"], Value::Null);
}

#[tokio::test]
async fn large_bodies_and_other_formats_are_refused() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let large = Full::from("x".repeat(3 * 1024 * 1024 + 1));
    let request = Request::post(clusters()).body(large).unwrap();
    assert_eq!(
        admin.request(request).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let request = Request::post(clusters()).header("content-type", "text/csv");
    let request = request.body(Full::from("kind,Cluster")).unwrap();
    assert_eq!(
        admin.request(request).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn patches_merge_or_edit() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    let merge = json!({"metadata": {"labels": {"env": "prod"}}, "spec": {"description": "x"}});
    let merged = patch(&admin, "application/merge-patch+json", &merge).await;
    assert_eq!(merged["metadata"]["labels"]["env"], "prod");
    let edit = json!([{"op": "replace", "path": "/spec/description", "value": "y"}]);
    let edited = patch(&admin, "application/json-patch+json", &edit).await;
    assert_eq!(edited["spec"]["description"], "y");
    assert_eq!(edited["metadata"]["labels"]["env"], "prod");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"description": "z"}});
    assert_eq!(
        patch(&admin, "application/merge-patch+json", &stale).await["reason"],
        "Conflict"
    );
    let strategic = "application/strategic-merge-patch+json";
    let other = patch(&admin, strategic, &json!({})).await;
    assert_eq!(other["code"], 415);
}

async fn patch(admin: &Client, media_type: &str, patch: &Value) -> Value {
    let request = Request::patch(cluster("prod")).header("content-type", media_type);
    let request = request.body(Full::from(patch.to_string())).unwrap();
    let body = admin.request(request).await.into_body();
    serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for number in 0..5 {
        let name = format!("c-{number}");
        admin
            .post(&clusters(), &object("Cluster", &name, json!({})))
            .await;
    }
    let first = admin.get(&format!("{}?limit=2", clusters())).await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    admin.delete(&cluster("c-4")).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = admin
        .get(&format!("{}?continue={token}", clusters()))
        .await
        .json();
    let names: Vec<_> = rest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["c-2", "c-3", "c-4"]);
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_watch_tells_what_changes() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin
        .post(&clusters(), &object("Cluster", "c-1", json!({})))
        .await;
    let watch = Request::get(format!("{}?watch=true", clusters()))
        .body(Empty::new())
        .unwrap();
    let mut watch = admin.request(watch).await.into_body();
    assert_eq!(next_event(&mut watch).await, ("ADDED".into(), "c-1".into()));
    admin
        .post(&clusters(), &object("Cluster", "c-2", json!({})))
        .await;
    assert_eq!(next_event(&mut watch).await, ("ADDED".into(), "c-2".into()));
    admin.delete(&cluster("c-1")).await;
    assert_eq!(
        next_event(&mut watch).await,
        ("DELETED".into(), "c-1".into())
    );
}

async fn next_event(watch: &mut hyper::body::Incoming) -> (String, String) {
    let frame = tokio::time::timeout(LIMIT, watch.frame())
        .await
        .expect("an event in time");
    let event: Value =
        serde_json::from_slice(&frame.unwrap().unwrap().into_data().unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&event["type"]),
        text(&event["object"]["metadata"]["name"]),
    )
}

#[tokio::test]
async fn kubectl_finds_its_way_and_gets_tables() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    assert_eq!(admin.get("/api").await.json()["kind"], "APIVersions");
    let groups = admin.get("/apis").await.json();
    let mut groups = groups["groups"].as_array().unwrap().iter();
    assert!(groups.any(|group| group["name"] == "management.cattle.io"));
    let resources = admin.get("/apis/management.cattle.io/v3").await.json();
    // Fifteen kinds; nine of them have a status of their own.
    assert_eq!(resources["resources"].as_array().unwrap().len(), 24);
    let index = admin.get("/openapi/v3").await.json();
    let place = &index["paths"]["apis/management.cattle.io/v3"]["serverRelativeURL"];
    let document = admin.get(place.as_str().unwrap()).await.json();
    let cluster = &document["components"]["schemas"]["io.cattle.management.v3.Cluster"];
    assert_eq!(cluster["properties"]["spec"]["type"], "object");
    admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    let request = Request::get(clusters()).header(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    );
    let table = admin
        .request(request.body(Empty::new()).unwrap())
        .await
        .into_body();
    let table: Value = serde_json::from_slice(&table.collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(table["kind"], "Table");
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], ["prod", "prod", "Pending"]);
}

#[tokio::test]
async fn a_kubernetes_client_lists_creates_and_watches() {
    use futures::TryStreamExt;
    use kube::api::{Api, PostParams};
    use kube::runtime::watcher;

    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let url = format!("https://localhost:{}", server.address.port())
        .parse()
        .unwrap();
    let mut config = kube::Config::new(url);
    let authority = x509_parser::pem::parse_x509_pem(server.authority.as_bytes())
        .unwrap()
        .1;
    config.root_cert = Some(vec![authority.contents]);
    config.auth_info.token = Some(admin.token.unwrap().into());
    let api: Api<Cluster> = Api::all(kube::Client::try_from(config).unwrap());
    let made = api
        .create(&PostParams::default(), &Cluster::new("prod"))
        .await
        .unwrap();
    let mut events = Box::pin(watcher(api.clone(), watcher::Config::default()));
    let seen = tokio::time::timeout(LIMIT, async {
        loop {
            if let watcher::Event::InitApply(cluster) = events.try_next().await.unwrap().unwrap() {
                break cluster;
            }
        }
    });
    assert_eq!(seen.await.expect("the cluster in time"), made);
    let error = api.get("none").await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 404));
}

#[tokio::test]
async fn metrics_and_settings_say_what_is() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let metrics = admin.get("/metrics").await.text();
    assert!(
        metrics.contains("lariat_http_requests_total{code=\"201\"}"),
        "{metrics}"
    );
    let path = "/apis/management.cattle.io/v3/settings/cacerts";
    let mut setting = admin.get(path).await.json();
    assert_eq!(setting["default"], server.authority);
    setting["value"] = json!("x");
    admin.put(path, &setting).await.refusal(403);
    assert_eq!(
        admin.send(Method::OPTIONS, path, None).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}
