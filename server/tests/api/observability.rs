//! Health checks, metrics and the audit log, as kube-apiserver has them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::harness::{LIMIT, PASSWORD, TestServer, clusters, object, users};

/// The first event in the audit log that is meant. It is written when the request has ended, which the
/// client may know first.
pub async fn recorded(server: &TestServer, is_meant: impl Fn(&Value) -> bool) -> Value {
    let written = async {
        loop {
            server.app.audit.flush();
            let log = server.audit_log();
            // The last line may be half written.
            let mut events = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(found) = events.find(|event| is_meant(event)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let written = tokio::time::timeout(LIMIT, written).await;
    written.unwrap_or_else(|_| panic!("it is not in {}", server.audit_log()))
}

/// The event of a request in the audit log.
async fn event(server: &TestServer, verb: &str, uri: &str) -> Value {
    recorded(server, |event| {
        event["verb"] == verb && event["requestURI"] == uri
    })
    .await
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
    assert_eq!(
        event["user"]["extra"]["management.cattle.io/username"],
        json!(["member"])
    );
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
async fn a_login_is_recorded_with_who_tried_and_who_came() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let (_, id) = server.user(&admin, "ann").await;
    let guess = "a password that is a guess";
    let wrong = server.stranger().log_in("ann", guess).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let unknown = server.stranger().log_in("no\nbody", guess).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    let of = |name: &'static str, code: u16| {
        recorded(&server, move |event| {
            event["annotations"]["audit.lariat.internal/login-name"] == name
                && event["responseStatus"]["code"] == code
        })
    };
    let came = of("ann", 201).await;
    let provider = "audit.lariat.internal/login-provider";
    assert_eq!(came["annotations"][provider], "local");
    assert_eq!(came["user"]["username"], id);
    assert_eq!(came["user"]["groups"], json!(["lariat:authenticated"]));
    let extra = &came["user"]["extra"];
    assert_eq!(extra["management.cattle.io/username"], json!(["ann"]));
    let token = extra["management.cattle.io/requesttokenid"][0].as_str();
    assert!(
        token.is_some_and(|token| token.starts_with("token-")),
        "{came}"
    );
    for name in ["ann", "no\nbody"] {
        let refused = of(name, 401).await;
        assert_eq!(refused["user"], json!({}));
        assert_eq!(refused["annotations"][provider], "local");
        assert_eq!(refused["responseStatus"]["reason"], "Unauthorized");
        let message = &refused["responseStatus"]["message"];
        assert_eq!(message, "username or password is wrong");
    }
    let log = server.audit_log();
    assert!(!log.contains(PASSWORD) && !log.contains(guess), "{log}");
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

/// Takes batches of audit events over HTTP, after it has refused the first with 503. Answers only who
/// shows the token `hook`.
async fn receiver(batches: mpsc::Sender<Value>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (batches, asked) = (batches.clone(), Arc::clone(&asked));
            let service = service_fn(move |request: Request<Incoming>| {
                let (batches, asked) = (batches.clone(), Arc::clone(&asked));
                async move {
                    assert_eq!(request.uri(), "/audit?from=lariat");
                    assert_eq!(request.headers()["authorization"], "Bearer hook");
                    assert_eq!(request.headers()["content-type"], "application/json");
                    let mut answer = Response::new(Full::new(Bytes::new()));
                    if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                        return Ok::<_, Infallible>(answer);
                    }
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    batches
                        .send(serde_json::from_slice(&body).unwrap())
                        .await
                        .unwrap();
                    Ok(answer)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn a_webhook_gets_the_events_though_it_was_away() {
    let (batches, mut received) = mpsc::channel(64);
    let address = receiver(batches).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhook.yaml");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {
            "server": format!("http://{address}/audit?from=lariat")}}],
        "users": [{"name": "a", "user": {"token": "hook"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let path = path.display().to_string();
    let settings = [("LARIAT_AUDIT_WEBHOOK_CONFIG_FILE", path.as_str())];
    let server = TestServer::start_with(&settings).await;
    let admin = server.admin().await;
    let asked = admin.get(&clusters()).await;
    let id = asked.headers["audit-id"].to_str().unwrap().to_owned();
    let arrived = async {
        let mut seen = Vec::new();
        while let Some(batch) = received.recv().await {
            assert_eq!(batch["kind"], "EventList");
            assert_eq!(batch["apiVersion"], "audit.k8s.io/v1");
            seen.extend(batch["items"].as_array().unwrap().iter().cloned());
            if seen.iter().any(|event| event["auditID"] == id.as_str()) {
                return seen;
            }
        }
        panic!("the server has gone");
    };
    let seen = tokio::time::timeout(LIMIT, arrived).await.unwrap();
    // What the first batch held came with a later one, once.
    let logins = seen.iter().filter(|event| {
        let uri = event["requestURI"].as_str().unwrap_or_default();
        uri.ends_with("?action=login")
    });
    assert_eq!(logins.count(), 1, "{seen:?}");
    let page = admin.get("/metrics").await.text();
    for plugin in ["log", "webhook"] {
        let line = format!("apiserver_audit_error_total{{plugin=\"{plugin}\"}} 0\n");
        assert!(page.contains(&line), "{page}");
    }
}

#[tokio::test]
async fn a_long_audit_log_is_put_aside() {
    let server = TestServer::start_with(&[("LARIAT_AUDIT_LOG_MAXSIZE", "1")]).await;
    let stranger = server.stranger();
    // Long addresses fill a megabyte soon.
    let path = format!("/readyz/ping?{}", "x".repeat(7000));
    let mut requests = 0;
    let aside = loop {
        assert_eq!(stranger.get(&path).await.status, StatusCode::OK);
        requests += 1;
        assert!(requests < 400, "nothing is put aside");
        if requests % 20 != 0 {
            continue;
        }
        server.app.audit.flush();
        let entries = std::fs::read_dir(server.folder.path()).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        if let Some(name) = names.find(|name| name.starts_with("audit-")) {
            break name;
        }
    };
    let aside = std::fs::read_to_string(server.folder.path().join(aside)).unwrap();
    assert!(aside.len() <= 1024 * 1024, "{}", aside.len());
    let events = aside.lines().map(serde_json::from_str::<Value>);
    assert!(events.map(Result::unwrap).count() > 100);
    // The one that it has now is shorter.
    assert!(server.audit_log().len() < aside.len());
}
