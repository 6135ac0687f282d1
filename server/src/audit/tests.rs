#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use super::*;
use crate::clock::Clock;
use crate::config::{self, AuditLog, Rotation};
use futures::FutureExt as _;
use http::Method;
use serde_json::json;

struct Log {
    folder: tempfile::TempDir,
    sink: AuditSink,
}

impl Log {
    fn new(rules: &str) -> Self {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        Self::with(Policy::parse(&text).unwrap())
    }

    fn with(policy: Policy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Audit {
            log: AuditLog::File(folder.path().join("audit")),
            rotation: Rotation {
                max_size: 0,
                max_age_days: 0,
                max_backups: 0,
                compress: false,
            },
            webhook: None,
            policy: None,
        };
        let opening = AuditSink::open(&settings, policy, Clock::system());
        let sink = opening.now_or_never().unwrap().unwrap();
        Self { sink, folder }
    }

    fn begin(&self, method: &Method, uri: &str) -> Audit {
        let begin = Begin {
            id: "1",
            from: IpAddr::from([127, 0, 0, 1]),
            method: method.as_str(),
            uri: uri.to_owned(),
            user_agent: "kubectl/v1.35.0",
        };
        let audit = Audit::begin(&self.sink, Timestamp::UNIX_EPOCH, begin);
        audit.set_action(&Action::parse(method, uri));
        audit
    }

    fn events(&self) -> Vec<Value> {
        self.sink.flush();
        let text = std::fs::read_to_string(self.folder.path().join("audit")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

const EVERYTHING: &str = "rules: [{level: RequestResponse}]";

#[test]
fn the_line_is_written_when_the_last_holder_is_gone() {
    let log = Log::with(Policy::default());
    let audit = log.begin(&Method::GET, "/api/v1/namespaces/a/pods/b/log?follow=true");
    let holder = audit.clone();
    audit.set_identity(&Identity::for_test("u-1", false, None));
    audit.set_cluster(&"c-1".parse().unwrap());
    audit.set_decision(true, "a member");
    audit.set_status(200);
    drop(audit);
    assert!(log.events().is_empty());
    holder.add_sent(5);
    drop(holder);
    let events = log.events();
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    let mut expected = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/a/pods/b/log?follow=true",
        "verb": "get",
        "user": {"username": "u-1"},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": "kubectl/v1.35.0",
        "objectRef": {"resource": "pods", "namespace": "a", "name": "b", "apiVersion": "v1",
            "subresource": "log"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "1970-01-01T00:00:00.000000Z",
        "annotations": {
            "audit.lariat.internal/cluster": "c-1",
            "audit.lariat.internal/received-bytes": "0",
            "audit.lariat.internal/sent-bytes": "5",
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "a member",
        },
    });
    expected["stageTimestamp"] = event["stageTimestamp"].clone();
    assert_eq!(*event, expected);
    let expected = Counts {
        plugin: "log",
        taken: 1,
        dropped: 0,
    };
    assert_eq!(log.sink.counts(), [expected]);
}

#[test]
fn a_name_that_somebody_logs_in_with_is_recorded_up_to_a_length() {
    let log = Log::with(Policy::default());
    let audit = log.begin(&Method::POST, "/v3-public/localProviders/local");
    audit.set_login_provider(AuthConfigType::Local);
    audit.set_login_name(&format!("a\n{}", "ü".repeat(500)));
    drop(audit);
    let events = log.events();
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event["user"], json!({}));
    let annotations = &event["annotations"];
    assert_eq!(annotations["audit.lariat.internal/login-provider"], "local");
    let name = format!("a\n{}", "ü".repeat(126));
    assert_eq!(annotations["audit.lariat.internal/login-name"], name);
}

#[test]
fn who_has_logged_in_is_named_when_it_is_done() {
    let log = Log::new(EVERYTHING);
    let audit = log.begin(&Method::POST, "/v3-public/localProviders/local");
    audit.set_logged_in(&Identity::for_test("u-1", false, None));
    audit.set_status(201);
    drop(audit);
    let events = log.events();
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event["stage"], "ResponseComplete");
    assert_eq!(event["user"], json!({"username": "u-1"}));
}

#[test]
fn each_stage_has_its_line() {
    let log = Log::new(EVERYTHING);
    let audit = log.begin(&Method::GET, "/api/v1/pods?watch=true");
    audit.set_identity(&Identity::for_test("u-1", false, None));
    audit.set_status(200);
    drop(audit);
    let events = log.events();
    let stages: Vec<_> = events.iter().map(|event| &event["stage"]).collect();
    assert_eq!(
        stages,
        ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    );
    assert!(events[0].get("responseStatus").is_none());
}

#[test]
fn a_failure_is_named() {
    let log = Log::with(Policy::default());
    let audit = log.begin(&Method::DELETE, "/apis/g.io/v1/things/a");
    audit.set_failure("Forbidden", "things.g.io \"a\" is forbidden");
    audit.set_status(403);
    drop(audit);
    let expected = json!({
        "metadata": {}, "status": "Failure", "reason": "Forbidden",
        "message": "things.g.io \"a\" is forbidden", "code": 403,
    });
    assert_eq!(log.events()[0]["responseStatus"], expected);
    assert_eq!(log.events()[0]["user"], json!({}));
}

#[test]
fn bodies_are_recorded_where_the_policy_wants_them() {
    let log = Log::new(
        "omitStages: [RequestReceived]\nomitManagedFields: true\nrules: [{level: RequestResponse}]",
    );
    let audit = log.begin(&Method::POST, "/api/v1/namespaces/a/configmaps");
    assert_eq!(audit.level(), Level::RequestResponse);
    audit.set_request_body(b"kind: ConfigMap\nmetadata: {name: b, managedFields: [{}]}");
    audit.set_response_object(Some(
        json!({"items": [{"metadata": {"managedFields": []}}]}),
    ));
    drop(audit);
    let event = &log.events()[0];
    let expected = json!({"kind": "ConfigMap", "metadata": {"name": "b"}});
    assert_eq!(event["requestObject"], expected);
    assert_eq!(
        event["responseObject"],
        json!({"items": [{"metadata": {}}]})
    );
}

#[test]
fn bodies_in_protobuf_are_recorded_as_json() {
    let log = Log::new("rules: [{level: Request}]");
    let audit = log.begin(&Method::POST, "/api/v1/namespaces/a/configmaps");
    let sent = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"c": "d"},
    });
    audit.set_request_body(&apiserver::protobuf::encode(&sent).unwrap());
    drop(audit);
    let shown = &log.events()[0]["requestObject"];
    assert_eq!(shown["data"], sent["data"]);
    assert_eq!(shown["kind"], "ConfigMap");
}

#[test]
fn secrets_are_never_recorded() {
    let log = Log::new(EVERYTHING);
    for uri in [
        "/api/v1/namespaces/a/secrets/b",
        "/api/v1/namespaces/a/serviceaccounts/b/token",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        "/apis/management.cattle.io/v3/users/u-1",
        "/apis/management.cattle.io/v3/authconfigs/github",
        "/apis/management.cattle.io/v3/tokens",
        "/apis/management.cattle.io/v3/namespaces/c-1/clusterregistrationtokens",
        "/v3-public/localProviders/local?action=login",
    ] {
        let audit = log.begin(&Method::PUT, uri);
        assert_eq!(audit.level(), Level::Metadata, "{uri}");
    }
    let other = log.begin(&Method::PUT, "/api/v1/namespaces/a/serviceaccounts/b");
    assert_eq!(other.level(), Level::RequestResponse);
}

#[test]
fn what_is_too_long_is_left_out_and_said_to_be() {
    let log = Log::new("rules: [{level: Request}]");
    let audit = log.begin(&Method::POST, "/api/v1/namespaces/a/configmaps");
    audit.set_request_body(&vec![b' '; 600 * 1024]);
    drop(audit);
    let event = &log.events()[0];
    assert!(event.get("requestObject").is_none());
    assert_eq!(event["annotations"]["audit.k8s.io/truncated"], "true");
}

#[test]
fn nothing_is_recorded_that_no_rule_wants() {
    let log = Log::new("rules: [{level: None, nonResourceURLs: [/livez]}, {level: Metadata}]");
    drop(log.begin(&Method::GET, "/livez"));
    drop(log.begin(&Method::GET, "/version"));
    let events = log.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["requestURI"], "/version");
}

#[test]
fn a_rotated_file_is_opened_again() {
    let log = Log::with(Policy::default());
    let path = log.folder.path().join("audit");
    std::fs::rename(&path, log.folder.path().join("old")).unwrap();
    log.sink.reopen();
    log.sink.flush();
    assert!(path.exists());
}
