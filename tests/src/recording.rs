//! Sessions in containers that a server records: a real node, kubectl, both protocols.

mod disk;
mod faults;
mod sessions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::{BUSYBOX, Testbed};

use crate::cases::Case;
use crate::lariat::{Stage, write_secret};
use crate::table::invoke::{self, Outcome};
use disk::Disk;

/// How long one kubectl may take, and the server with what comes after it.
const LIMIT: Duration = Duration::from_secs(60);

const RECORDINGS: &str = "/apis/management.cattle.io/v3/namespaces";

/// A server that must record the sessions in its cluster, a pod `shell`, and a pod `reader` that is
/// made anew for each attach.
pub struct World<'a> {
    stage: Stage<'a>,
    folder: PathBuf,
    /// Where the recordings are: a small disk of its own.
    disk: Disk,
}

/// The two ways in which kubectl upgrades a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    WebSocket,
    Spdy,
}

impl Way {
    const BOTH: [Self; 2] = [Self::WebSocket, Self::Spdy];

    /// kubectl's switch.
    fn env(self) -> (&'static str, &'static str) {
        let name = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";
        match self {
            Self::WebSocket => (name, "true"),
            Self::Spdy => (name, "false"),
        }
    }
}

/// A recording: its object, and its events without their times.
#[derive(Debug)]
struct Recorded {
    object: Value,
    header: Value,
    events: Vec<(String, String)>,
}

impl Recorded {
    /// What was printed.
    fn output(&self) -> String {
        self.texts("o")
    }

    fn texts(&self, code: &str) -> String {
        let texts = self.events.iter().filter(|(found, _)| found == code);
        texts.map(|(_, text)| text.as_str()).collect()
    }

    fn status(&self) -> &Value {
        &self.object["status"]
    }
}

/// All cases.
#[must_use]
pub fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    let mut cases = sessions::cases();
    cases.extend(faults::cases());
    cases
}

impl<'a> World<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path) -> Result<Self> {
        let recordings = folder.join("server/data/recordings");
        Disk::unmount(&recordings);
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        let disk = Disk::mount(&recordings)?;
        let cluster = testbed.cluster("recording").start()?;
        let stage = Stage::start(testbed, cluster, folder).await?;
        let world = Self {
            stage,
            folder: folder.to_owned(),
            disk,
        };
        world.demand(json!({"required": true})).await?;
        let pod = |name: &str, rest: Value| {
            let mut container = json!({
                "name": name, "image": BUSYBOX, "imagePullPolicy": "Never",
            });
            for (field, value) in rest.as_object().into_iter().flatten() {
                container[field] = value.clone();
            }
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            })
        };
        let shell = pod("shell", json!({"command": ["sleep", "100000"]}));
        let reader = pod(
            "reader",
            json!({"command": ["cat"], "stdin": true, "stdinOnce": false}),
        );
        for pod in [shell, reader] {
            world.operate(&["create", "-f", "-"], &pod.to_string())?;
        }
        let wait = [
            "wait",
            "--for=condition=Ready",
            "pod",
            "--all",
            "--timeout=60s",
        ];
        world.operate(&wait, "")?;
        Ok(world)
    }

    /// What the cluster demands of sessions.
    async fn demand(&self, settings: Value) -> Result<()> {
        let path = format!("/apis/management.cattle.io/v3/clusters/{}", self.stage.id);
        let mut cluster = self.stage.api.call(Method::GET, &path, None).await?;
        cluster["spec"]["sessionRecording"] = settings;
        self.stage
            .api
            .call(Method::PUT, &path, Some(&cluster))
            .await?;
        Ok(())
    }

    /// kubectl as the operator of the cluster, past the server.
    fn operate(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut kubectl = self.stage.cluster.kubectl()?;
        let outcome = invoke::run(kubectl.args(arguments), input.as_bytes(), LIMIT)?;
        let transcript = outcome.transcript();
        ensure!(
            outcome.code == Some(0),
            "kubectl {arguments:?}: {transcript}"
        );
        Ok(())
    }

    /// kubectl through the server.
    fn kubectl(&self, way: Way, arguments: &[&str]) -> Result<Command> {
        let mut kubectl = self.stage.kubectl()?;
        let (name, value) = way.env();
        kubectl.args(arguments).env(name, value);
        Ok(kubectl)
    }

    /// The same, to its end.
    fn run(&self, way: Way, arguments: &[&str], input: &str) -> Result<Outcome> {
        let mut kubectl = self.kubectl(way, arguments)?;
        invoke::run(&mut kubectl, input.as_bytes(), LIMIT)
    }

    /// The same, in a terminal of 33 rows and 111 columns.
    fn in_terminal(&self, way: Way, arguments: &str, typed: &str) -> Result<Outcome> {
        let (name, value) = way.env();
        let (kubectl, config) = (self.stage.cluster.kubectl_path()?, &self.stage.kubeconfig);
        let line = format!(
            "stty rows 33 cols 111 -echo; {name}={value} '{}' --kubeconfig '{}' {arguments}",
            kubectl.display(),
            config.display(),
        );
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        invoke::run_typing(&mut script, typed.as_bytes(), LIMIT)
    }

    /// The names of all recordings.
    async fn names(&self) -> Result<BTreeSet<String>> {
        let path = format!("{RECORDINGS}/{}/sessionrecordings", self.stage.id);
        let list = self.stage.api.call(Method::GET, &path, None).await?;
        let items = list["items"].as_array().context("no list of recordings")?;
        let names = items.iter().map(|item| item["metadata"]["name"].as_str());
        Ok(names.flatten().map(str::to_owned).collect())
    }

    /// The recordings that are not among those, once they have ended.
    async fn since(&self, before: &BTreeSet<String>) -> Result<Vec<Recorded>> {
        let mut recorded = Vec::new();
        for name in self.names().await?.difference(before) {
            let path = format!("{RECORDINGS}/{}/sessionrecordings/{name}", self.stage.id);
            let began = Instant::now();
            let object = loop {
                let object = self.stage.api.call(Method::GET, &path, None).await?;
                if object["status"]["phase"] != "Recording" {
                    break object;
                }
                ensure!(began.elapsed() < LIMIT, "it does not end: {object}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            let text = self.stage.api.text(&format!("{path}/cast")).await?;
            recorded.push(parse(object, &text)?);
        }
        Ok(recorded)
    }

    /// What was recorded of one session.
    async fn recorded<T>(&self, session: impl FnOnce() -> Result<T>) -> Result<(T, Recorded)> {
        let before = self.names().await?;
        let came = tokio::task::block_in_place(session)?;
        let mut recorded = self.since(&before).await?;
        match recorded.pop() {
            Some(one) if recorded.is_empty() => Ok((came, one)),
            Some(_) => bail!("{} recordings of one session", recorded.len() + 1),
            None => bail!("nothing was recorded"),
        }
    }

    /// Somebody who may do everything in the cluster: id, and a kubeconfig.
    async fn somebody(&self, name: &str, role: Value) -> Result<(String, PathBuf)> {
        let kinds = "/apis/management.cattle.io/v3";
        let made = |kind: &str, mut object: Value| {
            object["apiVersion"] = json!("management.cattle.io/v3");
            object["kind"] = json!(kind);
            object
        };
        let create = async |path: String, object: Value| {
            self.stage
                .api
                .call(Method::POST, &path, Some(&object))
                .await
        };
        let password = "correct horse battery";
        let user = made("User", json!({"username": name, "password": password}));
        let user = create(format!("{kinds}/users"), user).await?;
        let id = user["metadata"]["name"]
            .as_str()
            .context("no id")?
            .to_owned();
        let mut template = made("RoleTemplate", role);
        template["metadata"]["name"] = json!(name);
        template["context"] = json!("cluster");
        create(format!("{kinds}/roletemplates"), template).await?;
        let cluster = &self.stage.id;
        let binding = made(
            "ClusterRoleTemplateBinding",
            json!({"metadata": {"name": name}, "userName": id, "clusterName": cluster,
                "roleTemplateName": name}),
        );
        let bindings = format!("{kinds}/namespaces/{cluster}/clusterroletemplatebindings");
        create(bindings, binding).await?;
        let (binding, user) = (format!("e2e-{name}"), format!("--user={id}"));
        let given = [
            "create",
            "clusterrolebinding",
            &binding,
            "--clusterrole=cluster-admin",
            &user,
        ];
        self.operate(&given, "")?;
        let url = self.stage.server.url();
        let api = crate::lariat::Api::login(&url, name, password).await?;
        let path = self.folder.join(format!("{name}.kubeconfig"));
        write_secret(&path, &api.kubeconfig(cluster, false).await?)?;
        Ok((id, path))
    }
}

fn parse(object: Value, text: &str) -> Result<Recorded> {
    let mut lines = text.lines();
    let header = lines.next().context("an empty recording")?;
    let header = serde_json::from_str(header).context("no header")?;
    let mut events = Vec::new();
    let mut now = 0.0;
    for line in lines {
        let (at, code, text): (f64, String, String) =
            serde_json::from_str(line).with_context(|| format!("no event: {line:?}"))?;
        ensure!(at >= now, "time goes back: {line:?}");
        now = at;
        events.push((code, text));
    }
    Ok(Recorded {
        object,
        header,
        events,
    })
}
