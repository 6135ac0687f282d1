//! One of the servers that are compared.

use super::etcd::Etcd;
use super::objects::{self, DEFINITION, DEFINITIONS, RESOURCE, body, collection, object};
use crate::{
    endpoint::Endpoint,
    memory::{self, Memory},
};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use e2e::lariat::{Api, Server, ServerOptions};
use http::Method;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use testbed::{Cluster, Process, Testbed, Tier};

/// What the real one is called.
pub(super) const REAL: &str = "kube-apiserver";
/// How long a server may take to start or to take a change to heart.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections over which objects are made that are not measured.
const FILLERS: usize = 32;
/// The user, who is given the kind by a role and nothing else.
const USER: &str = "bench";
const PASSWORD: &str = "bench-password-1";
/// Time that a server gets to end in order.
const GRACE: Duration = Duration::from_secs(30);

/// One of the servers, and a user of it who may work with the kind.
pub struct Side<'a> {
    /// What it is called in the report.
    pub name: &'static str,
    /// The user's way in.
    pub user: Endpoint,
    host: Host<'a>,
}

enum Host<'a> {
    Ours(Box<Server<'a>>, Option<Etcd<'a>>),
    Real(Box<Cluster>),
}

/// How long a start took.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Until it said that it is ready.
    pub ready: Duration,
    /// Until it gave the user an object.
    pub object: Option<Duration>,
}

impl<'a> Side<'a> {
    /// The management server as it is shipped, with its store in a redb file.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn redb(testbed: &'a Testbed, folder: &Path) -> anyhow::Result<Self> {
        Self::ours(testbed, "redb", folder, None).await
    }

    /// The same server with its store in an etcd, which nobody else uses.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn etcd(testbed: &'a Testbed, folder: &Path) -> anyhow::Result<Self> {
        let etcd = Etcd::start(testbed, &folder.join("etcd-member"))?;
        Self::ours(testbed, "etcd", folder, Some(etcd)).await
    }

    async fn ours(
        testbed: &'a Testbed,
        name: &'static str,
        folder: &Path,
        etcd: Option<Etcd<'a>>,
    ) -> anyhow::Result<Self> {
        let mut flags = vec![
            "--max-connections-per-address".to_owned(),
            "20000".to_owned(),
        ];
        if let Some(etcd) = &etcd {
            flags.extend(["--store", "etcd", "--etcd-endpoints"].map(String::from));
            flags.push(etcd.url());
        }
        let options = ServerOptions {
            flags,
            ..ServerOptions::loopback(folder.join(name))
        };
        let server = Server::start(testbed, options).await?;
        let user = endpoint(&kubeconfig(&server)?, None).await?;
        Ok(Self {
            name,
            user,
            host: Host::Ours(Box::new(server), etcd),
        })
    }

    /// A kube-apiserver with its etcd, and no controllers, which would ask it things meanwhile.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn kube_apiserver(testbed: &'a Testbed) -> anyhow::Result<Self> {
        let cluster = testbed.cluster("real").tier(Tier::ApiServer).start()?;
        let user = endpoint(&Kubeconfig::read_from(cluster.kubeconfig())?, None).await?;
        Ok(Self {
            name: REAL,
            user,
            host: Host::Real(Box::new(cluster)),
        })
    }

    /// Defines the kind, makes the namespaces, and the user with a role.
    ///
    /// # Errors
    /// When the server refuses any of it.
    pub async fn prepare(&mut self, namespaces: &[&str]) -> anyhow::Result<()> {
        let admin = match &self.host {
            Host::Ours(server, _) => {
                let token = server.api().await?.token;
                endpoint(&kubeconfig(server)?, Some(&token)).await?
            }
            Host::Real(cluster) => {
                endpoint(&Kubeconfig::read_from(cluster.kubeconfig())?, None).await?
            }
        };
        post(&admin, DEFINITIONS, &objects::definition()).await?;
        for namespace in namespaces {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            post(&admin, "/api/v1/namespaces", &namespace).await?;
        }
        let subject = self.make_user(&admin).await?;
        let (group, plural) = RESOURCE;
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": USER},
            "rules": [{"apiGroups": [group], "resources": [plural],
                "verbs": ["get", "list", "watch", "create", "update", "delete"]}],
        });
        post(&admin, &format!("{rbac}/clusterroles"), &role).await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
            "subjects": [subject],
        });
        post(&admin, &format!("{rbac}/clusterrolebindings"), &binding).await?;
        let definition = format!("{DEFINITIONS}/{DEFINITION}");
        admin.ask(Method::GET, &definition, Bytes::new()).await?;
        self.wait_for(&collection(namespaces[0]), Instant::now())
            .await?;
        Ok(())
    }

    /// Makes the user and logs in; who that is, for a binding.
    async fn make_user(&mut self, admin: &Endpoint) -> anyhow::Result<Value> {
        match &self.host {
            Host::Ours(server, _) => {
                let user = json!({
                    "apiVersion": "management.cattle.io/v3", "kind": "User",
                    "metadata": {}, "username": USER, "password": PASSWORD,
                });
                let made = post(admin, "/apis/management.cattle.io/v3/users", &user).await?;
                let token = Api::login(&server.url(), USER, PASSWORD).await?.token;
                self.user = endpoint(&kubeconfig(server)?, Some(&token)).await?;
                Ok(json!({
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": made["metadata"]["name"],
                }))
            }
            Host::Real(cluster) => {
                let accounts = "/api/v1/namespaces/default/serviceaccounts";
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": USER}});
                post(admin, accounts, &account).await?;
                let asked = json!({
                    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                    "spec": {"expirationSeconds": 7200},
                });
                let made = post(admin, &format!("{accounts}/{USER}/token"), &asked).await?;
                let token = made["status"]["token"].as_str().context("no token")?;
                let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
                self.user = endpoint(&kubeconfig, Some(token)).await?;
                Ok(json!({"kind": "ServiceAccount", "name": USER, "namespace": "default"}))
            }
        }
    }

    /// Makes the objects of these numbers in a namespace, many at once.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn fill(&self, namespace: &'static str, count: usize) -> anyhow::Result<()> {
        let next = std::sync::Arc::new(AtomicUsize::new(0));
        let fillers = (0..FILLERS).map(|_| {
            let (next, user) = (std::sync::Arc::clone(&next), self.user.clone());
            tokio::spawn(async move {
                let mut connection = user.connect().await?;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(());
                    }
                    let object = body(&object(namespace, number));
                    let request = user.request(Method::POST, &collection(namespace), object)?;
                    connection.ask(request).await?;
                }
            })
        });
        for filler in futures::future::join_all(fillers).await {
            filler??;
        }
        Ok(())
    }

    /// Memory of the server, and of its etcd if it has one.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn memory(&self) -> anyhow::Result<(Memory, Option<Memory>)> {
        match &self.host {
            Host::Ours(server, etcd) => {
                let etcd = etcd.as_ref().map(|etcd| memory::of(etcd.pid()));
                Ok((memory::of(server.pid())?, etcd.transpose()?))
            }
            Host::Real(cluster) => {
                let etcd = memory::of(cluster.etcd().pid())?;
                Ok((memory::of(cluster.api_server().pid())?, Some(etcd)))
            }
        }
    }

    /// Ends the server as an administrator would, or as a crash would.
    pub fn end(&self, crash: bool) {
        match &self.host {
            Host::Ours(server, _) if crash => server.kill(),
            Host::Ours(server, _) => server.stop(),
            Host::Real(cluster) => end(cluster.api_server(), crash),
        }
    }

    /// Whether its store can be taken away.
    #[must_use]
    pub fn can_be_emptied(&self) -> bool {
        matches!(self.host, Host::Ours(..))
    }

    /// Takes the store of a server away that has ended.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn empty(&mut self) -> anyhow::Result<()> {
        match &mut self.host {
            Host::Ours(_, Some(etcd)) => etcd.empty(),
            Host::Ours(server, None) => {
                let store = server.folder().join("data/store.redb");
                Ok(std::fs::remove_file(store)?)
            }
            Host::Real(_) => anyhow::bail!("not of a kube-apiserver"),
        }
    }

    /// Starts a server that has ended. An object of the user's is asked for if there is its path.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(&mut self, object: Option<&str>) -> anyhow::Result<Start> {
        let begun = Instant::now();
        match &mut self.host {
            Host::Ours(server, _) => server.relaunch()?,
            Host::Real(cluster) => cluster.start_api_server()?,
        }
        let ready = self.wait_for("/readyz", begun).await?;
        let object = match object {
            Some(path) => Some(self.wait_for(path, begun).await?),
            None => None,
        };
        Ok(Start { ready, object })
    }

    /// When a path answered with success for the first time, from `begun`.
    async fn wait_for(&self, path: &str, begun: Instant) -> anyhow::Result<Duration> {
        loop {
            let Err(problem) = self.user.ask(Method::GET, path, Bytes::new()).await else {
                return Ok(begun.elapsed());
            };
            ensure!(begun.elapsed() < PATIENCE, problem.context(path.to_owned()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn end(process: &Process, crash: bool) {
    if crash {
        process.kill();
    } else {
        process.stop(GRACE);
    }
}

async fn post(admin: &Endpoint, path: &str, value: &Value) -> anyhow::Result<Value> {
    let answer = admin.ask(Method::POST, path, body(value)).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// The way in of a kubeconfig, or with a token instead of what is in it.
async fn endpoint(kubeconfig: &Kubeconfig, token: Option<&str>) -> anyhow::Result<Endpoint> {
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await?;
    if token.is_some() {
        config.auth_info = AuthInfo::default();
    }
    Ok(Endpoint::of_kube(&config, token)?.over_http2())
}

/// Where a server of ours is; nobody's.
fn kubeconfig(server: &Server<'_>) -> anyhow::Result<Kubeconfig> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "ours", "cluster": {
            "server": server.url(), "certificate-authority": server.ca_file()}}],
        "users": [{"name": "ours", "user": {}}],
        "contexts": [{"name": "ours", "context": {"cluster": "ours", "user": "ours"}}],
        "current-context": "ours",
    }))?)
}
