//! A cluster's network: a namespace of its own behind a gateway that translates addresses.
//!
//! ```text
//!   cluster namespace                    gateway namespace             the owner's namespace
//!   10.99.1.10  nb (node address)
//!   192.168.77.2 lan ──────────────────▶ 192.168.77.1 lan
//!                                        198.18.S.(10+n) wan ────────▶ 198.18.S.1 hub
//!   198.19.S.(4n+2) direct ◀──────────── for the test alone ────────── 198.19.S.(4n+1)
//! ```
//!
//! The cluster can dial the hub and cannot be dialled from there. The direct link is how a test
//! compares: what comes from the owner's side passes, what the cluster begins is dropped.

mod faults;
mod ipv6;
mod segment;
mod wire;

use std::{fs, net::Ipv4Addr, process::Command, sync::Arc};

use crate::{
    Error, Result, command,
    error::Step,
    slot::{Resource, Slot},
    sweep,
};

pub(crate) use segment::Segment;
pub use wire::{Quality, Wire};

/// The address of the node, the same in every cluster.
pub(crate) const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 10);

/// How many clusters fit in one slot's address ranges.
const CLUSTERS: u8 = 60;

/// The place that all clusters of one owner can dial: a bridge in the owner's namespace.
#[derive(Debug)]
pub(crate) struct Hub {
    slot: Arc<Slot>,
    link: String,
    address: Ipv4Addr,
}

impl Hub {
    pub(crate) fn create(slot: &Arc<Slot>) -> Result<Self> {
        let link = format!("lrt{}hub", slot.index());
        let hub = Self {
            slot: Arc::clone(slot),
            address: Ipv4Addr::new(198, 18, octet(slot), 1),
            link,
        };
        slot.record(hub.resource())?;
        ip(&["link", "add", &hub.link, "type", "bridge"])?;
        let address = format!("{}/24", hub.address);
        ip(&["address", "add", &address, "dev", &hub.link])?;
        ip(&["link", "set", &hub.link, "up"])?;
        Ok(hub)
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn resource(&self) -> Resource {
        Resource::Link {
            name: self.link.clone(),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        remove(&self.slot, &self.resource());
    }
}

/// The network of one cluster, with the faults that its gateway can play.
#[derive(Debug)]
pub struct Network {
    slot: Arc<Slot>,
    number: u8,
    cluster: String,
    gateway: String,
    wan_link: String,
    direct_link: String,
    direct: Ipv4Addr,
    hub: Arc<Hub>,
}

impl Network {
    pub(crate) fn create(slot: &Arc<Slot>, hub: &Arc<Hub>, number: u8) -> Result<Self> {
        if number >= CLUSTERS {
            return Err(Error::Unsupported(format!(
                "one owner can have at most {CLUSTERS} clusters with a network of their own"
            )));
        }
        let index = slot.index();
        let network = Self {
            slot: Arc::clone(slot),
            number,
            cluster: format!("lariat-{index}-{number}"),
            gateway: format!("lariat-{index}-{number}-gateway"),
            wan_link: format!("lrt{index}w{number}"),
            direct_link: format!("lrt{index}d{number}"),
            direct: Ipv4Addr::new(198, 19, octet(slot), 4 * number + 2),
            hub: Arc::clone(hub),
        };
        for resource in network.resources() {
            slot.record(resource)?;
        }
        network.make_links(number)?;
        network.make_rules()?;
        Ok(network)
    }

    fn make_links(&self, number: u8) -> Result<()> {
        let (cluster, gateway) = (self.cluster.as_str(), self.gateway.as_str());
        for namespace in [cluster, gateway] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        let node = format!("{NODE_ADDRESS}/24");
        ip(&["-n", cluster, "link", "add", "nb", "type", "bridge"])?;
        up(Some(cluster), "nb", &node)?;

        ip(&[
            "-n", cluster, "link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns",
            gateway,
        ])?;
        up(Some(cluster), "lan", "192.168.77.2/30")?;
        up(Some(gateway), "lan", "192.168.77.1/30")?;
        ip(&[
            "-n",
            cluster,
            "route",
            "add",
            "default",
            "via",
            "192.168.77.1",
        ])?;

        let [a, b, c, _] = self.hub.address.octets();
        let wan = format!("{}/24", Ipv4Addr::new(a, b, c, 10 + number));
        ip(&[
            "link",
            "add",
            &self.wan_link,
            "type",
            "veth",
            "peer",
            "name",
            "wan",
            "netns",
            gateway,
        ])?;
        ip(&[
            "link",
            "set",
            &self.wan_link,
            "master",
            &self.hub.link,
            "up",
        ])?;
        up(Some(gateway), "wan", &wan)?;

        let [a, b, c, d] = self.direct.octets();
        let near = format!("{}/30", Ipv4Addr::new(a, b, c, d - 1));
        let far = format!("{}/30", self.direct);
        ip(&[
            "link",
            "add",
            &self.direct_link,
            "type",
            "veth",
            "peer",
            "name",
            "direct",
            "netns",
            cluster,
        ])?;
        up(None, &self.direct_link, &near)?;
        up(Some(cluster), "direct", &far)
    }

    fn make_rules(&self) -> Result<()> {
        self.load_rules(
            &self.gateway,
            &format!(
                "table inet gateway {{
                   chain losses {{ type filter hook forward priority -20; policy accept; }}
                   chain cuts {{ type filter hook forward priority -10; policy accept; }}
                   chain through {{ type filter hook forward priority 0; policy drop;
                     ct state established,related accept
                     iifname \"lan\" oifname \"wan\" ip daddr {hub} ct state new accept
                   }}
                   chain inward {{ type filter hook input priority 0; policy drop;
                     ct state established,related accept
                     iifname \"lo\" accept
                     meta l4proto {{ icmp, ipv6-icmp }} accept
                   }}
                   chain translate {{ type nat hook postrouting priority 100;
                     oifname \"wan\" masquerade
                   }}
                 }}",
                hub = self.hub.address,
            ),
        )?;
        self.load_rules(
            &self.cluster,
            "table ip direct {
               chain own { type filter hook output priority 0; oifname \"direct\" ct state new drop; }
               chain pods { type filter hook forward priority 0; oifname \"direct\" ct state new drop; }
             }",
        )?;
        for namespace in [&self.cluster, &self.gateway] {
            self.sysctl(namespace, "net.ipv4.ip_forward=1")?;
        }
        // With the kernel's default a flow that the table forgot is picked up again in the middle,
        // which no real gateway does.
        self.sysctl(&self.gateway, "net.netfilter.nf_conntrack_tcp_loose=0")
    }

    /// The address of the API server for the owner of the cluster alone.
    #[must_use]
    pub fn direct_address(&self) -> Ipv4Addr {
        self.direct
    }

    /// The address that the cluster can dial; a server for it listens there.
    #[must_use]
    pub fn hub_address(&self) -> Ipv4Addr {
        self.hub.address
    }

    /// The name of the cluster's network namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.cluster
    }

    /// The name of the gateway's network namespace.
    #[must_use]
    pub fn gateway_namespace(&self) -> &str {
        &self.gateway
    }

    /// `program` as a command that runs in the cluster's network namespace.
    #[must_use]
    pub fn command(&self, program: &Command) -> Command {
        enter(&self.cluster, program)
    }

    fn in_gateway(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1));
        command::run("change the gateway", &mut enter(&self.gateway, &command))?;
        Ok(())
    }

    fn load_rules(&self, namespace: &str, rules: &str) -> Result<()> {
        let file = self.slot.folder().join(format!("{namespace}.nft"));
        fs::write(&file, rules).at("write", &file)?;
        let mut nft = enter(namespace, Command::new("nft").arg("-f").arg(&file));
        command::run("set packet filter rules", &mut nft)?;
        fs::remove_file(&file).at("remove", &file)
    }

    fn sysctl(&self, namespace: &str, setting: &str) -> Result<()> {
        let mut sysctl = enter(namespace, Command::new("sysctl").args(["-qw", setting]));
        command::run("set a kernel parameter", &mut sysctl)?;
        Ok(())
    }

    fn resources(&self) -> [Resource; 4] {
        let link = |name: &String| Resource::Link { name: name.clone() };
        let namespace = |name: &String| Resource::NetworkNamespace { name: name.clone() };
        [
            namespace(&self.cluster),
            namespace(&self.gateway),
            link(&self.wan_link),
            link(&self.direct_link),
        ]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for resource in self.resources().into_iter().rev() {
            remove(&self.slot, &resource);
        }
    }
}

/// `program` as a command that runs in a network namespace. Not `ip netns exec`, which hides the
/// control groups.
pub(crate) fn enter(namespace: &str, program: &Command) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{namespace}"))
        .arg("--")
        .arg(program.get_program())
        .args(program.get_args());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

fn remove(slot: &Slot, resource: &Resource) {
    match sweep::resources(std::slice::from_ref(resource)) {
        Ok(()) => slot.forget(resource),
        Err(error) => tracing::warn!(%error, "part of a network is left until the owner ends"),
    }
}

fn up(namespace: Option<&str>, link: &str, address: &str) -> Result<()> {
    let place: &[&str] = match &namespace {
        Some(namespace) => &["-n", namespace],
        None => &[],
    };
    ip(&[place, &["address", "add", address, "dev", link]].concat())?;
    ip(&[place, &["link", "set", link, "up"]].concat())
}

fn ip(words: &[&str]) -> Result<()> {
    command::run("lay out the network", Command::new("ip").args(words))?;
    Ok(())
}

fn octet(slot: &Slot) -> u8 {
    u8::try_from(slot.index()).unwrap_or(u8::MAX)
}
