//! IPv6 beside IPv4, behind a gateway that translates these addresses as well.

use std::net::Ipv6Addr;

use super::{Network, ip, octet};
use crate::{Result, command};

/// The cluster's end of its link to the gateway (RFC 4193).
const CLUSTER: &str = "fd00:192:168:77::2";

/// The gateway's end.
const GATEWAY: &str = "fd00:192:168:77::1";

impl Network {
    /// Gives hub, gateway and cluster addresses of IPv6; returns the hub's. To be called once.
    ///
    /// # Errors
    /// When the kernel has no IPv6.
    pub fn add_ipv6(&self) -> Result<Ipv6Addr> {
        let slot = u16::from(octet(&self.slot));
        let address = |host: u16| Ipv6Addr::new(0xfd00, 0x198, 0x18, slot, 0, 0, 0, host);
        let hub = address(1);
        let hub_link = self.hub.link.as_str();
        for name in [hub_link, &self.wan_link] {
            allow(name)?;
        }
        add(None, &format!("{hub}/64"), hub_link)?;
        let wan = format!("{}/64", address(10 + u16::from(self.number)));
        let (cluster, gateway) = (Some(self.cluster.as_str()), Some(self.gateway.as_str()));
        for namespace in [&self.cluster, &self.gateway] {
            self.sysctl(namespace, "net.ipv6.conf.all.disable_ipv6=0")?;
            self.sysctl(namespace, "net.ipv6.conf.all.forwarding=1")?;
        }
        add(gateway, &wan, "wan")?;
        add(gateway, &format!("{GATEWAY}/126"), "lan")?;
        add(cluster, &format!("{CLUSTER}/126"), "lan")?;
        ip(&[
            "-n",
            &self.cluster,
            "-6",
            "route",
            "add",
            "default",
            "via",
            GATEWAY,
        ])?;
        self.in_gateway(&[
            "nft",
            "add",
            "rule",
            "inet",
            "gateway",
            "through",
            &format!("iifname lan oifname wan ip6 daddr {hub} ct state new accept"),
        ])?;
        Ok(hub)
    }
}

/// Container engines turn IPv6 off for new links.
fn allow(link: &str) -> Result<()> {
    let setting = format!("net.ipv6.conf.{link}.disable_ipv6=0");
    let mut sysctl = std::process::Command::new("sysctl");
    command::run("allow IPv6", sysctl.args(["-qw", &setting]))?;
    Ok(())
}

/// Without the search for duplicates the address is of use at once.
fn add(namespace: Option<&str>, address: &str, link: &str) -> Result<()> {
    let place: &[&str] = match &namespace {
        Some(namespace) => &["-n", namespace],
        None => &[],
    };
    ip(&[
        place,
        &["address", "replace", address, "dev", link, "nodad"],
    ]
    .concat())
}
