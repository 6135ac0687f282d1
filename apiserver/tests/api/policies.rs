//! Policies of admission over a real store: which writes they refuse, and in which words.

#![allow(
    clippy::needless_pass_by_value,
    reason = "taken from json! where it is called"
)]

use crate::harness::{TestServer, master, message, user, whole};
use apiserver::serve::{Trail, User};
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

struct Answer {
    code: u16,
    body: Value,
    warnings: Vec<String>,
    annotations: Vec<(String, String)>,
}

impl Answer {
    fn message(&self) -> &str {
        message(&self.body)
    }
}

impl TestServer {
    async fn attempt(&self, method: &str, path: &str, body: Value) -> Answer {
        self.attempt_as(&master(), method, path, body).await
    }

    async fn attempt_as(&self, user: &User, method: &str, path: &str, body: Value) -> Answer {
        let response = self.exchange(user, method, path, &body).await;
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|line| line.to_str().unwrap().to_owned());
        let warnings = warnings.collect();
        let trail = response.extensions().get::<Trail>().cloned();
        let (code, body) = whole(response).await;
        Answer {
            code,
            body,
            warnings,
            annotations: trail.unwrap_or_default().annotations,
        }
    }

    async fn define(&self, kind: &str, name: &str, spec: Value) -> Answer {
        let plural = match kind {
            "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
            _ => "validatingadmissionpolicybindings",
        };
        let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": name}, "spec": spec});
        let path = format!("{GROUP}/{plural}");
        self.attempt("POST", &path, object).await
    }

    async fn policy(&self, name: &str, spec: Value) {
        let answer = self.define("ValidatingAdmissionPolicy", name, spec).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
    }

    async fn binding(&self, name: &str, spec: Value) {
        let kind = "ValidatingAdmissionPolicyBinding";
        let answer = self.define(kind, name, spec).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
    }

    /// A policy for ConfigMaps, bound so that it denies.
    async fn bound(&self, name: &str, more: Value) {
        let mut spec = json!({"matchConstraints": {"resourceRules": [{"apiGroups": [""],
            "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": ["configmaps"]}]}});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.policy(name, spec).await;
        let spec = json!({"policyName": name, "validationActions": ["Deny"]});
        self.binding(&format!("{name}-b"), spec).await;
    }

    async fn make_map(&self, name: &str, data: Value) -> Answer {
        self.attempt("POST", MAPS, map(name, data)).await
    }
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn deleting(expression: &str) -> Value {
    json!({"validations": [{"expression": expression}]})
}

#[tokio::test]
async fn a_write_that_breaks_a_policy_is_refused_in_its_words() {
    let server = TestServer::guarded().await;
    let expression = "request.operation == 'DELETE' || object.data.size() < 2";
    let validations = json!({"validations": [
        {"expression": expression, "message": "too many"},
        {"expression": "object == null || !has(object.data.secret)", "reason": "Forbidden",
            "messageExpression": "'secret is ' + object.data.secret"},
    ]});
    server.bound("p", validations).await;
    assert_eq!(server.make_map("good", json!({"a": "1"})).await.code, 201);
    let refused = server.make_map("bad", json!({"a": "1", "b": "2"})).await;
    let said = "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: too many";
    let message = format!("configmaps \"bad\" is forbidden: {said}");
    assert_eq!(
        (refused.code, refused.message()),
        (422, message.as_str()),
        "{}",
        refused.body
    );
    assert_eq!(refused.body["reason"], "Invalid");
    let details = json!({"name": "bad", "kind": "configmaps", "causes": [{"message": said}]});
    assert_eq!(refused.body["details"], details);
    let refused = server.make_map("bad", json!({"secret": "x"})).await;
    assert_eq!(
        (refused.code, &refused.body["reason"]),
        (403, &"Forbidden".into())
    );
    assert!(refused.message().ends_with("denied request: secret is x"));
    // Nothing is written, by a dry run neither.
    let path = format!("{MAPS}?dryRun=All");
    let body = map("bad", json!({"a": "1", "b": "2"}));
    assert_eq!(server.attempt("POST", &path, body).await.code, 422);
    let path = format!("{MAPS}/bad");
    assert_eq!(server.attempt("GET", &path, Value::Null).await.code, 404);
}

#[tokio::test]
async fn updates_patches_and_deletes_are_asked_about() {
    let server = TestServer::guarded().await;
    let expression = "request.operation == 'CREATE' || (request.operation == 'UPDATE' && \
                      object.data.a == oldObject.data.a)";
    server.bound("p", deleting(expression)).await;
    assert_eq!(server.make_map("x", json!({"a": "1"})).await.code, 201);
    let path = format!("{MAPS}/x");
    let patched = |data: Value| server.attempt("PATCH", &path, json!({"data": data}));
    assert_eq!(patched(json!({"b": "2"})).await.code, 200);
    let refused = patched(json!({"a": "2"})).await;
    let said = format!("denied request: failed expression: {expression}");
    assert!(refused.message().ends_with(&said), "{}", refused.message());
    let deleted = server.attempt("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.code, 422, "{}", deleted.body);
    let all = server.attempt("DELETE", MAPS, Value::Null).await;
    assert_eq!(all.code, 422, "{}", all.body);
    // A policy can always be taken away, and then all is as before.
    let policy = format!("{GROUP}/validatingadmissionpolicies/p");
    let gone = server.attempt("DELETE", &policy, Value::Null).await;
    assert_eq!(gone.code, 200);
    let deleted = server.attempt("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.code, 200);
}

#[tokio::test]
async fn what_goes_wrong_follows_the_failure_policy() {
    let server = TestServer::guarded().await;
    server
        .bound("p", deleting("object.data.missing == 'x'"))
        .await;
    let refused = server.make_map("x", json!({"a": "1"})).await;
    let said = "denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing";
    assert!(refused.message().ends_with(said), "{}", refused.message());
    let patch = json!({"spec": {"failurePolicy": "Ignore"}});
    let path = format!("{GROUP}/validatingadmissionpolicies/p");
    let patched = server.attempt("PATCH", &path, patch).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    assert_eq!(patched.body["metadata"]["generation"], 2);
    assert_eq!(server.make_map("x", json!({"a": "1"})).await.code, 201);
}

#[tokio::test]
async fn bindings_warn_and_record_instead() {
    let server = TestServer::guarded().await;
    server.bound("p", deleting("false")).await;
    let path = format!("{GROUP}/validatingadmissionpolicybindings/p-b");
    let patch = json!({"spec": {"validationActions": ["Warn", "Audit"]}});
    let patched = server.attempt("PATCH", &path, patch).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let made = server.make_map("x", json!({})).await;
    assert_eq!(made.code, 201);
    let warning = "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': failed expression: false\"";
    assert_eq!(made.warnings, [warning]);
    let [(key, value)] = made.annotations.as_slice() else {
        panic!("{:?}", made.annotations);
    };
    assert_eq!(key, "validation.policy.admission.k8s.io/validation_failure");
    let value: Value = serde_json::from_str(value).unwrap();
    let expected = json!([{"message": "failed expression: false", "policy": "p",
        "binding": "p-b", "expressionIndex": 0, "validationActions": ["Warn", "Audit"]}]);
    assert_eq!(value, expected);
}

#[tokio::test]
async fn a_policy_deals_with_what_it_selects() {
    let server = TestServer::guarded().await;
    let rule = |resources: Value| {
        json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
            "resources": resources})
    };
    let constraints = json!({
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "objectSelector": {"matchExpressions": [
            {"key": "free", "operator": "DoesNotExist"}]},
        "resourceRules": [rule(json!(["configmaps", "secrets"]))],
        "excludeResourceRules": [rule(json!(["secrets"]))],
    });
    let conditions =
        json!([{"name": "not-ann", "expression": "request.userInfo.username != 'ann'"}]);
    let more = json!({"matchConstraints": constraints, "matchConditions": conditions,
        "validations": [{"expression": "false"}]});
    server.bound("p", more).await;
    assert_eq!(server.make_map("x", json!({})).await.code, 422);
    let elsewhere = "/api/v1/namespaces/m/configmaps";
    let made = server.attempt("POST", elsewhere, map("x", json!({})));
    assert_eq!(made.await.code, 201);
    let mut free = map("free", json!({}));
    free["metadata"]["labels"] = json!({"free": "yes"});
    assert_eq!(server.attempt("POST", MAPS, free).await.code, 201);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    let secrets = "/api/v1/namespaces/n/secrets";
    assert_eq!(server.attempt("POST", secrets, secret).await.code, 201);
    let ann = user("ann", &["system:masters"]);
    let made = server.attempt_as(&ann, "POST", MAPS, map("a", json!({})));
    assert_eq!(made.await.code, 201);
}

#[tokio::test]
async fn parameters_come_from_objects() {
    let server = TestServer::guarded().await;
    let kind = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let more = json!({"paramKind": kind,
        "matchConditions": [{"name": "no-params", "expression": "object.metadata.name != params.metadata.name"}],
        "validations": [{"expression": "object.data.size() <= int(params.data.most)",
            "messageExpression": "'at most ' + params.data.most"}]});
    server.bound("p", more).await;
    let reference = |action: &str| json!({"name": "limits", "parameterNotFoundAction": action});
    let path = format!("{GROUP}/validatingadmissionpolicybindings/p-b");
    let bind = |reference: Value| {
        let patch = json!({"spec": {"paramRef": reference}});
        server.attempt("PATCH", &path, patch)
    };
    assert_eq!(bind(reference("Allow")).await.code, 200);
    assert_eq!(
        server
            .make_map("free", json!({"a": "", "b": ""}))
            .await
            .code,
        201
    );
    assert_eq!(bind(reference("Deny")).await.code, 200);
    let refused = server.make_map("x", json!({})).await;
    let said = "denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(refused.message().ends_with(said), "{}", refused.message());
    let allowed = json!({"spec": {"paramRef": reference("Allow")}});
    assert_eq!(server.attempt("PATCH", &path, allowed).await.code, 200);
    let made = server.make_map("limits", json!({"most": "1"})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(server.make_map("x", json!({"a": ""})).await.code, 201);
    let refused = server.make_map("y", json!({"a": "", "b": ""})).await;
    assert!(refused.message().ends_with("denied request: at most 1"));
    let selector = json!({"selector": {"matchLabels": {"limits": "yes"}}, "name": null,
        "parameterNotFoundAction": "Deny"});
    assert_eq!(bind(selector).await.code, 200);
    let refused = server.make_map("z", json!({})).await;
    assert!(refused.message().contains("no params found"));
}

#[tokio::test]
async fn variables_are_evaluated_when_they_are_asked_for() {
    let server = TestServer::guarded().await;
    let more = json!({
    "variables": [
        {"name": "wrong", "expression": "object.data.missing"},
        {"name": "sizes", "expression": "object.data.map(key, key.size())"},
        {"name": "longest", "expression": "variables.sizes.exists(size, size > 3)"},
    ],
    "validations": [
        {"expression": "!variables.longest", "message": "too long"},
        {"expression": "object.data.size() < 2 || variables.wrong == ''"},
    ]});
    server.bound("p", more).await;
    assert_eq!(server.make_map("x", json!({"abc": ""})).await.code, 201);
    let refused = server.make_map("y", json!({"abcd": ""})).await;
    assert!(refused.message().ends_with("denied request: too long"));
    let refused = server.make_map("z", json!({"a": "", "b": ""})).await;
    let said =
        "resulted in error: composited variable \"wrong\" fails to evaluate: no such key: missing";
    assert!(refused.message().ends_with(said), "{}", refused.message());
}

#[tokio::test]
async fn expressions_see_namespaces_and_ask_what_somebody_may() {
    let server = TestServer::guarded().await;
    let more = json!({"validations": [
        {"expression": "namespaceObject.metadata.labels.team == 'a'"},
        {"expression": "authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed() \
            || !has(object.data.secret)", "message": "may not read secrets"},
        {"expression": "authorizer.requestResource.check('create').allowed()"},
    ]});
    server.bound("p", more).await;
    let secret = json!({"secret": "x"});
    assert_eq!(server.make_map("x", secret.clone()).await.code, 201);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "maps"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "maps"}, "subjects": [{"kind": "User", "name": "ann"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maps"}});
    for (plural, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/n/{plural}");
        let made = server.attempt("POST", &path, object).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let ann = user("ann", &[]);
    let made = server
        .attempt_as(&ann, "POST", MAPS, map("y", json!({"plain": "y"})))
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    let refused = server
        .attempt_as(&ann, "POST", MAPS, map("z", secret))
        .await;
    assert!(refused.message().ends_with("may not read secrets"));
}

#[tokio::test]
async fn an_expression_may_not_cost_too_much() {
    let server = TestServer::guarded().await;
    let expression = "lists.range(3000).all(a, lists.range(3000).all(b, a + b >= 0))";
    server.bound("p", deleting(expression)).await;
    let refused = server.make_map("x", json!({})).await;
    let said = format!(
        "denied request: expression '{expression}' resulted in error: operation cancelled: actual cost \
         limit exceeded"
    );
    assert!(refused.message().ends_with(&said), "{}", refused.message());
}

/// Costs a third of what one expression may, and takes no time.
const COSTLY: &str = "authorizer.group('').resource('pods').check('get').allowed()";

#[tokio::test]
async fn all_expressions_together_may_not_cost_too_much() {
    let server = TestServer::guarded().await;
    let costly = json!({"expression": COSTLY});
    let validations = |all: usize| json!({"validations": vec![costly.clone(); all]});
    server.bound("p", validations(28)).await;
    let made = server.make_map("x", json!({})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    server.bound("q", validations(29)).await;
    let refused = server.make_map("y", json!({})).await;
    let said = "denied request: validation failed due to running out of cost budget, no further \
                validation rules will be run";
    assert!(refused.message().ends_with(said), "{}", refused.message());
}

#[tokio::test]
async fn a_variable_is_evaluated_once_for_all_validations() {
    let server = TestServer::guarded().await;
    let validations = vec![json!({"expression": "variables.costly"}); 60];
    let variables = [json!({"name": "costly", "expression": COSTLY})];
    server
        .bound(
            "p",
            json!({"variables": variables, "validations": validations}),
        )
        .await;
    let made = server.make_map("x", json!({})).await;
    assert_eq!(made.code, 201, "{}", made.body);
}

#[tokio::test]
async fn nobody_makes_a_policy_read_what_they_may_not() {
    let server = TestServer::guarded().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "policies"}, "rules": [{"apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["*"], "verbs": ["*"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding", "metadata": {"name": "policies"},
        "subjects": [{"kind": "User", "name": "ann"}], "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "policies"}});
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let made = server.attempt("POST", &path, object).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
            "paramKind": {"apiVersion": "v1", "kind": "Secret"},
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["*"], "resources": ["configmaps"]}]},
            "validations": [{"expression": "params == null"}]}});
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let refused = server
        .attempt_as(&user("ann", &[]), "POST", &path, policy)
        .await;
    let said = "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.paramKind: \
                Forbidden: user &{ann  [] map[]} must have \"get\" permission on all objects of the \
                referenced paramKind (kind=Secret, apiVersion=v1)";
    assert_eq!((refused.code, refused.message()), (422, said));
}
