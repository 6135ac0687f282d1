//! A server, a cluster that is connected to it, and people.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testbed::{Cluster, Process, Testbed, Tier};
use tokio::sync::Mutex;

use crate::lariat::{
    AGENT_IMAGE, Api, Import, Server, ServerOptions, agent_command, apply_manifest, write_secret,
};

/// Within that time whatever changes has to arrive.
pub const SOON: Duration = Duration::from_secs(5);

/// Everybody's password.
const PASSWORD: &str = "correct horse battery";

/// A server, a connected cluster, and the agent in between.
pub struct World<'a> {
    /// The server.
    pub server: Mutex<Server<'a>>,
    /// Its administrator.
    pub admin: Api,
    /// The cluster.
    pub cluster: Cluster,
    /// The cluster's id at the server.
    pub id: String,
    /// The cluster itself, as its own administrator sees it, past the server.
    pub direct: kube::Client,
    url: String,
    folder: PathBuf,
    import: Import,
    agent: Mutex<Option<Process>>,
    testbed: &'a Testbed,
}

/// A connected cluster beside the world's own, for as long as it is held.
pub struct Other {
    /// Its id at the server.
    pub id: String,
    /// The cluster itself, past the server.
    pub direct: kube::Client,
    _agent: Process,
    _cluster: Cluster,
}

/// A user.
pub struct Person {
    /// The id.
    pub id: String,
    /// The management API, as this user.
    pub api: Api,
    /// The cluster through the tunnel, as this user.
    pub client: kube::Client,
    /// The same for kubectl.
    pub kubeconfig: PathBuf,
}

impl<'a> World<'a> {
    /// Starts everything.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path) -> Result<Self> {
        let cluster = testbed
            .cluster("access")
            .tier(Tier::Loopback)
            .audited(true)
            .constrained_impersonation(true)
            .logs(folder.join("cluster"))
            .start()?;
        let server = Server::start(testbed, ServerOptions::loopback(folder.join("server"))).await?;
        let admin = server.api().await?;
        let spec = json!({"displayName": "access", "constrainedImpersonation": true});
        let id = admin.create_cluster_as(spec).await?;
        let import = admin.import(&id).await?;
        apply_manifest(&cluster, &admin.manifest(&import, AGENT_IMAGE).await?)?;
        let direct = client(Kubeconfig::read_from(cluster.local_kubeconfig())?).await?;
        let url = server.url();
        let world = Self {
            server: Mutex::new(server),
            admin,
            cluster,
            id,
            direct,
            url,
            folder: folder.to_owned(),
            import,
            agent: Mutex::default(),
            testbed,
        };
        world.connect().await?;
        world
            .admin
            .wait_ready(&world.id, Duration::from_secs(30))
            .await?;
        Ok(world)
    }

    /// Starts the agent, with the account and so the rights of the import manifest.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn connect(&self) -> Result<()> {
        let agent = self.start_agent(&self.cluster, &self.import, &self.folder);
        *self.agent.lock().await = Some(agent.await?);
        Ok(())
    }

    async fn start_agent(
        &self,
        cluster: &Cluster,
        import: &Import,
        folder: &Path,
    ) -> Result<Process> {
        let account = [
            "-n",
            "cattle-system",
            "create",
            "token",
            "cattle",
            "--duration=12h",
        ];
        let token = run(cluster.kubectl()?.args(account))?;
        let mut config = Kubeconfig::read_from(cluster.local_kubeconfig())?;
        for user in &mut config.auth_infos {
            let bearer = json!({"token": token.trim()});
            user.auth_info = Some(serde_json::from_value(bearer)?);
        }
        let kubeconfig = agent_kubeconfig(folder);
        write_secret(&kubeconfig, &serde_json::to_string(&config)?)?;
        let server = self.server.lock().await;
        let mut command = agent_command(&server, import, &kubeconfig)?;
        command.args(["--health-address", "127.0.0.1:0"]);
        let log = folder.join("agent.log");
        let agent = self
            .testbed
            .start_process("cattle-cluster-agent", &command, &log)?;
        Ok(agent)
    }

    /// Connects another cluster.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn another_cluster(&self, name: &str) -> Result<Other> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let cluster = self
            .testbed
            .cluster(name)
            .tier(Tier::Loopback)
            .logs(folder.join("cluster"))
            .start()?;
        let id = self.admin.create_cluster(name).await?;
        let import = self.admin.import(&id).await?;
        let manifest = self.admin.manifest(&import, AGENT_IMAGE).await?;
        apply_manifest(&cluster, &manifest)?;
        let agent = self.start_agent(&cluster, &import, &folder).await?;
        self.admin.wait_ready(&id, Duration::from_secs(30)).await?;
        let direct = client(Kubeconfig::read_from(cluster.local_kubeconfig())?).await?;
        Ok(Other {
            id,
            direct,
            _agent: agent,
            _cluster: cluster,
        })
    }

    /// Ends the agent.
    ///
    /// # Errors
    /// When the server does not notice.
    pub async fn disconnect(&self) -> Result<()> {
        drop(self.agent.lock().await.take());
        eventually(Duration::from_secs(30), async || {
            let status = self.condition("Connected").await?;
            ensure!(status.0 == "False", "the cluster is still connected");
            Ok(())
        })
        .await
        .map(drop)
    }

    /// kubectl in the cluster, past the server, as the cluster's own administrator.
    ///
    /// # Errors
    /// When it fails; holds what it says.
    pub fn kubectl_as_owner(&self, words: &[&str]) -> Result<String> {
        let mut kubectl = self.cluster.kubectl()?;
        run(kubectl.args(words))
    }

    /// kubectl in the cluster, past the server, with the agent's own account.
    ///
    /// # Errors
    /// When it fails; holds what it says.
    pub fn kubectl_as_agent(&self, words: &[&str]) -> Result<String> {
        let mut kubectl = Command::new(self.cluster.kubectl_path()?);
        kubectl.env("KUBECONFIG", agent_kubeconfig(&self.folder));
        kubectl.env("HOME", &self.folder);
        run(kubectl.args(words))
    }

    /// Applies the import manifest again.
    ///
    /// # Errors
    /// When the server or the cluster refuses.
    pub async fn apply_import_manifest(&self) -> Result<()> {
        let import = self.admin.import(&self.id).await?;
        let manifest = self.admin.manifest(&import, AGENT_IMAGE).await?;
        apply_manifest(&self.cluster, &manifest)
    }

    /// kubectl through the tunnel.
    ///
    /// # Errors
    /// When it fails; holds what it says.
    pub fn kubectl(&self, person: &Person, words: &[&str]) -> Result<String> {
        let mut kubectl = Command::new(self.cluster.kubectl_path()?);
        kubectl.env("KUBECONFIG", &person.kubeconfig);
        kubectl.env("HOME", &self.folder);
        run(kubectl.args(words))
    }

    /// A new user.
    ///
    /// # Errors
    /// When there cannot be one.
    pub async fn person(&self, name: &str) -> Result<Person> {
        let user = json!({"username": name, "password": PASSWORD});
        let id = self.make("users", "", "User", user).await?;
        let api = Api::login(&self.url, name, PASSWORD).await?;
        let config = self.config(&api, &self.id).await?;
        let kubeconfig = self.folder.join(format!("{name}.kubeconfig"));
        write_secret(&kubeconfig, &serde_json::to_string(&config)?)?;
        Ok(Person {
            id,
            api,
            client: client(config).await?,
            kubeconfig,
        })
    }

    /// A client for a cluster through the tunnel, as somebody.
    ///
    /// # Errors
    /// When there cannot be one.
    pub async fn client(&self, api: &Api, cluster: &str) -> Result<kube::Client> {
        client(self.config(api, cluster).await?).await
    }

    async fn config(&self, api: &Api, cluster: &str) -> Result<Kubeconfig> {
        let ca = self.server.lock().await.ca_file();
        let config = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": {
                "server": format!("{}/k8s/clusters/{cluster}", self.url),
                "certificate-authority": ca,
            }}],
            "users": [{"name": "it", "user": {"token": api.token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }))?;
        Ok(config)
    }

    /// Makes an object of the management API, and returns its name.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn make(
        &self,
        plural: &str,
        namespace: &str,
        kind: &str,
        mut fields: Value,
    ) -> Result<String> {
        fields["apiVersion"] = json!("management.cattle.io/v3");
        fields["kind"] = json!(kind);
        if fields["metadata"].is_null() {
            fields["metadata"] = json!({});
        }
        let path = path(plural, namespace);
        let made = self
            .admin
            .call(http::Method::POST, &path, Some(&fields))
            .await?;
        let name = made["metadata"]["name"].as_str();
        Ok(name.context("the object has no name")?.to_owned())
    }

    /// Deletes an object of the management API.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn unmake(&self, plural: &str, namespace: &str, name: &str) -> Result<()> {
        let path = format!("{}/{name}", path(plural, namespace));
        self.admin.call(http::Method::DELETE, &path, None).await?;
        Ok(())
    }

    /// Gives somebody a role in the cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bind(&self, role: &str, subject: Value) -> Result<String> {
        let mut fields = subject;
        fields["roleTemplateName"] = json!(role);
        let kind = "ClusterRoleTemplateBinding";
        self.make("clusterroletemplatebindings", &self.id, kind, fields)
            .await
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn unbind(&self, binding: &str) -> Result<()> {
        self.unmake("clusterroletemplatebindings", &self.id, binding)
            .await
    }

    /// Status, reason and message of a condition of the Cluster.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn condition(&self, name: &str) -> Result<(String, String, String)> {
        let path = format!("{}/{}", path("clusters", ""), self.id);
        let found = self.admin.call(http::Method::GET, &path, None).await?;
        let conditions = found["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let found = conditions.find(|one| one["type"] == name);
        let text = |field: &str| {
            let value = found.and_then(|found| found[field].as_str());
            value.unwrap_or_default().to_owned()
        };
        Ok((text("status"), text("reason"), text("message")))
    }
}

/// Waits until something holds; how long that took.
///
/// # Errors
/// When it does not within `limit`; the last reason.
pub async fn eventually(
    limit: Duration,
    mut holds: impl AsyncFnMut() -> Result<()>,
) -> Result<Duration> {
    let started = Instant::now();
    loop {
        match holds().await {
            Ok(()) => return Ok(started.elapsed()),
            Err(error) if started.elapsed() > limit => {
                return Err(error.context(format!("not within {limit:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn agent_kubeconfig(folder: &Path) -> PathBuf {
    folder.join("agent.kubeconfig")
}

fn path(plural: &str, namespace: &str) -> String {
    let group = "/apis/management.cattle.io/v3";
    match namespace {
        "" => format!("{group}/{plural}"),
        namespace => format!("{group}/namespaces/{namespace}/{plural}"),
    }
}

async fn client(config: Kubeconfig) -> Result<kube::Client> {
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options).await?;
    Ok(kube::Client::try_from(config)?)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot start kubectl")?;
    if !output.status.success() {
        bail!(
            "{}",
            String::from_utf8_lossy(&output.stderr).trim().to_owned()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
