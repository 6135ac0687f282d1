//! A wire that is long, uneven or lossy: between gateway and hub, through a namespace in which every
//! frame waits for its time in this process.
//!
//! ```text
//!   gateway namespace      wire namespace          the owner's namespace
//!   wan ────────────────── gate ═ frames ═ far ─── hub
//! ```
//!
//! TCP, and whatever else goes through, is the kernel's own at both ends, so it sees the round trip.

mod direction;
mod schedule;

use std::{
    fs::File,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    process::Command,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{
        socket::{
            AddressFamily, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use super::{Network, enter, ip, remove};
use crate::{
    Error, Result, command,
    error::Step,
    packages::{self, Program},
    slot::Resource,
};
use direction::Direction;
use schedule::Schedule;

const ETHTOOL: [Program; 1] = [Program {
    name: "ethtool",
    package: "ethtool",
}];

/// What the kernel keeps of frames that were not read yet, in bytes.
const KERNEL_BUFFER: usize = 8 << 20;

/// How often a thread that waits for frames looks whether it shall end, in milliseconds.
const LOOK: i64 = 50;

/// What a wire does to frames; the same in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// How long a frame is under way: half of what it adds to a round trip.
    pub delay: Duration,
    /// Up to so much longer, at random: frames overtake one another.
    pub jitter: Duration,
    /// How many of a hundred frames are dropped, at random.
    pub loss_percent: u8,
    /// Of the random numbers.
    pub seed: u64,
}

/// The wire while it is in place; a plain one is put there again when it is dropped.
#[derive(Debug)]
pub struct Wire<'a> {
    network: &'a Network,
    namespace: String,
    far_link: String,
    directions: Vec<Direction>,
}

impl Network {
    /// Puts a wire of this quality between the gateway and the hub, under the connections that there are.
    ///
    /// # Errors
    /// When it cannot be laid out.
    pub fn wire(&self, quality: Quality) -> Result<Wire<'_>> {
        packages::ensure_all(&ETHTOOL)?;
        let (index, number) = (self.slot.index(), self.number);
        let mut wire = Wire {
            network: self,
            namespace: format!("lariat-{index}-{number}-wire"),
            far_link: format!("lrt{index}x{number}"),
            directions: Vec::new(),
        };
        for resource in wire.resources() {
            self.slot.record(resource)?;
        }
        wire.lay(quality)?;
        Ok(wire)
    }
}

impl Wire<'_> {
    /// Frames that arrived at the other end so far, both directions together.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.directions.iter().map(Direction::carried).sum()
    }

    fn lay(&mut self, quality: Quality) -> Result<()> {
        let (network, namespace) = (self.network, self.namespace.as_str());
        ip(&["netns", "add", namespace])?;
        // Nothing of its own shall be on the wire, and no answer to what is on it.
        for setting in ["all", "default"] {
            let setting = format!("net.ipv6.conf.{setting}.disable_ipv6=1");
            network.sysctl(namespace, &setting)?;
        }
        ip(&[
            "link",
            "add",
            &self.far_link,
            "type",
            "veth",
            "peer",
            "name",
            "far",
            "netns",
            namespace,
        ])?;
        // Each frame as it would be on a cable: not longer than the wire takes, its checksum in it.
        set_offloads(None, &self.far_link, "off")?;
        set_offloads(Some(&network.gateway), "wan", "off")?;
        ip(&["link", "set", &network.wan_link, "nomaster"])?;
        ip(&[
            "link",
            "set",
            &network.wan_link,
            "netns",
            namespace,
            "name",
            "gate",
        ])?;
        for link in ["gate", "far"] {
            ip(&["-n", namespace, "link", "set", link, "promisc", "on", "up"])?;
        }
        ip(&[
            "link",
            "set",
            &self.far_link,
            "master",
            &network.hub.link,
            "up",
        ])?;
        let [gate, far] = open_links(namespace, ["gate", "far"])?;
        let clone = |file: &File| file.try_clone().step(|| "share a packet socket".to_owned());
        let (gate_out, far_out) = (clone(&gate)?, clone(&far)?);
        let up = Schedule::new(quality, quality.seed);
        let down = Schedule::new(quality, !quality.seed);
        self.directions
            .push(Direction::start("wire-up", gate, far_out, up)?);
        self.directions
            .push(Direction::start("wire-down", far, gate_out, down)?);
        Ok(())
    }

    fn take_away(&self) -> Result<()> {
        let (network, namespace) = (self.network, self.namespace.as_str());
        let own = std::process::id().to_string();
        ip(&[
            "-n",
            namespace,
            "link",
            "set",
            "gate",
            "promisc",
            "off",
            "netns",
            &own,
            "name",
            &network.wan_link,
        ])?;
        set_offloads(Some(&network.gateway), "wan", "on")?;
        ip(&[
            "link",
            "set",
            &network.wan_link,
            "master",
            &network.hub.link,
            "up",
        ])
    }

    fn resources(&self) -> [Resource; 2] {
        [
            Resource::NetworkNamespace {
                name: self.namespace.clone(),
            },
            Resource::Link {
                name: self.far_link.clone(),
            },
        ]
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        self.directions.clear();
        if let Err(error) = self.take_away() {
            tracing::warn!(%error, "a cluster is left without its link to the hub");
        }
        for resource in self.resources().into_iter().rev() {
            remove(&self.network.slot, &resource);
        }
    }
}

fn set_offloads(namespace: Option<&str>, link: &str, state: &str) -> Result<()> {
    let mut ethtool = Command::new("ethtool");
    ethtool.args(["-K", link]);
    for offload in ["tso", "gso", "gro", "tx"] {
        ethtool.args([offload, state]);
    }
    if let Some(namespace) = namespace {
        ethtool = enter(namespace, &ethtool);
    }
    command::run("set what a link does to frames", &mut ethtool)?;
    Ok(())
}

/// Sockets for all frames on two links of a namespace. A thread enters it: the sockets stay there,
/// whoever uses them.
fn open_links(namespace: &str, links: [&'static str; 2]) -> Result<[File; 2]> {
    let path = Path::new("/run/netns").join(namespace);
    let opened = std::thread::spawn(move || -> Result<[File; 2]> {
        let file = File::open(&path).at("open", &path)?;
        setns(&file, CloneFlags::CLONE_NEWNET).step(|| format!("enter {}", path.display()))?;
        let [first, second] = links;
        Ok([open_link(first)?, open_link(second)?])
    })
    .join();
    opened.unwrap_or_else(|_| {
        Err(Error::Unexpected {
            step: "open packet sockets".to_owned(),
            detail: "the thread for it ended".to_owned(),
        })
    })
}

fn open_link(name: &str) -> Result<File> {
    let step = || format!("open a packet socket on {name}");
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .step(step)?;
    let addresses = nix::ifaddrs::getifaddrs().step(step)?;
    let link = addresses
        .filter(|address| address.interface_name == name)
        .find_map(|address| address.address?.as_link_addr().copied())
        .ok_or_else(|| Error::Unexpected {
            step: step(),
            detail: "there is no such link".to_owned(),
        })?;
    bind(socket.as_raw_fd(), &link).step(step)?;
    set_options(&socket).step(step)?;
    Ok(File::from(socket))
}

fn set_options(socket: &OwnedFd) -> nix::Result<()> {
    setsockopt(
        socket,
        sockopt::ReceiveTimeout,
        &TimeVal::milliseconds(LOOK),
    )?;
    setsockopt(socket, sockopt::RcvBufForce, &KERNEL_BUFFER)?;
    setsockopt(socket, sockopt::SndBufForce, &KERNEL_BUFFER)
}
