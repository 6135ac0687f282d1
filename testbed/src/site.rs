//! Where one cluster lives: its folders, ports, network, certificates and programs.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use crate::{
    Error, Result,
    error::Step,
    network::{NODE_ADDRESS, Network},
    pki::Pki,
    process::Process,
    slot::{Resource, Slot},
    tools::{KubernetesVersion, Programs},
};

/// The ports of a cluster, all from one base. Below 32768, where outgoing connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    base: u16,
}

const PORTS_PER_CLUSTER: u16 = 20;

impl Ports {
    /// The ports of every cluster that has a network of its own.
    const IN_NAMESPACE: Self = Self { base: 16440 };

    pub(crate) fn etcd(self) -> u16 {
        self.base
    }
    pub(crate) fn etcd_peer(self) -> u16 {
        self.base + 1
    }
    pub(crate) fn api_server(self) -> u16 {
        self.base + 3
    }
    pub(crate) fn controller_manager(self) -> u16 {
        self.base + 4
    }
    pub(crate) fn scheduler(self) -> u16 {
        self.base + 5
    }
    pub(crate) fn kwok(self) -> u16 {
        self.base + 6
    }
    pub(crate) fn metrics_server(self) -> u16 {
        self.base + 7
    }
    pub(crate) fn token_webhook(self) -> u16 {
        self.base + 8
    }

    /// The first of the block, for what is not a cluster.
    pub(crate) fn first(self) -> u16 {
        self.base
    }

    /// A block of free ports on loopback, different for each slot and cluster.
    pub(crate) fn on_loopback(slot: usize, number: u8) -> Result<Self> {
        let (from, to) = (10_000 + 640 * u16::try_from(slot).unwrap_or(0), 32_000);
        let first = from + PORTS_PER_CLUSTER * u16::from(number % 32);
        (first..to)
            .step_by(PORTS_PER_CLUSTER.into())
            .map(|base| Self { base })
            .find(|ports| ports.are_free())
            .ok_or(Error::NoFreePorts { from: first, to })
    }

    fn are_free(self) -> bool {
        (self.base..self.base + PORTS_PER_CLUSTER)
            .all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

/// Everything that the parts of one cluster share.
#[derive(Debug)]
pub(crate) struct Site {
    pub name: String,
    pub number: u8,
    pub version: KubernetesVersion,
    pub slot: Arc<Slot>,
    pub folder: PathBuf,
    pub logs: PathBuf,
    pub ports: Ports,
    pub pki: Pki,
    pub programs: Programs,
    /// Whether the API server asks a webhook about tokens that it does not know.
    pub token_webhook: bool,
    /// Whether the API server writes down who asked for what.
    pub audited: bool,
    pub constrained_impersonation: bool,
    /// Where the API server sends its spans.
    pub traces_to: Option<SocketAddr>,
    // Last, so that it goes after all that stands on it.
    pub network: Option<Arc<Network>>,
}

impl Site {
    pub(crate) fn create(
        name: &str,
        number: u8,
        version: KubernetesVersion,
        slot: &Arc<Slot>,
        logs: PathBuf,
        programs: Programs,
        network: Option<Arc<Network>>,
    ) -> Result<Self> {
        let folder = slot.folder().join(name);
        slot.record(Resource::Folder {
            path: folder.clone(),
        })?;
        fs::create_dir_all(&folder).at("create", &folder)?;
        match fs::remove_dir_all(&logs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove the old logs in", &logs);
            }
            _ => fs::create_dir_all(&logs).at("create", &logs)?,
        }
        let ports = if network.is_some() {
            Ports::IN_NAMESPACE
        } else {
            Ports::on_loopback(slot.index(), number)?
        };
        Ok(Self {
            name: name.to_owned(),
            number,
            version,
            slot: Arc::clone(slot),
            pki: Pki::create(&folder.join("pki"))?,
            folder,
            logs,
            ports,
            programs,
            token_webhook: false,
            audited: false,
            constrained_impersonation: false,
            traces_to: None,
            network,
        })
    }

    /// The address by which the cluster's own parts know the API server.
    pub(crate) fn advertised_address(&self) -> Ipv4Addr {
        if self.network.is_some() {
            NODE_ADDRESS
        } else {
            Ipv4Addr::LOCALHOST
        }
    }

    /// The API server as the owner of the cluster reaches it.
    pub(crate) fn direct(&self) -> SocketAddr {
        let address = self
            .network
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST, |network| network.direct_address());
        SocketAddr::new(IpAddr::V4(address), self.ports.api_server())
    }

    /// The API server as the cluster's own processes reach it.
    pub(crate) fn local_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server())
    }

    /// Where the API server asks about tokens.
    pub(crate) fn token_webhook_address(&self) -> SocketAddr {
        let port = match self.network {
            // Where a pod in the node's network listens, as on other people's nodes.
            Some(_) => 6440,
            None => self.ports.token_webhook(),
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// A command for one of the built programs.
    pub(crate) fn program(&self, name: &str) -> Result<Command> {
        Ok(Command::new(self.programs.path(name)?))
    }

    /// Starts a process in the cluster's network, its output in `NAME.log`.
    pub(crate) fn start(&self, name: &str, program: &Command) -> Result<Process> {
        let log = self.log(name);
        match &self.network {
            Some(network) => Process::start(&self.slot, name, &network.command(program), &log),
            None => Process::start(&self.slot, name, program, &log),
        }
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Where the API server writes who asked for what.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.log("kube-apiserver-audit")
    }

    /// Writes a file in the cluster's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).at("write", &path)?;
        Ok(path)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.slot.remove_cluster(&self.name);
        match remove_folder(&self.folder) {
            Ok(()) => self.slot.forget(&Resource::Folder {
                path: self.folder.clone(),
            }),
            Err(error) => tracing::warn!(%error, "a cluster's folder is left until the owner ends"),
        }
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).at("remove", path)
}
