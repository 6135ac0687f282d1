//! Policies of admission in the server: what they decide about, and what they do not.

use http::StatusCode;
use serde_json::{Value, json};

use super::harness::{Client, LIMIT, PASSWORD, TestServer, clusters, object};

/// A policy with one validation about writes to resources of all groups, bound with these actions.
async fn bind(admin: &Client, resources: &str, validation: Value, actions: &[&str]) {
    let policy = json!({"kind": "ValidatingAdmissionPolicy", "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
            "operations": ["*"], "resources": [resources]}]},
        "validations": [validation]}});
    let binding = json!({"kind": "ValidatingAdmissionPolicyBinding", "spec": {
        "policyName": "p", "validationActions": actions}});
    let wanted = [
        ("validatingadmissionpolicies", policy),
        ("validatingadmissionpolicybindings", binding),
    ];
    for (plural, mut object) in wanted {
        object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
        object["metadata"]["name"] = json!("p");
        let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
        let made = admin.post(&path, &object).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    }
}

#[tokio::test]
async fn who_refuses_everything_can_still_log_in_and_take_it_back() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    bind(&admin, "*/*", json!({"expression": "false"}), &["Deny"]).await;
    let prod = object("Cluster", "prod", json!({}));
    let refused = admin.post(&clusters(), &prod).await.refusal(422);
    assert!(refused.contains("failed expression: false"), "{refused}");
    let again = server.login("admin", PASSWORD).await;
    let policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p";
    assert_eq!(again.delete(policy).await.status, StatusCode::OK);
    let made = again.post(&clusters(), &prod).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
}

#[tokio::test]
async fn what_a_policy_records_is_in_the_audit_line() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let validation = json!({"expression": "false", "message": "a new one"});
    bind(&admin, "clusters", validation, &["Audit"]).await;
    let made = admin
        .post(&clusters(), &object("Cluster", "prod", json!({})))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let recorded = "\"validation.policy.admission.k8s.io/validation_failure\":";
    let is_written = |line: &str| line.contains(recorded) && line.contains("a new one");
    let written = tokio::time::timeout(LIMIT, async {
        while !server.audit_log().lines().any(is_written) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    written.await.expect("the line has it");
}
