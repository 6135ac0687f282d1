//! A connected cluster with what the loads need in it.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use testbed::{BUSYBOX, Network, Testbed};

use super::{
    copying::Original,
    way::{Front, Way},
};
use crate::lariat::{ServerOptions, Stage, free_port};

/// The image of the pod `peer`: this program.
const PEER: &str = "lariat.test/e2e-network:1";

/// A line twenty times a second.
const COUNTING: &str = "i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done";

/// tar for `kubectl cp` out of the pod: it ends some time after its output. kube-apiserver closes the
/// connection of a session that has ended at once, whatever is still to be sent, and is reset by the
/// next ping of kubectl; over a slow link the end of a file is lost so, without a tunnel as well.
/// kubectl waits for the end of the file alone.
const LINGERING_TAR: &str = r#"#!/bin/sh
busybox tar "$@" || exit
case "$1" in cf) sleep 30 ;; esac"#;

/// What is asked of a world.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the link is cut.
    pub cuts: bool,
    /// How long a long silence is.
    pub silence: Duration,
    /// Whether clients go to the cluster itself, to see what is not the tunnel's doing.
    pub without_tunnel: bool,
}

/// A server, a cluster with a real node behind a gateway, an agent as a process in that network, and
/// pods: `counter` prints numbers, `shell` is a shell, `peer` serves [`super::pod`].
pub struct World<'a> {
    pub(super) testbed: &'a Testbed,
    pub(super) front: Front,
    pub(super) stage: Stage<'a>,
    pub(super) way: Option<Way>,
    pub(super) ipv6: Ipv6Addr,
    pub(super) port: u16,
    settings: Settings,
    folder: PathBuf,
    kubeconfig: PathBuf,
    direct: kube::Client,
    tunnel: kube::Client,
    original: Option<Original>,
    counted: AtomicU64,
}

impl<'a> World<'a> {
    /// Starts everything; data and logs go to `folder`.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(testbed: &'a Testbed, folder: &Path, settings: Settings) -> Result<Self> {
        let cluster = testbed.cluster("network").start()?;
        let network = cluster.network().context("a cluster with a network")?;
        let ipv6 = network.add_ipv6()?;
        let address = IpAddr::V4(cluster.hub_address());
        let port = free_port(address)?;
        let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        let options = ServerOptions {
            folder: folder.join("server"),
            address,
            port,
            flags: vec![
                "--listen".to_owned(),
                everywhere.to_string(),
                "--tls-names".to_owned(),
                ipv6.to_string(),
            ],
        };
        let stage = Stage::start_at(testbed, cluster, folder, options).await?;
        stage.end_agent_pod()?;
        let own = std::env::current_exe().context("find this program")?;
        stage.cluster.import_program(PEER, &own)?;
        let kubeconfig = match settings.without_tunnel {
            true => stage.cluster.kubeconfig(),
            false => &stage.kubeconfig,
        };
        let kubeconfig = std::path::absolute(kubeconfig)?;
        let world = Self {
            testbed,
            direct: client(stage.cluster.kubeconfig()).await?,
            tunnel: client(&kubeconfig).await?,
            kubeconfig,
            front: Front::None,
            stage,
            way: None,
            ipv6,
            port,
            settings,
            folder: folder.to_owned(),
            original: None,
            counted: AtomicU64::new(0),
        };
        world.make_objects()?;
        Ok(world)
    }

    fn make_objects(&self) -> Result<()> {
        let mut create = self.operator()?;
        create.args(["create", "configmap", "counted", "--from-literal=count=0"]);
        run(create)?;
        let busybox = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let pods = [
            ("counter", BUSYBOX, true, busybox(COUNTING)),
            ("shell", BUSYBOX, true, busybox("exec sleep 1000000")),
            ("peer", PEER, false, vec!["serve".to_owned()]),
        ];
        for (name, image, replaces, words) in pods {
            let mut create = self.operator()?;
            create.args(["run", name, "--image-pull-policy=Never", "--image", image]);
            if replaces {
                create.arg("--command");
            }
            run({
                create.arg("--").args(words);
                create
            })?;
        }
        let mut wait = self.operator()?;
        wait.args(["wait", "pod/counter", "pod/shell", "pod/peer"]);
        wait.args(["--for=condition=Ready", "--timeout=90s"]);
        run(wait)?;
        let mut replace = self.operator()?;
        let script =
            format!("rm /bin/tar && echo '{LINGERING_TAR}' > /bin/tar && chmod 755 /bin/tar");
        replace.args(["exec", "shell", "--", "sh", "-c", &script]);
        run(replace)
    }

    /// Makes the file that is copied.
    ///
    /// # Errors
    /// When it cannot be made or put into the pod.
    pub fn make_original(&mut self, size: u64) -> Result<()> {
        self.original = Some(Original::make(self, size)?);
        Ok(())
    }

    pub(super) fn original(&self) -> Result<&Original> {
        self.original.as_ref().context("there is no file to copy")
    }

    /// How long a copy may take: 200 kB/s is what a bad network lets through.
    pub(super) fn copy_limit(&self) -> Duration {
        let size = self.original.as_ref().map_or(0, Original::size);
        Duration::from_secs(60 + size / 200_000)
    }

    /// The next number for the watched object, far from all before.
    pub(super) fn next_count(&self) -> u64 {
        self.counted.fetch_add(1_000_000, Ordering::Relaxed) + 1
    }

    pub(super) fn network(&self) -> Result<&Network> {
        let network = self.stage.cluster.network();
        network.context("the cluster has no network of its own")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn cuts(&self) -> bool {
        self.settings.cuts
    }

    pub(super) fn silence(&self) -> Duration {
        self.settings.silence
    }

    pub(super) fn kubectl_path(&self) -> Result<PathBuf> {
        Ok(self.stage.cluster.kubectl_path()?)
    }

    /// kubectl through the tunnel.
    pub(super) fn kubectl(&self) -> Result<Command> {
        Ok(self.commands()?())
    }

    /// The same without the tunnel.
    pub(super) fn operator(&self) -> Result<Command> {
        Ok(self.operators()?())
    }

    /// kubectls through the tunnel.
    pub(super) fn commands(&self) -> Result<impl Fn() -> Command + Send + use<>> {
        commands(self.kubectl_path()?, &self.kubeconfig)
    }

    /// The same without the tunnel.
    pub(super) fn operators(&self) -> Result<impl Fn() -> Command + Send + use<>> {
        commands(self.kubectl_path()?, self.stage.cluster.kubeconfig())
    }

    pub(super) fn direct_client(&self) -> kube::Client {
        self.direct.clone()
    }

    pub(super) fn tunnel_client(&self) -> kube::Client {
        self.tunnel.clone()
    }
}

fn commands(program: PathBuf, kubeconfig: &Path) -> Result<impl Fn() -> Command + Send + use<>> {
    let kubeconfig = std::path::absolute(kubeconfig)?;
    Ok(move || {
        let mut kubectl = Command::new(&program);
        kubectl.env("KUBECONFIG", &kubeconfig);
        kubectl
    })
}

/// Runs a kubectl that has to succeed.
pub(super) fn run(mut command: Command) -> Result<()> {
    let output = command.output().context("start kubectl")?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

/// One that reports each error: by default it asks again after a 503, fifteen times, and says nothing.
async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}
