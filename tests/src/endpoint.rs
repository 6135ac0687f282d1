//! A cluster with an authorized endpoint, whose API server asks the real webhook, and people who use it.

mod group;
mod people;

pub use group::group;

use crate::lariat::{AGENT_IMAGE, Api, Server, Stage, apply_manifest, binary};
use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};
use testbed::{Cluster, NODE_NAME, Testbed};
use tokio::sync::Mutex;

/// Name of the webhook's image on nodes of the testbed.
const AUTH_IMAGE: &str = "lariat.test/kube-api-auth:1";

/// The RoleTemplate that lets somebody read a little.
pub const ONLY_READ: &str = "endpoint-reader";

const PASSWORD: &str = "correct horse battery";
const GROUP: &str = "/apis/management.cattle.io/v3";

/// Everything.
pub struct World<'a> {
    testbed: &'a Testbed,
    server: Mutex<Server<'a>>,
    cluster: Cluster,
    folder: PathBuf,
    /// An administrator.
    pub api: Api,
    /// A user with [`ONLY_READ`].
    pub ann: Api,
    /// Her id.
    pub ann_id: String,
    /// The cluster's id at the server.
    pub id: String,
}

impl<'a> World<'a> {
    /// Starts everything and turns the endpoint on.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path) -> Result<Self> {
        let cluster = testbed.cluster("endpoint").token_webhook(true).start()?;
        let stage = Stage::start(testbed, cluster, folder).await?;
        let Stage {
            server,
            api,
            cluster,
            id,
            ..
        } = stage;
        let user = json!({"apiVersion": "management.cattle.io/v3", "kind": "User",
            "metadata": {}, "username": "ann", "password": PASSWORD});
        let made = api
            .call(Method::POST, &format!("{GROUP}/users"), Some(&user))
            .await?;
        let ann_id = made["metadata"]["name"]
            .as_str()
            .context("the user has no id")?;
        let world = Self {
            ann: Api::login(&server.url(), "ann", PASSWORD).await?,
            ann_id: ann_id.to_owned(),
            testbed,
            server: Mutex::new(server),
            cluster,
            folder: folder.to_owned(),
            api,
            id,
        };
        let rules = json!([{"apiGroups": [""], "verbs": ["get", "list", "watch"],
            "resources": ["pods", "configmaps", "namespaces"]}]);
        let template = json!({"apiVersion": "management.cattle.io/v3", "kind": "RoleTemplate",
            "metadata": {"name": ONLY_READ}, "displayName": "Reader", "context": "cluster",
            "rules": rules});
        let path = format!("{GROUP}/roletemplates");
        world.api.call(Method::POST, &path, Some(&template)).await?;
        world.bind(ONLY_READ).await?;
        world.install().await?;
        Ok(world)
    }

    async fn install(&self) -> Result<()> {
        self.cluster
            .import_program(AUTH_IMAGE, &binary("kube-api-auth")?)?;
        let label = "node-role.kubernetes.io/control-plane=";
        self.downstream(&["label", "node", NODE_NAME, label])?;
        self.set_endpoint(&self.by_name()).await?;
        let import = self.api.import(&self.id).await?;
        let images = format!("image={AGENT_IMAGE}&authImage={AUTH_IMAGE}");
        let path = format!("/v3/import/{}.yaml?{images}", import.token);
        let manifest = self.api.text(&path).await?;
        apply_manifest(&self.cluster, &manifest)?;
        self.wait_for_webhook()?;
        self.wait_fed().await
    }

    /// Waits until the cluster has what it shall have of the endpoint, and the server its addresses.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn wait_fed(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let status = self.status().await?;
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let fed = |one: &&Value| one["type"] == "AuthorizedEndpoint" && one["status"] == "True";
            if conditions.iter().any(|one| fed(&one)) && !status["caCert"].is_null() {
                return Ok(());
            }
            ensure!(
                started.elapsed() < Duration::from_secs(60),
                "it is not fed: {status}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The endpoint by a name, under which this program reaches the API server.
    #[must_use]
    pub fn by_name(&self) -> Value {
        let address = self.cluster.direct_url();
        json!({"enabled": true, "fqdn": address.trim_start_matches("https://")})
    }

    /// What the Cluster says of its endpoint from now on.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set_endpoint(&self, endpoint: &Value) -> Result<()> {
        let path = format!("{GROUP}/clusters/{}", self.id);
        let change = |cluster: &mut Value| {
            cluster["spec"]["localClusterAuthEndpoint"] = endpoint.clone();
        };
        self.change(&path, change).await
    }

    /// Whether the user is enabled from now on.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set_enabled(&self, enabled: bool) -> Result<()> {
        let path = format!("{GROUP}/users/{}", self.ann_id);
        self.change(&path, |user| user["enabled"] = json!(enabled))
            .await
    }

    async fn change(&self, path: &str, change: impl Fn(&mut Value)) -> Result<()> {
        // What the server itself writes meanwhile is a conflict.
        let mut last = None;
        for _ in 0..20 {
            let mut object = self.api.call(Method::GET, path, None).await?;
            change(&mut object);
            match self.api.call(Method::PUT, path, Some(&object)).await {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("nothing was tried")?)
    }

    /// Deletes the Cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn delete_cluster(&self) -> Result<()> {
        let path = format!("{GROUP}/clusters/{}", self.id);
        self.api.call(Method::DELETE, &path, None).await?;
        Ok(())
    }

    /// Whether the cluster has tokens or users of the server.
    #[must_use]
    pub fn knows_nobody(&self) -> bool {
        let all = "clusterauthtokens.cluster.cattle.io,clusteruserattributes.cluster.cattle.io";
        let names = self.downstream(&["get", all, "-o", "name"]);
        names.is_ok_and(|names| names.trim().is_empty())
    }

    /// The Cluster's status.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn status(&self) -> Result<Value> {
        let path = format!("{GROUP}/clusters/{}", self.id);
        Ok(self.api.call(Method::GET, &path, None).await?["status"].clone())
    }

    /// Gives the user a role in the cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bind(&self, role: &str) -> Result<()> {
        let binding = json!({"apiVersion": "management.cattle.io/v3",
            "kind": "ClusterRoleTemplateBinding",
            "metadata": {"name": role, "namespace": self.id},
            "userName": self.ann_id, "roleTemplateName": role});
        let path = self.bindings();
        self.api.call(Method::POST, &path, Some(&binding)).await?;
        Ok(())
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn unbind(&self, role: &str) -> Result<()> {
        let path = format!("{}/{role}", self.bindings());
        self.api.call(Method::DELETE, &path, None).await?;
        Ok(())
    }

    fn bindings(&self) -> String {
        format!("{GROUP}/namespaces/{}/clusterroletemplatebindings", self.id)
    }

    /// kubectl as an administrator of the cluster, directly, in the webhook's namespace.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn downstream(&self, args: &[&str]) -> Result<String> {
        let mut kubectl = self.cluster.kubectl()?;
        printed(
            kubectl.args(["-n", "cattle-system"]).args(args).output()?,
            args,
        )
    }

    /// Applies an object there.
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub fn apply_downstream(&self, object: &Value) -> Result<()> {
        apply_manifest(&self.cluster, &object.to_string())
    }

    /// Changes a word of the agent's policy.
    ///
    /// # Errors
    /// When the policy has not that word.
    pub fn change_policy(&self, from: &str, to: &str) -> Result<()> {
        let get = ["get", "configmap", "cattle-agent-policy", "-o", "json"];
        let mut map: Value = serde_json::from_str(&self.downstream(&get)?)?;
        let written = map["data"]["policy.yaml"].as_str().context("no policy")?;
        let changed = written.replace(&format!("access: {from}"), &format!("access: {to}"));
        ensure!(changed != written, "the policy has no {from}");
        map["data"]["policy.yaml"] = json!(changed);
        self.apply_downstream(&map)
    }

    /// Starts the webhook again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_webhook(&self) -> Result<()> {
        self.downstream(&["rollout", "restart", "daemonset/kube-api-auth"])?;
        self.wait_for_webhook()
    }

    fn wait_for_webhook(&self) -> Result<()> {
        let status = [
            "rollout",
            "status",
            "daemonset/kube-api-auth",
            "--timeout=90s",
        ];
        self.downstream(&status)?;
        Ok(())
    }

    /// Starts or ends the agent.
    ///
    /// # Errors
    /// When it does not come or go.
    pub fn scale_agent(&self, replicas: u32) -> Result<()> {
        let agent = "deployment/cattle-cluster-agent";
        let replicas_flag = format!("--replicas={replicas}");
        self.downstream(&["scale", agent, &replicas_flag])?;
        if replicas == 0 {
            let gone = [
                "wait",
                "--for=delete",
                "pod",
                "-l",
                "app=cattle-cluster-agent",
            ];
            self.downstream(&[&gone[..], &["--timeout=60s"]].concat())?;
        } else {
            self.downstream(&["rollout", "status", agent, "--timeout=90s"])?;
        }
        Ok(())
    }

    /// Ends the server as an administrator would.
    pub async fn stop_server(&self) {
        self.server.lock().await.stop();
    }

    /// Starts it again, and waits until the cluster is connected.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_server(&self) -> Result<()> {
        self.server.lock().await.restart().await?;
        self.api.wait_ready(&self.id, Duration::from_secs(60)).await
    }
}

fn printed(output: Output, args: &[&str]) -> Result<String> {
    if !output.status.success() {
        bail!(
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
