//! What somebody tries in a cluster who wants more there than they have.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::objects::may;
use super::world::{Person, SOON, World, eventually};
use crate::cases::Case;
use crate::lariat::Raw;

const PLANTED: &str = "cGxhbnRlZA==";
const OWN: &str = "/api/v1/namespaces/cattle-system";

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![
        ("nobody comes in the name of somebody else", |world| {
            Box::pin(in_other_names(world))
        }),
        ("exec with get alone over WebSocket", |world| {
            Box::pin(exec_by_get(world))
        }),
        ("paths that could mean Secrets", |world| {
            Box::pin(paths(world))
        }),
        (
            "the agent's key and policy, asked for by an administrator",
            |world| Box::pin(the_agents_own(world)),
        ),
        ("escalate, bind and impersonate in the cluster", |world| {
            Box::pin(escalate(world))
        }),
    ]
}

/// Somebody with a role of these rules, as soon as it works.
async fn person(world: &World<'_>, name: &str, rules: Value) -> Result<Person> {
    let person = world.person(name).await?;
    let first = rules[0].clone();
    let fields = json!({"metadata": {"name": name}, "context": "cluster", "rules": rules});
    let kind = "RoleTemplate";
    world.make("roletemplates", "", kind, fields).await?;
    world.bind(name, json!({"userName": person.id})).await?;
    let text = |field: &str| first[field][0].as_str().unwrap_or_default().to_owned();
    let (verb, group, resource) = (text("verbs"), text("apiGroups"), text("resources"));
    eventually(SOON, async || {
        let found = may(&person.client, "default", &verb, &group, &resource).await?;
        ensure!(found, "{} may not {verb} {resource}", person.id);
        Ok(())
    })
    .await?;
    Ok(person)
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// Sends bytes to the cluster as they are given, with somebody's token.
struct Sender {
    raw: Raw,
    prefix: String,
    authorization: String,
}

impl Sender {
    async fn new(world: &World<'_>, token: &str) -> Result<Self> {
        let server = world.server.lock().await;
        let ca = std::fs::read_to_string(server.ca_file())?;
        let address = server.url().trim_start_matches("https://").parse()?;
        Ok(Self {
            raw: Raw::new(address, &ca)?,
            prefix: format!("/k8s/clusters/{}", world.id),
            authorization: format!("Bearer {token}"),
        })
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(u16, String)> {
        let path = format!("{}{path}", self.prefix);
        let own = [("Authorization", self.authorization.as_str())];
        let headers = [&own[..], headers].concat();
        self.raw.request(method, &path, &headers, body).await
    }
}

async fn in_other_names(world: &World<'_>) -> Result<String> {
    let rules = json!([rule("", &["configmaps"], &["list"])]);
    let una = person(world, "una", rules).await?;
    let list = ["get", "configmaps", "-n", "default"];
    world.kubectl(&una, &list)?;
    let attempts = [
        &["--as=system:admin"][..],
        &["--as=system:serviceaccount:cattle-system:cattle"],
        &["--as=lariat:controllers"],
        &["--as=u-x", "--as-group=system:masters"],
        &["--as=u-x", "--as-group=lariat:administrators"],
        &["--as=u-x", "--as-uid=1"],
    ];
    for attempt in attempts {
        let said = world.kubectl(&una, &[&list[..], attempt].concat());
        let said = said.err().context("kubectl was let through")?.to_string();
        ensure!(said.contains("is not allowed"), "{attempt:?}: {said}");
    }
    let sender = Sender::new(world, &world.admin.token).await?;
    let headers = [
        ("Impersonate-User", "system:admin"),
        ("IMPERSONATE-GROUP", "system:masters"),
        ("iMPERSONATE-uSER", ""),
        ("Impersonate_User", "system:admin"),
        ("impersonate-extra-scopes", "all"),
    ];
    for header in headers {
        let (code, answer) = sender.send("GET", "/api/v1/secrets", &[header], "").await?;
        ensure!(code == 403, "{header:?}: {answer}");
    }
    // Who somebody is does not follow from what else they say.
    let sender = Sender::new(world, &una.api.token).await?;
    for header in [
        ("Connection", "Impersonate-User, Impersonate-Group"),
        ("X-Remote-User", "system:admin"),
        ("X-Remote-Group", "system:masters"),
    ] {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let json = ("Content-Type", "application/json");
        let (code, answer) = sender
            .send("POST", path, &[header, json], &review.to_string())
            .await?;
        ensure!(
            code == 201 && answer.contains(&una.id),
            "{header:?}: {answer}"
        );
        ensure!(!answer.contains("masters"), "{header:?}: {answer}");
    }
    let refused = attempts.len() + headers.len();
    Ok(format!("{refused} refused, the rest of no use"))
}

async fn exec_by_get(world: &World<'_>) -> Result<String> {
    let parts = ["pods/exec", "pods/attach", "pods/portforward"];
    let rules = json!([
        rule("", &["pods"], &["get"]),
        rule("", &parts, &["get"]),
        rule("", &["nodes/proxy"], &["get"]),
    ]);
    let val = person(world, "val", rules).await?;
    let sender = Sender::new(world, &val.api.token).await?;
    let websocket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "v4.channel.k8s.io"),
    ];
    let spdy = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")];
    let mut refused = 0;
    for path in [
        "/api/v1/namespaces/default/pods/p/exec?command=sh&stdout=true",
        "/api/v1/namespaces/default/pods/p/ex%65c?command=sh&stdout=true",
        "/api/v1/namespaces/default/pods/p/%65%78%65%63?command=sh&stdout=true",
        "/api/v1/namespaces/default/pods/p/attach?stdout=true",
        "/api/v1/namespaces/default/pods/p/portforward?ports=80",
        "/api/v1/nodes/n/proxy/exec/default/p/c?command=sh&output=1",
        "/api/v1/nodes/n/prox%79/attach/default/p/c",
    ] {
        for headers in [&websocket[..], &spdy] {
            let (code, answer) = sender.send("GET", path, headers, "").await?;
            ensure!(
                code == 403 && answer.contains("cannot create resource"),
                "{path}: {answer}"
            );
            refused += 1;
        }
    }
    // What does not lead there is none of it, and leads nowhere.
    for path in [
        "/api/v1/namespaces/default/pods/p/exec/",
        "/api/v1/namespaces/default/pods/p//exec",
        "/api/v1/namespaces/default//pods/p/exec",
        "//api/v1/namespaces/default/pods/p/exec",
        "/api/v1/namespaces/default/pods/p/EXEC",
        "/api/v1/proxy/namespaces/default/pods/p/exec",
        "/api/v1/watch/namespaces/default/pods/p/exec",
    ] {
        let path = format!("{path}?command=sh&stdout=true");
        let (code, answer) = sender.send("GET", &path, &websocket, "").await?;
        ensure!((400..500).contains(&code), "{path}: {answer}");
        refused += 1;
    }
    Ok(format!("{refused} refused"))
}

async fn paths(world: &World<'_>) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(world.direct.clone(), "default");
    let planted = json!({"metadata": {"name": "planted"}, "data": {"a": PLANTED}});
    let planted = serde_json::from_value(planted)?;
    secrets.create(&PostParams::default(), &planted).await?;
    let rules = json!([rule("", &["configmaps"], &["list", "get", "watch"])]);
    let wim = person(world, "wim", rules).await?;
    let sender = Sender::new(world, &wim.api.token).await?;
    let configmaps = "/api/v1/namespaces/default/configmaps";
    let (code, answer) = sender.send("GET", configmaps, &[], "").await?;
    ensure!(code == 200, "{answer}");
    let attempts = [
        "/api/v1/secrets",
        "/api/v1/namespaces/default/secrets",
        "/api/v1/namespaces/default/secrets/planted",
        "/api/v1/namespaces/default/secrets/",
        "/api/v1/namespaces/default/%73ecrets/planted",
        "/api/v1/namespaces/default/secret%73",
        "/api/v1/namespaces/default/Secrets/planted",
        "/api/v1/namespaces/default//secrets/planted",
        "/api/v1//namespaces/default/secrets/planted",
        "/api//v1/namespaces/default/secrets/planted",
        "//api/v1/namespaces/default/secrets/planted",
        "/API/v1/namespaces/default/secrets/planted",
        "/apis/v1/namespaces/default/secrets/planted",
        "/api/v1/./namespaces/default/secrets/planted",
        "/api/v1/namespaces/default/configmaps/../secrets/planted",
        "/api/v1/namespaces/default/configmaps/%2e%2e/secrets/planted",
        "/api/v1/namespaces/default/configmaps/.%2E/secrets/planted",
        "/api/v1/namespaces/default/configmaps/..%2fsecrets/planted",
        "/api/v1/namespaces/default/configmaps/..%5csecrets/planted",
        "/api/v1/namespaces/default/configmaps/..;/secrets/planted",
        "/api/v1/namespaces/default/configmaps/%252e%252e/secrets/planted",
        "/api/v1/namespaces/default/configmaps%2f..%2fsecrets/planted",
        "/api/v1/namespaces/default%2fsecrets/planted",
        "/api/v1/namespaces/default/configmaps;/secrets/planted",
        "/api/v1/namespaces/default/configmaps%3f/secrets/planted",
        "/api/v1/watch/secrets",
        "/api/v1/watch/namespaces/default/secrets",
        "/api/v1/watch/namespaces/default/secrets/planted",
        "/api/v1/namespaces/default/secrets?watch=true",
        "/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dplanted",
        "/api/v1/namespaces/default/secrets?resourceVersion=0&limit=1",
        "/api/v1/namespaces/default/configmaps/planted/secrets",
        "/api/v1/namespaces/default/pods/../secrets/planted?watch=true",
        "/apis/authorization.k8s.io/../../api/v1/secrets",
    ];
    for path in attempts {
        let (code, answer) = sender.send("GET", path, &[], "").await?;
        ensure!((400..500).contains(&code), "{path}: {answer}");
        ensure!(!answer.contains(PLANTED), "{path}: {answer}");
    }
    Ok(format!("{} refused", attempts.len()))
}

async fn the_agents_own(world: &World<'_>) -> Result<String> {
    let sender = Sender::new(world, &world.admin.token).await?;
    let (code, answer) = sender
        .send("GET", "/api/v1/secrets?limit=1", &[], "")
        .await?;
    ensure!(code == 200, "no administrator of the cluster: {answer}");
    let policies: Api<ConfigMap> = Api::namespaced(world.direct.clone(), "cattle-system");
    let before = policies.get("cattle-agent-policy").await?;
    let merge = ("Content-Type", "application/merge-patch+json");
    let apply = ("Content-Type", "application/apply-patch+yaml");
    let json = ("Content-Type", "application/json");
    let open = r#"{"data": {"policy.yaml": "impersonate: {users: ['*'], groups: ['*']}"}}"#;
    let whole =
        r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cattle-agent-policy"}}"#;
    let attempts = [
        ("GET", "/secrets/cattle-credentials", json, ""),
        ("GET", "/secrets/cattle-credentials/", json, ""),
        ("GET", "//secrets/cattle%2dcredentials", json, ""),
        ("GET", "/%73ecrets/cattle-credentials", json, ""),
        ("PUT", "/secrets/cattle-credentials", json, "{}"),
        ("PATCH", "/secrets/cattle-credentials", merge, "{}"),
        ("DELETE", "/secrets/cattle-credentials", json, ""),
        ("DELETE", "/secrets", json, ""),
        ("PATCH", "/configmaps/cattle-agent-policy", merge, open),
        ("PATCH", "/configmaps/cattle-agent-polic%79", merge, open),
        (
            "PATCH",
            "/configmaps/cattle-agent-policy?fieldManager=x&force=true",
            apply,
            whole,
        ),
        ("PUT", "/configmaps/cattle-agent-policy", json, whole),
        ("DELETE", "/configmaps/cattle-agent-policy", json, ""),
        ("DELETE", "/configmaps?labelSelector=a", json, ""),
    ];
    for (method, path, kind, body) in attempts {
        let path = format!("{OWN}{path}");
        let (code, answer) = sender.send(method, &path, &[kind], body).await?;
        let refused = code == 403 && answer.contains("cattle-agent-policy");
        ensure!(refused, "{method} {path}: {answer}");
    }
    let watched = "/api/v1/watch/namespaces/cattle-system/secrets/cattle-credentials";
    let (code, answer) = sender.send("GET", watched, &[], "").await?;
    ensure!(code == 403, "{watched}: {answer}");
    let after = policies.get("cattle-agent-policy").await?;
    ensure!(before == after, "the policy was changed: {after:?}");
    Ok(format!("{} refused", attempts.len() + 1))
}

async fn escalate(world: &World<'_>) -> Result<String> {
    let rbac = "rbac.authorization.k8s.io";
    let kinds = [
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
    ];
    let write = ["get", "list", "create", "update", "patch", "delete"];
    let rules = json!([
        rule(rbac, &kinds, &write),
        rule("", &["configmaps"], &["get"]),
        rule(
            "certificates.k8s.io",
            &["certificatesigningrequests"],
            &["create", "get"]
        ),
    ]);
    let xia = person(world, "xia", rules).await?;
    let kubectl = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        world.kubectl(&xia, &words)
    };
    // What xia holds may be given.
    kubectl("create clusterrole of-xia --verb=get --resource=configmaps")?;
    kubectl("create rolebinding of-xia --clusterrole=of-xia --user=u-other -n default")?;
    let attempts = [
        "create clusterrole more --verb=get --resource=secrets",
        "create clusterrole more --verb=* --resource=*",
        "create clusterrole more --verb=escalate,bind --resource=clusterroles",
        "create clusterrole more --verb=impersonate --resource=users,groups",
        "create clusterrole more --verb=get --non-resource-url=/metrics",
        "create clusterrole more --aggregation-rule=rbac.authorization.k8s.io/aggregate-to-admin=true",
        "create role more --verb=create --resource=pods/exec -n kube-system",
        "create clusterrolebinding more --clusterrole=cluster-admin --user=u-other",
        "create clusterrolebinding more --clusterrole=cluster-admin --group=system:authenticated",
        "create clusterrolebinding more --clusterrole=view --group=system:unauthenticated",
        "create clusterrolebinding more --clusterrole=lariat-controllers --user=u-other",
        "create clusterrolebinding more --clusterrole=cattle-cluster-agent --user=u-other",
        "create rolebinding more --clusterrole=admin --user=u-other -n cattle-system",
        "create rolebinding more --role=cattle-cluster-agent --user=u-other -n cattle-system",
        "create token cattle -n cattle-system",
        "get secrets -n cattle-system",
        "get secret cattle-credentials -n cattle-system",
    ];
    for attempt in attempts {
        let said = kubectl(attempt)
            .err()
            .with_context(|| format!("{attempt}: kubectl was let through"))?;
        ensure!(said.to_string().contains("orbidden"), "{attempt}: {said}");
    }
    let patches = [
        (
            "of-xia",
            r#"[{"op": "add", "path": "/rules/-", "value": {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}}]"#,
        ),
        (
            "view",
            r#"[{"op": "add", "path": "/rules/-", "value": {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}}]"#,
        ),
        (
            "lariat-controllers",
            r#"[{"op": "add", "path": "/rules/-", "value": {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}}]"#,
        ),
    ];
    for (role, patch) in patches {
        let words = ["patch", "clusterrole", role, "--type=json", "-p", patch];
        let said = world.kubectl(&xia, &words).err();
        let said = said.with_context(|| format!("{role} was widened"))?;
        ensure!(said.to_string().contains("orbidden"), "{role}: {said}");
    }
    for question in [
        "auth can-i impersonate users",
        "auth can-i impersonate groups",
        "auth can-i impersonate serviceaccounts -n cattle-system",
        "auth can-i escalate clusterroles",
        "auth can-i bind clusterroles",
        "auth can-i approve signers.certificates.k8s.io",
        "auth can-i create serviceaccounts/token -n cattle-system",
    ] {
        ensure!(kubectl(question).is_err(), "{question}: yes");
    }
    Ok(format!("{} refused", attempts.len() + patches.len()))
}
