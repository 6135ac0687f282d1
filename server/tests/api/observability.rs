//! Health checks, metrics and the audit log, as kube-apiserver has them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::harness::{LIMIT, PASSWORD, TestServer, clusters, object, users};

/// The event of a request in the audit log. It is written when the request has ended, which the client
/// may know first.
async fn event(server: &TestServer, verb: &str, uri: &str) -> Value {
    let written = async {
        loop {
            server.app.audit.flush();
            let log = server.audit_log();
            // The last line may be half written.
            let mut events = log
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let is_it = |event: &Value| event["verb"] == verb && event["requestURI"] == uri;
            if let Some(found) = events.find(is_it) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let written = tokio::time::timeout(LIMIT, written).await;
    written.unwrap_or_else(|_| panic!("no {verb} {uri} in {}", server.audit_log()))
}

#[tokio::test]
async fn checks_have_names() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    let ready = "[+]ping ok\n[+]store ok\n[+]directory ok\n[+]watch-cache ok\n[+]shutdown ok\n";
    let excluded = "[+]ping ok\n[+]store excluded: ok\n[+]directory ok\n[+]watch-cache ok\n[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"etcd\"\n";
    for (path, expected) in [
        ("/livez", "ok".to_owned()),
        ("/healthz", "ok".to_owned()),
        ("/readyz", "ok".to_owned()),
        ("/readyz/ping", "ok".to_owned()),
        ("/readyz/store", "ok".to_owned()),
        (
            "/livez?verbose",
            "[+]ping ok\nlivez check passed\n".to_owned(),
        ),
        ("/readyz?verbose", format!("{ready}readyz check passed\n")),
        (
            "/readyz?verbose&exclude=store&exclude=etcd",
            format!("{excluded}readyz check passed\n"),
        ),
    ] {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.text(), expected, "{path}");
    }
    stranger.get("/readyz/none").await.refusal(404);
    stranger.get("/livez/shutdown").await.refusal(404);
}

#[tokio::test]
async fn metrics_have_the_names_of_kube_apiserver() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    admin.get(&clusters()).await;
    admin.get(&format!("{}/none", clusters())).await;
    admin.get("/apis/made.up/v1/things/a").await;
    let page = admin.get("/metrics").await.text();
    let list = r#"verb="LIST",group="management.cattle.io",version="v3",resource="clusters",subresource="",scope="cluster",component="apiserver""#;
    let get = list
        .replace("LIST", "GET")
        .replace(r#"scope="cluster""#, r#"scope="resource""#);
    for expected in [
        format!("apiserver_request_total{{{list},dry_run=\"\",code=\"200\"}} 1\n"),
        format!("apiserver_request_total{{{get},dry_run=\"\",code=\"404\"}} 1\n"),
        format!("apiserver_request_duration_seconds_count{{{list},dry_run=\"\"}} 1\n"),
        format!("apiserver_response_sizes_count{{{list}}} 1\n"),
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 0\n".to_owned(),
        "apiserver_storage_objects{resource=\"clusters.management.cattle.io\"} 0\n".to_owned(),
        "apiserver_watch_cache_events_received_total{group=\"\",resource=\"namespaces\"}"
            .to_owned(),
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"interactive\"} 64\n".to_owned(),
        "apiserver_flowcontrol_current_executing_requests{priority_level=\"bulk\"".to_owned(),
        "apiserver_audit_event_total ".to_owned(),
        "lariat_http_requests_total{".to_owned(),
    ] {
        assert!(page.contains(&expected), "{expected} is not in\n{page}");
    }
    assert!(!page.contains("made.up"), "{page}");
}

#[tokio::test]
async fn a_refused_request_says_why_in_the_audit_log() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (member, id) = server.user(&admin, "member").await;
    let other = format!("{}/u-other", users());
    let message = member.get(&other).await.refusal(403);
    let event = event(&server, "get", &other).await;
    assert_eq!(event["responseStatus"]["code"], 403);
    assert_eq!(event["responseStatus"]["reason"], "Forbidden");
    assert_eq!(event["responseStatus"]["message"], message);
    assert_eq!(
        event["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(event["user"]["username"], id);
    assert_eq!(event["user"]["extra"]["username"], json!(["member"]));
    let reference = json!({
        "apiGroup": "management.cattle.io", "apiVersion": "v3", "resource": "users",
        "name": "u-other",
    });
    assert_eq!(event["objectRef"], reference);
    // A request to a cluster is in the same log, in the same form.
    let path = "/k8s/clusters/none/api/v1/namespaces/a/pods?limit=1";
    admin.get(path).await.refusal(404);
    let event = self::event(&server, "list", path).await;
    assert_eq!(
        event["annotations"]["audit.lariat.internal/cluster"],
        "none"
    );
    let reference = json!({"apiVersion": "v1", "resource": "pods", "namespace": "a"});
    assert_eq!(event["objectRef"], reference);
    assert_eq!(event["responseStatus"]["reason"], "NotFound");
}

#[tokio::test]
async fn a_policy_says_what_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let policy = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  nonResourceURLs: [/ping]
- level: RequestResponse
  omitManagedFields: true
";
    std::fs::write(&path, policy).unwrap();
    let path = path.display().to_string();
    let server = TestServer::start_with(&[("LARIAT_AUDIT_POLICY", &path)]).await;
    let admin = server.admin().await;
    admin.get("/ping").await;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"b": "c"},
    });
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(admin.post(maps, &map).await.status, StatusCode::CREATED);
    assert_eq!(admin.get(maps).await.status, StatusCode::OK);
    let made = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
        "stringData": {"b": "very-secret"},
    });
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(admin.post(secrets, &made).await.status, StatusCode::CREATED);
    let user = object(
        "User",
        "",
        json!({"username": "other", "password": PASSWORD}),
    );
    assert_eq!(
        admin.post(&users(), &user).await.status,
        StatusCode::CREATED
    );
    let listed = event(&server, "list", maps).await;
    let secret = event(&server, "create", secrets).await;
    assert_eq!(
        event(&server, "create", &users()).await["level"],
        "Metadata"
    );
    let event = event(&server, "create", maps).await;
    assert_eq!(event["level"], "RequestResponse");
    assert_eq!(event["requestObject"], map);
    assert_eq!(event["responseObject"]["data"], json!({"b": "c"}));
    assert!(event["responseObject"]["metadata"]["managedFields"].is_null());
    let listed = &listed["responseObject"]["items"];
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["data"] == map["data"])
    );
    assert_eq!(secret["level"], "Metadata");
    let log = server.audit_log();
    assert!(!log.contains("very-secret") && !log.contains(PASSWORD));
    assert!(!log.contains("\"/ping\""), "{log}");
}
