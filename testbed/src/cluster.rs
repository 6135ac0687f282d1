//! A cluster of real components.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::{
    Error, Result,
    control_plane::{self, ControlPlane},
    image::{self, Image},
    kwok, metrics,
    network::Network,
    node::Node,
    packages,
    process::Process,
    service_proxy,
    site::Site,
    slot::ClusterRecord,
    testbed::Testbed,
    tools::{self, KubernetesVersion, Tool},
};

/// How much of a cluster there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// etcd and kube-apiserver on loopback ports, and nothing that acts on their objects.
    ApiServer,
    /// The control plane on loopback ports: no root, no node, no network of its own.
    Loopback,
    /// The control plane and a real node (containerd, runc, kubelet, kube-proxy) in a network of
    /// its own behind a gateway that translates addresses. Needs root.
    #[default]
    Full,
}

/// What a cluster shall be; made by [`Testbed::cluster`].
#[derive(Debug)]
pub struct ClusterBuilder<'a> {
    testbed: &'a Testbed,
    name: String,
    version: KubernetesVersion,
    tier: Tier,
    kwok_nodes: u32,
    metrics: bool,
    token_webhook: bool,
    audited: bool,
    constrained_impersonation: bool,
    traces_to: Option<SocketAddr>,
    logs: Option<PathBuf>,
}

impl<'a> ClusterBuilder<'a> {
    pub(crate) fn new(testbed: &'a Testbed, name: &str) -> Self {
        Self {
            testbed,
            name: name.to_owned(),
            version: KubernetesVersion::default(),
            tier: Tier::default(),
            kwok_nodes: 0,
            metrics: false,
            token_webhook: false,
            audited: false,
            constrained_impersonation: false,
            traces_to: None,
            logs: None,
        }
    }

    /// The Kubernetes version; 1.35 by default.
    #[must_use]
    pub fn version(mut self, version: KubernetesVersion) -> Self {
        self.version = version;
        self
    }

    /// The tier; [`Tier::Full`] by default.
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// This many nodes that KWOK plays; none by default.
    #[must_use]
    pub fn kwok_nodes(mut self, count: u32) -> Self {
        self.kwok_nodes = count;
        self
    }

    /// With metrics-server, which needs a real node.
    #[must_use]
    pub fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// With an API server that asks a webhook about bearer tokens that it does not know: who answers listens
    /// at [`Cluster::token_webhook_address`].
    #[must_use]
    pub fn token_webhook(mut self, asks: bool) -> Self {
        self.token_webhook = asks;
        self
    }

    /// With an API server that writes down who asked for what, as one event a line in
    /// [`Cluster::audit_log`].
    #[must_use]
    pub fn audited(mut self, audited: bool) -> Self {
        self.audited = audited;
        self
    }

    /// With an API server that has constrained impersonation, as is usual from Kubernetes 1.36 on.
    #[must_use]
    pub fn constrained_impersonation(mut self, constrained: bool) -> Self {
        self.constrained_impersonation = constrained;
        self
    }

    /// With an API server that records every request and sends its spans there, by OTLP over gRPC. It goes on with a
    /// trace that a request brings only for members of `system:masters` and `system:monitoring`; for others it
    /// begins one that is linked to it.
    #[must_use]
    pub fn traces_to(mut self, collector: SocketAddr) -> Self {
        self.traces_to = Some(collector);
        self
    }

    /// The folder for the logs, emptied first. By default one in the cache, named after the
    /// cluster and the slot of its owner.
    #[must_use]
    pub fn logs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.logs = Some(folder.into());
        self
    }

    /// Starts the cluster and waits until it can run pods (or, without a node, take objects).
    /// Tools that are missing are built first, which takes minutes, once.
    ///
    /// # Errors
    /// When a tool is missing and cannot be built, or a part does not start.
    pub fn start(self) -> Result<Cluster> {
        self.check()?;
        let full = self.tier == Tier::Full;
        if full {
            packages::ensure_for_node()?;
        } else {
            packages::ensure_for_loopback()?;
        }
        let programs = tools::ensure(&self.tools())?;
        let slot = self.testbed.slot();
        let number = self.testbed.next_number()?;
        let logs = match self.logs {
            Some(folder) => folder,
            None => tools::cache_folder()?.join(format!("logs/{}-{}", self.name, slot.index())),
        };
        let network = if full {
            Node::check_path(&slot.folder().join(&self.name))?;
            let hub = self.testbed.hub()?;
            Some(Arc::new(Network::create(slot, &hub, number)?))
        } else {
            None
        };
        let mut site = Site::create(
            &self.name,
            number,
            self.version,
            slot,
            logs,
            programs,
            network,
        )?;
        site.token_webhook = self.token_webhook;
        site.audited = self.audited;
        site.constrained_impersonation = self.constrained_impersonation;
        site.traces_to = self.traces_to;
        let control_plane = ControlPlane::start(&site, self.tier != Tier::ApiServer)?;
        let mut cluster = Cluster {
            site,
            control_plane,
            node: None,
            service_proxy: None,
            metrics: None,
            kwok: None,
            kwok_nodes: self.kwok_nodes,
        };
        if full {
            cluster.start_node()?;
        }
        if self.kwok_nodes > 0 {
            let kwok = kwok::start(&cluster.site)?;
            kwok::add_nodes(&kwok, &cluster.control_plane.client, self.kwok_nodes)?;
            cluster.kwok = Some(kwok);
        }
        if self.metrics {
            cluster.metrics = Some(metrics::start(
                &cluster.site,
                &cluster.control_plane.client,
            )?);
        }
        cluster.announce(self.tier)?;
        Ok(cluster)
    }

    fn check(&self) -> Result<()> {
        let is_label = !self.name.is_empty()
            && self.name.len() <= 40
            && self
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_label {
            return Err(Error::Unsupported(format!(
                "`{}` is no name for a cluster: up to 40 lower-case letters, digits and dashes",
                self.name
            )));
        }
        if self.tier == Tier::Full && !nix::unistd::geteuid().is_root() {
            return Err(Error::NeedsRoot {
                what: "a cluster with a real node",
            });
        }
        if self.tier != Tier::Full && self.metrics {
            return Err(Error::Unsupported(
                "metrics need a real node: use the full tier".into(),
            ));
        }
        Ok(())
    }

    fn tools(&self) -> Vec<Tool> {
        let mut tools = vec![Tool::Etcd, Tool::Kubernetes(self.version)];
        if self.kwok_nodes > 0 {
            tools.push(Tool::Kwok);
        }
        if self.metrics {
            tools.push(Tool::MetricsServer);
        }
        tools
    }
}

/// A running cluster; dropping it ends every process and removes everything it has made, except
/// its logs.
#[derive(Debug)]
pub struct Cluster {
    // Ended in this order; the node before the control plane that it reports to.
    kwok: Option<Process>,
    metrics: Option<Process>,
    service_proxy: Option<Process>,
    node: Option<Node>,
    control_plane: ControlPlane,
    site: Site,
    kwok_nodes: u32,
}

impl Cluster {
    fn start_node(&mut self) -> Result<()> {
        let images = [
            image::pause(&self.site.folder)?,
            image::busybox(&self.site.folder)?,
        ];
        let node = self.node.insert(Node::start(&self.site, &images)?);
        self.service_proxy = Some(service_proxy::start(&self.site)?);
        node.wait_ready(&self.control_plane.client)
    }

    fn announce(&self, tier: Tier) -> Result<()> {
        self.site.slot.add_cluster(ClusterRecord {
            name: self.site.name.clone(),
            version: self.site.version.full().to_owned(),
            tier: format!("{tier:?}").to_lowercase(),
            kubeconfig: self.kubeconfig().to_owned(),
            kubectl: self.kubectl_path()?,
            logs: self.site.logs.clone(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.site.name
    }

    /// Its Kubernetes version.
    #[must_use]
    pub fn version(&self) -> KubernetesVersion {
        self.site.version
    }

    /// An administrator's kubeconfig that reaches the API server directly, from the owner's own
    /// network namespace.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.control_plane.kubeconfig
    }

    /// An administrator's kubeconfig that works for processes in the cluster's network, such as
    /// those of [`Cluster::start_process`].
    #[must_use]
    pub fn local_kubeconfig(&self) -> PathBuf {
        self.site.pki.path("local-admin.kubeconfig")
    }

    /// The path of a kubectl of the cluster's own version.
    ///
    /// # Errors
    /// When it has been removed from the cache.
    pub fn kubectl_path(&self) -> Result<PathBuf> {
        self.site.programs.path("kubectl")
    }

    /// kubectl of the cluster's own version, as administrator and without a tunnel.
    ///
    /// # Errors
    /// When it has been removed from the cache.
    pub fn kubectl(&self) -> Result<Command> {
        let mut kubectl = Command::new(self.kubectl_path()?);
        kubectl.env("KUBECONFIG", self.kubeconfig());
        Ok(kubectl)
    }

    /// The process of kube-apiserver.
    #[must_use]
    pub fn api_server(&self) -> &Process {
        &self.control_plane.api_server
    }

    /// The process of etcd.
    #[must_use]
    pub fn etcd(&self) -> &Process {
        &self.control_plane.etcd
    }

    /// Starts kube-apiserver again, after it was stopped, and does not wait until it serves.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_api_server(&mut self) -> Result<()> {
        self.control_plane.api_server = control_plane::start_api_server(&self.site)?;
        Ok(())
    }

    /// The API server as the owner of the cluster reaches it, for clients with credentials of their own.
    #[must_use]
    pub fn direct_url(&self) -> String {
        format!("https://{}", self.site.direct())
    }

    /// The CA of the API server, in PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.site.pki.authority()
    }

    /// Where an API server that is [`ClusterBuilder::audited`] writes who asked for what.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.site.audit_log()
    }

    /// Where the API server asks about bearer tokens, in the cluster's network.
    #[must_use]
    pub fn token_webhook_address(&self) -> SocketAddr {
        self.site.token_webhook_address()
    }

    /// Its network with the faults it can play; nothing on loopback.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.site.network.as_deref()
    }

    /// The address at which the cluster finds a server that listens in the owner's network.
    #[must_use]
    pub fn hub_address(&self) -> Ipv4Addr {
        self.network()
            .map_or(Ipv4Addr::LOCALHOST, Network::hub_address)
    }

    /// The folder of the logs of all its parts; it stays.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.site.logs
    }

    /// Starts a process in the cluster's network, its output in `NAME.log` of the logs. It ends
    /// when it is dropped, and at the latest with the owner.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_process(&self, name: &str, program: &Command) -> Result<Process> {
        self.site.start(name, program)
    }

    /// Whether the cluster has a real node.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.node.is_some()
    }

    /// Makes an image that runs `program` and puts it on the node under `name`.
    ///
    /// # Errors
    /// When there is no real node, or the image cannot be made or imported.
    pub fn import_program(&self, name: &str, program: &Path) -> Result<Image> {
        let image = Image::of_program(name, program, &self.site.folder)?;
        self.node()?.import(&image)?;
        Ok(image)
    }

    /// Ends the node as a power cut would; its pods are gone, the API server is not told.
    ///
    /// # Errors
    /// When there is no real node.
    pub fn kill_node(&mut self) -> Result<()> {
        self.node.as_mut().ok_or_else(no_node)?.kill();
        Ok(())
    }

    /// Starts the node again, as after a reboot, and waits until it is ready.
    ///
    /// # Errors
    /// When there is no real node or it does not come back.
    pub fn boot_node(&mut self) -> Result<()> {
        let node = self.node.as_mut().ok_or_else(no_node)?;
        node.boot(&self.site)?;
        node.wait_ready(&self.control_plane.client)
    }

    /// Makes `count` pods `load-0` … on the KWOK nodes and waits until they run.
    ///
    /// # Errors
    /// When there are no KWOK nodes, or the pods do not run in time.
    pub fn add_kwok_pods(&self, namespace: &str, count: u32) -> Result<()> {
        let kwok = self.kwok.as_ref().ok_or_else(|| {
            Error::Unsupported(
                "this cluster has no KWOK nodes; ask for some when building it".into(),
            )
        })?;
        kwok::add_pods(
            kwok,
            &self.control_plane.client,
            namespace,
            count,
            self.kwok_nodes,
        )
    }

    /// The parts that have ended although they should run, each with how it ended.
    #[must_use]
    pub fn ended_parts(&self) -> Vec<String> {
        [&self.control_plane.etcd, &self.control_plane.api_server]
            .into_iter()
            .chain(&self.service_proxy)
            .chain(&self.kwok)
            .chain(&self.metrics)
            .filter_map(|part| Some(format!("{} ended with {}", part.name(), part.exited()?)))
            .collect()
    }

    fn node(&self) -> Result<&Node> {
        self.node.as_ref().ok_or_else(no_node)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.end(&self.site);
        }
    }
}

fn no_node() -> Error {
    Error::Unsupported("this cluster has no real node: use the full tier".into())
}
