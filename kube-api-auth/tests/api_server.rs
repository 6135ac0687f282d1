//! A real kube-apiserver that asks the binary, which acts under the account of the manifest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testbed::{Cluster, Process, Testbed, Tier};

/// The API server keeps an answer of the webhook for 5 s and what it made of it for 10 s.
const FORGETS: Duration = Duration::from_secs(30);

const MANIFEST: &str = include_str!("../../manifests/kube-api-auth.yaml");
const AGENT_MANIFEST: &str = include_str!("../../manifests/cluster-agent.yaml");

struct World {
    cluster: Cluster,
    folder: PathBuf,
}

impl World {
    fn start(testbed: &Testbed) -> Self {
        let cluster = testbed
            .cluster("webhook")
            .tier(Tier::ApiServer)
            .token_webhook(true);
        let world = Self {
            cluster: cluster.start().unwrap(),
            folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("api-server"),
        };
        let _ = std::fs::remove_dir_all(&world.folder);
        std::fs::create_dir_all(&world.folder).unwrap();
        // Of the agent's manifest, what the webhook stands on.
        let is_meant = |document: &&str| {
            ["kind: Namespace", "kind: ConfigMap"]
                .iter()
                .any(|kind| document.contains(kind))
        };
        let agent = AGENT_MANIFEST.split("\n---\n").filter(is_meant);
        world.apply(&agent.collect::<Vec<_>>().join("\n---\n"));
        world.apply(&MANIFEST.replace("{{image}}", "\"none\""));
        world.cluster_admin(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd/clusterauthtokens.cluster.cattle.io",
            "crd/clusteruserattributes.cluster.cattle.io",
        ]);
        world
    }

    /// kubectl as an administrator of the cluster; must succeed.
    fn cluster_admin(&self, args: &[&str]) -> String {
        let output = self.cluster.kubectl().unwrap().args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn apply(&self, manifest: &str) {
        let mut kubectl = self.cluster.kubectl().unwrap();
        kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
        let output = fed(&mut kubectl, manifest);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }

    fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let authority = STANDARD.encode(self.cluster.authority());
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "direct", "cluster": {
                "server": self.cluster.direct_url(),
                "certificate-authority-data": authority,
            }}],
            "users": [{"name": "direct", "user": {"token": token}}],
            "contexts": [{"name": "direct", "context": {"cluster": "direct", "user": "direct"}}],
            "current-context": "direct",
        });
        let path = self.folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Starts the webhook under the account that the manifest gives it.
    fn start_webhook(&self) -> Process {
        let account = ["-n", "cattle-system", "create", "token", "kube-api-auth"];
        let token = self.cluster_admin(&account);
        let kubeconfig = self.kubeconfig("webhook", token.trim());
        let mut program = Command::new(env!("CARGO_BIN_EXE_kube-api-auth"));
        program
            .args(["--listen", &self.address().to_string(), "--kubeconfig"])
            .arg(kubeconfig)
            .args(["--log-level", "debug"]);
        let process = self.cluster.start_process("kube-api-auth", &program);
        let process = process.unwrap();
        let ready = process.until("the webhook", Duration::from_secs(30), || {
            Ok(match try_get(self.address(), "/readyz") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}")),
            })
        });
        ready.unwrap();
        process
    }

    fn address(&self) -> SocketAddr {
        self.cluster.token_webhook_address()
    }

    fn put(&self, kind: &str, name: &str, fields: Value) {
        let mut object = fields;
        object["apiVersion"] = json!("cluster.cattle.io/v3");
        object["kind"] = json!(kind);
        object["metadata"] = json!({
            "name": name,
            "namespace": "cattle-system",
            "labels": {"cluster.cattle.io/authorized-endpoint": "true"},
        });
        self.apply(&object.to_string());
    }

    fn put_token(&self, name: &str, enabled: bool, expires_at: &str) {
        let hash = STANDARD_NO_PAD.encode(Sha256::digest("s3cret"));
        let fields = json!({"userName": "u-ann", "enabled": enabled,
            "hash": format!("$2::{hash}"), "expiresAt": expires_at});
        self.put("ClusterAuthToken", name, fields);
    }

    fn put_ann(&self, groups: &[&str]) {
        let fields = json!({"enabled": true, "groups": groups,
            "extraByProvider": {"local": {"management.cattle.io/username": ["ann"]}}});
        self.put("ClusterUserAttribute", "u-ann", fields);
    }

    /// Who the API server takes the bearer of a token for; the words of kubectl if for nobody.
    fn whoami(&self, token: &str) -> Result<Value, String> {
        let kubeconfig = self.kubeconfig("person", token);
        let args = ["auth", "whoami", "-o", "json"];
        let output = self.kubectl_with(&kubeconfig, &args);
        if output.status.success() {
            let review: Value = serde_json::from_slice(&output.stdout).unwrap();
            return Ok(review["status"]["userInfo"].clone());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn kubectl_with(&self, kubeconfig: &Path, args: &[&str]) -> Output {
        let mut kubectl = Command::new(self.cluster.kubectl_path().unwrap());
        kubectl.env("KUBECONFIG", kubeconfig).args(args);
        kubectl.output().unwrap()
    }

    /// Waits until a token is accepted or not; how long that took.
    fn until(&self, token: &str, accepted: bool) -> Duration {
        let started = Instant::now();
        while self.whoami(token).is_ok() != accepted {
            assert!(
                started.elapsed() < FORGETS,
                "{token}: not {accepted} in time"
            );
        }
        started.elapsed()
    }
}

fn fed(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )?;
    // Who is refused while sending hangs up early.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer.get(9..12).and_then(|code| code.parse().ok());
    match code {
        Some(code) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            Ok((code, body.to_owned()))
        }
        None => Err(read.err().unwrap_or_else(|| std::io::Error::other(answer))),
    }
}

fn try_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    exchange(address, &format!("GET {path}"), b"")
}

fn ask(address: SocketAddr, body: &str) -> (u16, Value) {
    let (code, answer) = exchange(address, "POST /v1/authenticate", body.as_bytes()).unwrap();
    (code, serde_json::from_str(&answer).unwrap_or(Value::Null))
}

fn review(version: &str, token: &str) -> String {
    let version = format!("authentication.k8s.io/{version}");
    json!({"apiVersion": version, "kind": "TokenReview", "spec": {"token": token}}).to_string()
}

#[test]
fn an_api_server_knows_the_users_of_the_server() {
    let testbed = Testbed::open("test of kube-api-auth").unwrap();
    let world = World::start(&testbed);
    world.put_ann(&["lariat:authenticated", "lariat:cluster-members"]);
    world.put_token("token-1", true, "2099-01-01T00:00:00Z");
    world.put_token("token-old", true, "2020-01-01T00:00:00Z");
    world.put_token("token-off", false, "2099-01-01T00:00:00Z");
    let webhook = world.start_webhook();

    let ann = world.whoami("token-1:s3cret").unwrap();
    assert_eq!(ann["username"], "u-ann");
    let groups = [
        "lariat:authenticated",
        "lariat:cluster-members",
        "system:authenticated",
    ];
    assert_eq!(ann["groups"], json!(groups));
    let extra = json!({"management.cattle.io/username": ["ann"], "management.cattle.io/requesttokenid": ["token-1"]});
    for (key, value) in extra.as_object().unwrap() {
        assert_eq!(ann["extra"][key], *value);
    }
    for wrong in [
        "token-1:s3cre",
        "token-1:",
        "token-2:s3cret",
        "token-old:s3cret",
        "token-off:s3cret",
    ] {
        let refused = world.whoami(wrong).unwrap_err();
        assert!(
            refused.contains("Unauthorized") || refused.contains("logged in"),
            "{refused}"
        );
    }

    the_groups_decide(&world);
    the_protocol_is_kept(&world);
    the_account_may_do_nothing_else(&world);
    the_policy_of_the_cluster_holds(&world);

    // It comes back with what the cluster has, and what has ended stays ended.
    webhook.stop(Duration::from_secs(10));
    assert!(webhook.exited().unwrap().success());
    drop(webhook);
    let _webhook = world.start_webhook();
    world.until("token-1:s3cret", true);
    let revoke = [
        "-n",
        "cattle-system",
        "delete",
        "clusterauthtoken",
        "token-1",
    ];
    world.cluster_admin(&revoke);
    world.until("token-1:s3cret", false);
}

fn the_groups_decide(world: &World) {
    let kubeconfig = world.kubeconfig("person", "token-1:s3cret");
    let list = ["get", "configmaps", "-n", "default"];
    let refused = world.kubectl_with(&kubeconfig, &list);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("User \"u-ann\" cannot list"), "{words}");
    let role = [
        "create",
        "clusterrole",
        "reader",
        "--verb=list",
        "--resource=configmaps",
    ];
    world.cluster_admin(&role);
    let bind = [
        "create",
        "clusterrolebinding",
        "members",
        "--clusterrole=reader",
    ];
    world.cluster_admin(&[&bind[..], &["--group=lariat:cluster-members"]].concat());
    let started = Instant::now();
    while !world.kubectl_with(&kubeconfig, &list).status.success() {
        assert!(started.elapsed() < FORGETS);
    }
}

fn the_protocol_is_kept(world: &World) {
    let address = world.address();
    for version in ["v1", "v1beta1"] {
        let (code, answer) = ask(address, &review(version, "token-1:s3cret"));
        assert_eq!(code, 200);
        assert_eq!(
            answer["apiVersion"],
            format!("authentication.k8s.io/{version}")
        );
        assert_eq!(answer["status"]["user"]["username"], "u-ann");
        let (code, answer) = ask(address, &review(version, "token-old:s3cret"));
        assert_eq!(
            (code, &answer["status"]["authenticated"]),
            (200, &json!(false))
        );
        assert_eq!(answer["status"]["error"], "token has expired; log in again");
        // What others may know is no error.
        let (code, answer) = ask(address, &review(version, "eyJhbGciOi.x.y"));
        assert_eq!(
            (code, &answer["status"]),
            (200, &json!({"authenticated": false}))
        );
    }
    for body in ["", "{", "[]", &review("v2", "a:b")] {
        let (code, answer) = ask(address, body);
        assert_eq!((code, &answer["kind"]), (400, &json!("Status")), "{body}");
    }
    let (code, _) = ask(address, &review("v1", &"x".repeat(70_000)));
    assert_eq!(code, 413);
    assert_eq!(
        try_get(address, "/healthcheck").unwrap(),
        (200, "ok\n".to_owned())
    );
    assert_eq!(try_get(address, "/v1/authenticate").unwrap().0, 405);
    assert_eq!(try_get(address, "/secrets").unwrap().0, 404);
    let (_, metrics) = try_get(address, "/metrics").unwrap();
    assert!(metrics.contains("kube_api_auth_tokens 3"), "{metrics}");
    assert!(
        metrics.contains("kube_api_auth_reviews_total{result=\"expired\"}"),
        "{metrics}"
    );
}

fn the_account_may_do_nothing_else(world: &World) {
    let kubeconfig = world.folder.join("webhook.kubeconfig");
    for denied in [
        ["get", "secrets"],
        ["list", "secrets"],
        ["create", "clusterauthtokens.cluster.cattle.io"],
        ["patch", "clusteruserattributes.cluster.cattle.io"],
        ["list", "configmaps"],
    ] {
        let args = [["auth", "can-i"], denied, ["-n", "cattle-system"]].concat();
        let answer = world.kubectl_with(&kubeconfig, &args);
        assert_eq!(
            String::from_utf8_lossy(&answer.stdout),
            "no\n",
            "{denied:?}"
        );
    }
}

fn the_policy_of_the_cluster_holds(world: &World) {
    world.put_ann(&["lariat:authenticated", "system:masters"]);
    world.until("token-1:s3cret", false);
    let (_, answer) = ask(world.address(), &review("v1", "token-1:s3cret"));
    let why = answer["status"]["error"].as_str().unwrap();
    assert!(
        why.contains("does not allow group \"system:masters\""),
        "{why}"
    );
    world.put_ann(&["lariat:authenticated"]);
    world.until("token-1:s3cret", true);
    let map = [
        "-n",
        "cattle-system",
        "get",
        "configmap",
        "cattle-agent-policy",
        "-o",
        "json",
    ];
    let mut map: Value = serde_json::from_str(&world.cluster_admin(&map)).unwrap();
    let written = map["data"]["policy.yaml"].as_str().unwrap().to_owned();
    map["metadata"] = json!({"name": "cattle-agent-policy", "namespace": "cattle-system"});
    map["data"]["policy.yaml"] = json!(written.replace("readWrite", "readOnly"));
    world.apply(&map.to_string());
    world.until("token-1:s3cret", false);
    map["data"]["policy.yaml"] = json!(written);
    world.apply(&map.to_string());
    world.until("token-1:s3cret", true);
}
