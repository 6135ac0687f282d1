//! A connected cluster with a pod that goes on talking, and people who read what it says.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::chromium::Chromium;
use testbed::{BUSYBOX, Cluster, Testbed};

use super::person;
use super::provider::{INSIDER, PASSWORD, Provider};
use crate::lariat::{Api, Raw, Stage, apply_manifest, write_secret};

/// How long anything may take that has no limit of its own here.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A connected cluster.
pub struct World<'a> {
    pub(super) stage: Stage<'a>,
    pub(super) chromium: Chromium,
    raw: Raw,
    pub(super) folder: std::path::PathBuf,
}

/// Somebody who has logged in, with a kubeconfig.
pub(super) struct Somebody<'a> {
    pub(super) api: Api,
    kubeconfig: std::path::PathBuf,
    stage: &'a Stage<'a>,
}

/// `kubectl logs -f`, running.
pub(super) struct Followed(Child);

impl<'a> World<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, cluster: Cluster, folder: &Path) -> Result<Self> {
        // Everybody logs in from one address, and fast.
        let often = ["--logins-per-address=0", "--logins-per-account=0"];
        let stage = Stage::start_with(testbed, cluster, folder, &often).await?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "talker", "image": BUSYBOX, "imagePullPolicy": "Never",
                "command": ["sh", "-c", "while true; do echo tick; sleep 0.2; done"]}]},
        });
        apply_manifest(&stage.cluster, &pod.to_string())?;
        let mut wait = stage.cluster.kubectl()?;
        wait.args([
            "wait",
            "--for=condition=Ready",
            "pod/talker",
            "--timeout=60s",
        ]);
        ensure!(wait.output()?.status.success(), "the pod does not start");
        let ca = std::fs::read_to_string(stage.server.ca_file())?;
        let url = stage.server.url();
        let address = url.trim_start_matches("https://").parse()?;
        let world = Self {
            raw: Raw::new(address, &ca)?,
            chromium: testbed.chromium(&folder.join("chromium"))?,
            stage,
            folder: folder.to_owned(),
        };
        // Otherwise an hour.
        world
            .set("auth-user-info-max-age-seconds", "2")
            .await
            .context("set the refresh time")?;
        Ok(world)
    }

    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> String {
        self.stage.server.url()
    }

    /// Lets people log in by a provider again.
    pub(super) async fn enable(&self, provider: &Provider) -> Result<()> {
        let path = format!(
            "/apis/management.cattle.io/v3/authconfigs/{}",
            provider.name()
        );
        let mut config = self.stage.api.call(Method::GET, &path, None).await?;
        config["enabled"] = json!(true);
        self.stage
            .api
            .call(Method::PUT, &path, Some(&config))
            .await?;
        Ok(())
    }

    async fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("/apis/management.cattle.io/v3/settings/{setting}");
        let mut found = self.stage.api.call(Method::GET, &path, None).await?;
        found["value"] = json!(value);
        self.stage
            .api
            .call(Method::PUT, &path, Some(&found))
            .await?;
        Ok(())
    }

    /// Gives a group a role in the cluster.
    pub(super) async fn bind(&self, group: &str) -> Result<String> {
        let binding = json!({
            "apiVersion": "management.cattle.io/v3", "kind": "ClusterRoleTemplateBinding",
            "metadata": {"generateName": "crtb-"},
            "groupPrincipalName": group, "roleTemplateName": "cluster-owner",
        });
        let path = self.bindings();
        let made = self.stage.api.call(Method::POST, &path, Some(&binding));
        let made = made.await?;
        let name = made["metadata"]["name"].as_str();
        Ok(name.context("a binding without a name")?.to_owned())
    }

    /// Takes it away.
    pub(super) async fn unbind(&self, name: &str) -> Result<()> {
        let path = format!("{}/{name}", self.bindings());
        self.stage.api.call(Method::DELETE, &path, None).await?;
        Ok(())
    }

    fn bindings(&self) -> String {
        let cluster = &self.stage.id;
        format!("/apis/management.cattle.io/v3/namespaces/{cluster}/clusterroletemplatebindings")
    }

    /// Logs in by a provider and takes a kubeconfig.
    pub(super) async fn log_in(&self, provider: &Provider, name: &str) -> Result<Somebody<'_>> {
        let url = self.stage.server.url();
        let api = match provider {
            Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => {
                Api::login_at(&url, &provider.login_path(), name, PASSWORD).await?
            }
            Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
                let person = self.chromium.person(name);
                let token = person::log_in(self, person, provider, name).await?;
                Api::with_token(&url, &token).await?
            }
        };
        // With the token of the login: it is that which is to end.
        let cluster = format!("{url}/k8s/clusters/{}", self.stage.id);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {
                "server": cluster, "certificate-authority": self.stage.server.ca_file()}}],
            "users": [{"name": "u", "user": {"token": api.token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        });
        let file = self
            .folder
            .join(format!("{}-{name}.kubeconfig", provider.name()));
        write_secret(&file, &kubeconfig.to_string())?;
        Ok(Somebody {
            api,
            kubeconfig: file,
            stage: &self.stage,
        })
    }

    /// Checks that nobody logs in by a provider.
    pub(super) async fn is_shut(&self, provider: &Provider) -> Result<()> {
        let name = provider.name();
        match provider {
            Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => {
                let (code, words) = self.refusal(provider, INSIDER, PASSWORD).await?;
                ensure!(code == 404, "{name} is open: {code} {words}");
            }
            Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
                let stranger = self.chromium.person("stranger");
                let at = person::open(self, stranger, &format!("/login/with/{name}"))?;
                ensure!(at.ends_with("problem=not-enabled"), "{name} is open: {at}");
                stranger.leave()?;
            }
        }
        Ok(())
    }

    /// What a login is refused with: the code, and the words.
    pub(super) async fn refusal(
        &self,
        provider: &Provider,
        name: &str,
        password: &str,
    ) -> Result<(u16, String)> {
        let body = json!({"username": name, "password": password});
        self.ask(&provider.login_path(), &[], &body).await
    }

    /// What the administrator's request is refused with.
    pub(super) async fn refused(&self, path: &str, body: &Value) -> Result<(u16, String)> {
        let bearer = format!("Bearer {}", self.stage.api.token);
        self.ask(path, &[("Authorization", &bearer)], body).await
    }

    /// Where a login at a provider begins, and the cookie that goes with it.
    pub(super) async fn begun(&self, path: &str) -> Result<(String, String)> {
        let answer = self.visit(path, &[]).await?;
        let cookie = header(&answer, "set-cookie").context("no cookie")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let place = header(&answer, "location").context("sent nowhere")?;
        Ok((place.to_owned(), cookie))
    }

    /// Where somebody is sent who comes with that cookie.
    pub(super) async fn sent_to(&self, path: &str, cookie: &str) -> Result<String> {
        let answer = self.visit(path, &[("Cookie", cookie)]).await?;
        let place = header(&answer, "location").context("sent nowhere")?;
        Ok(place.to_owned())
    }

    async fn visit(&self, path: &str, headers: &[(&str, &str)]) -> Result<String> {
        let (_, answer) = self.raw.request("GET", path, headers, "").await?;
        Ok(answer)
    }

    /// Asks once: clients of Kubernetes ask again when they are refused for a while.
    async fn ask(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<(u16, String)> {
        let body = body.to_string();
        let (code, answer) = self.raw.request("POST", path, headers, &body).await?;
        ensure!(code >= 400, "{path} answers {code}");
        let begin = answer.find('{').context("no JSON in the answer")?;
        let end = answer.rfind('}').context("no JSON in the answer")?;
        let refused: Value = serde_json::from_str(&answer[begin..=end])?;
        let words = refused["message"].as_str().context("no message")?;
        Ok((code, words.to_owned()))
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer
        .split("\r\n")
        .filter_map(|line| line.split_once(": "));
    let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

impl Somebody<'_> {
    fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut kubectl = Command::new(self.stage.cluster.kubectl_path()?);
        kubectl.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        Ok(kubectl)
    }

    /// Whether the cluster answers, or what kubectl says otherwise.
    pub(super) fn gets_in(&self) -> Result<std::result::Result<(), String>> {
        let asked = self
            .kubectl(&["get", "pod", "talker", "--request-timeout=10s"])?
            .output()?;
        Ok(match asked.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&asked.stderr).into_owned()),
        })
    }

    /// Follows the log of the pod that goes on talking; has read from it when this returns.
    pub(super) fn follow(&self) -> Result<Followed> {
        let mut kubectl = self.kubectl(&["logs", "-f", "talker", "--tail=1"])?;
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = kubectl.stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("kubectl has no output")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next().transpose()?;
        // Or it stops when nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let followed = Followed(child);
        ensure!(
            first.as_deref() == Some("tick"),
            "kubectl logs says {first:?}"
        );
        Ok(followed)
    }

    /// Waits until the cluster answers.
    pub(super) async fn until_in(&self, since: Instant) -> Result<()> {
        while let Err(words) = self.gets_in()? {
            ensure!(since.elapsed() < PATIENCE, "does not get in: {words}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// How long it takes until the cluster no longer answers, and with which words.
    pub(super) async fn until_out(&self, since: Instant) -> Result<(Duration, String)> {
        loop {
            if let Err(words) = self.gets_in()? {
                return Ok((since.elapsed(), words));
            }
            ensure!(since.elapsed() < PATIENCE, "still gets in");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Followed {
    /// How long it takes until it has ended.
    pub(super) async fn ended(mut self, since: Instant, limit: Duration) -> Result<Duration> {
        loop {
            if self.0.try_wait()?.is_some() {
                return Ok(since.elapsed());
            }
            let waited = since.elapsed();
            ensure!(
                waited < limit,
                "kubectl logs -f still runs after {waited:.1?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
