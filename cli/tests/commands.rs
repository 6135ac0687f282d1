//! The program against a real server, without a cluster behind it.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

const PASSWORD: &str = "correct horse battery";

/// A server and a home folder for the program.
struct Stage {
    server: Child,
    url: String,
    checksum: String,
    folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut server = Command::new(server_program())
            .args([
                "--listen=127.0.0.1:0",
                "--log-format=json",
                "--audit-log=off",
                "--data-dir",
            ])
            .arg(&data)
            .env("LARIAT_BOOTSTRAP_PASSWORD", PASSWORD)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let url = loop {
            let line = lines
                .next()
                .expect("the server says where it listens")
                .unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(url) = event["fields"]["url"].as_str() {
                break url.trim_end_matches('/').to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let authority = std::fs::read(data.join("ca.crt")).unwrap();
        let checksum = hex::encode(Sha256::digest(authority));
        Self {
            server,
            url,
            checksum,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lariat"))
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs what must succeed.
    fn done(&self, args: &[&str]) -> String {
        let ran = self.run(args, "");
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        ran.out
    }

    /// Runs what must fail, and returns the sentence that says why.
    fn fails(&self, args: &[&str], input: &str) -> String {
        let ran = self.run(args, input);
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.out);
        ran.err
    }

    fn log_in(&self) {
        let pin = [
            "login",
            &self.url,
            "--password-stdin",
            "--ca-checksum",
            &self.checksum,
        ];
        let ran = self.run(&pin, PASSWORD);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
}

/// Beside this program, where a build of the workspace puts it; built if it is not there.
fn server_program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_lariat")).with_file_name("lariat-server");
    if !program.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-p", "lariat-server"])
            .status();
        assert!(built.unwrap().success(), "lariat-server cannot be built");
    }
    program
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_server_is_trusted_by_its_fingerprint_or_not_at_all() {
    let stage = Stage::start();
    let unknown = stage.fails(&["login", &stage.url], "");
    assert!(
        unknown.contains(&stage.checksum) && unknown.contains("--ca-checksum"),
        "{unknown}"
    );
    let wrong = "0".repeat(64);
    let pin = [
        "login",
        &stage.url,
        "--password-stdin",
        "--ca-checksum",
        &wrong,
    ];
    let refused = stage.fails(&pin, PASSWORD);
    assert!(
        refused.contains("somebody is between you and it"),
        "{refused}"
    );
    assert!(!stage.path(".config/lariat/config.json").exists());
    let pin = [
        "login",
        &stage.url,
        "--password-stdin",
        "--ca-checksum",
        &stage.checksum,
    ];
    assert_eq!(
        stage.fails(&pin, "wrong"),
        "lariat: username or password is wrong\n"
    );
    stage.log_in();
    assert_eq!(mode(&stage.path(".config/lariat/config.json")), 0o600);
}

#[test]
fn a_cluster_from_its_creation_to_its_end() {
    let stage = Stage::start();
    assert!(
        stage
            .fails(&["cluster", "list"], "")
            .contains("you are not logged in")
    );
    stage.log_in();
    assert!(
        stage
            .done(&["cluster", "list"])
            .contains("lariat cluster create")
    );
    stage.done(&["cluster", "create", "prod: EU", "--id", "c-prod"]);
    let listed = stage.done(&["cluster", "list", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["metadata"]["name"], "c-prod");
    assert!(
        stage
            .done(&["cluster", "get", "prod: EU"])
            .contains("Pending")
    );
    assert!(
        stage
            .done(&["cluster", "get", "c-prod", "-o", "yaml"])
            .contains("kind: Cluster")
    );
    let import = stage.done(&["cluster", "import", "c-prod"]);
    assert!(import.starts_with("kubectl apply -f https://") && import.contains("sha256sum -c"));
    let missing = stage.fails(&["cluster", "get", "none"], "");
    assert!(
        missing.contains("there is no cluster \"none\""),
        "{missing}"
    );
    stage.done(&["cluster", "create", "prod: EU", "--id", "c-other"]);
    let several = stage.fails(&["cluster", "get", "prod: EU"], "");
    assert!(
        several.contains("c-prod") && several.contains("c-other"),
        "{several}"
    );
    let explained = stage.done(&["tunnel", "explain", "c-prod"]);
    assert!(
        explained.contains("no session") && explained.contains("lariat cluster import c-prod"),
        "{explained}"
    );
    let explained = stage.done(&["tunnel", "explain", "c-prod", "-o", "json"]);
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["kind"], "ClusterTunnel");
    assert_eq!(explained["registered"], false);
    let yaml = stage.done(&["tunnel", "explain", "c-prod", "-o", "yaml"]);
    assert!(yaml.contains("clusterName: c-prod"), "{yaml}");
    let requests = stage.done(&["tunnel", "explain", "c-prod", "--requests", "-o", "json"]);
    let requests: Value = serde_json::from_str(&requests).unwrap();
    assert_eq!(requests["kind"], "TunnelRequestList");
    let none = stage.fails(&["tunnel", "explain", "c-prod", "--request", "none"], "");
    assert!(none.contains("\"none\" not found"), "{none}");
    stage.done(&["cluster", "rebind", "c-prod"]);
    let kept = stage.fails(&["cluster", "delete", "c-prod"], "");
    assert!(kept.contains("--yes"), "{kept}");
    stage.done(&["cluster", "delete", "c-prod", "--yes"]);
    assert!(
        stage
            .fails(&["cluster", "get", "c-prod"], "")
            .contains("no cluster")
    );
}

#[test]
fn kubeconfig_files_are_added_to() {
    let stage = Stage::start();
    stage.log_in();
    for name in ["one", "two"] {
        stage.done(&["cluster", "create", name, "--id", name]);
    }
    let path = stage.path(".kube/config");
    stage.done(&["kubeconfig", "one"]);
    assert_eq!(mode(&path), 0o600);
    let first = std::fs::read_to_string(&path).unwrap();
    assert!(first.contains("/k8s/clusters/one'") && first.contains("current-context: 'one'"));
    stage.done(&["kubeconfig"]);
    let both = std::fs::read_to_string(&path).unwrap();
    assert!(both.contains("/k8s/clusters/one'") && both.contains("/k8s/clusters/two'"));
    assert!(both.contains("current-context: 'one'"));
    let printed = stage.done(&["kubeconfig", "two", "--print", "--server-name"]);
    assert!(printed.contains("tls-server-name: 'two.clusters.lariat.internal'"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), both);
    let never = stage.fails(&["kubectl", "one", "--", "get", "pods"], "");
    assert!(never.contains("lariat cluster import one"), "{never}");
}

#[test]
fn status_passwords_and_the_end_of_a_login() {
    let stage = Stage::start();
    stage.log_in();
    stage.done(&["cluster", "create", "prod"]);
    let status = stage.done(&["status"]);
    assert!(
        status.contains("admin, an administrator") && status.contains("Pending"),
        "{status}"
    );
    let changed = format!("{PASSWORD}\nanother password\n");
    assert_eq!(stage.run(&["passwd", "--stdin"], &changed).code, Some(0));
    let wrong = stage.run(&["passwd", "--stdin"], &changed);
    assert!(
        wrong.err.contains("the current password is wrong"),
        "{}",
        wrong.err
    );
    stage.done(&["logout"]);
    assert!(stage.fails(&["status"], "").contains("lariat login"));
    assert!(stage.done(&["completion", "bash"]).contains("lariat"));
}

#[test]
fn kubectl_is_given_a_token_for_one_cluster_that_is_kept_for_its_login() {
    let stage = Stage::start();
    stage.log_in();
    stage.done(&["cluster", "create", "one", "--id", "one"]);
    let file = stage.done(&["kubeconfig", "one", "--exec", "--print"]);
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let user = &file["users"][0]["user"];
    assert!(user["token"].is_null(), "{user}");
    let exec = &user["exec"];
    assert_eq!(exec["command"], "lariat");
    let args: Vec<_> = exec["args"].as_array().unwrap().iter().collect();
    let args: Vec<_> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
    let given = || -> Value { serde_json::from_str(&stage.done(&args)).unwrap() };
    let first = given();
    assert_eq!(first["kind"], "ExecCredential");
    assert_eq!(first["apiVersion"], "client.authentication.k8s.io/v1");
    let token = first["status"]["token"].as_str().unwrap();
    assert!(token.contains(':'), "{token}");
    assert_eq!(given(), first, "it is kept");
    assert_eq!(mode(&stage.path(".cache/lariat/tokens.json")), 0o600);
    stage.log_in();
    assert_ne!(given()["status"]["token"], token, "another login");
    stage.done(&["logout"]);
    let over = stage.fails(&args, "");
    assert!(over.contains("lariat login"), "{over}");
}
