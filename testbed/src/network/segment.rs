//! A namespace with one address on the hub, for what must be reached and not only dial out.

use std::{net::Ipv4Addr, process::Command, sync::Arc};

use super::{Hub, enter, ip, octet, remove, up};
use crate::{
    Error, Result, command,
    slot::{Resource, Slot},
    sweep,
};

/// The addresses on the hub below this one are those of gateways.
const FIRST: u8 = 100;

#[derive(Debug)]
pub(crate) struct Segment {
    slot: Arc<Slot>,
    namespace: String,
    link: String,
    address: Ipv4Addr,
}

impl Segment {
    pub(crate) fn create(slot: &Arc<Slot>, hub: &Hub, number: u8) -> Result<Self> {
        let index = slot.index();
        let host = FIRST.checked_add(number).filter(|host| *host < 255);
        let host = host.ok_or_else(|| Error::Unsupported("the hub has no address left".into()))?;
        let segment = Self {
            slot: Arc::clone(slot),
            namespace: format!("lariat-{index}-{number}-segment"),
            link: format!("lrt{index}s{number}"),
            address: Ipv4Addr::new(198, 18, octet(slot), host),
        };
        for resource in segment.resources() {
            slot.record(resource)?;
        }
        let (namespace, link) = (segment.namespace.as_str(), segment.link.as_str());
        ip(&["netns", "add", namespace])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        ip(&[
            "link", "add", link, "type", "veth", "peer", "name", "wan", "netns", namespace,
        ])?;
        ip(&["link", "set", link, "master", &hub.link, "up"])?;
        up(Some(namespace), "wan", &format!("{}/24", segment.address))?;
        let rules = "add table ip faults; \
             add chain ip faults in { type filter hook input priority 0; }; \
             add chain ip faults out { type filter hook output priority 0; }";
        segment.nft(rules)?;
        Ok(segment)
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// `program` as a command that runs in the namespace.
    pub(crate) fn command(&self, program: &Command) -> Command {
        enter(&self.namespace, program)
    }

    /// Ends every process in the namespace.
    pub(crate) fn end_processes(&self) -> Result<()> {
        sweep::end_processes_in(&self.namespace)
    }

    /// Drops every packet from and to these addresses, silently.
    pub(crate) fn cut(&self, addresses: &[Ipv4Addr]) -> Result<()> {
        for address in addresses {
            self.nft(&format!("add rule ip faults in ip saddr {address} drop"))?;
            self.nft(&format!("add rule ip faults out ip daddr {address} drop"))?;
        }
        Ok(())
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) -> Result<()> {
        self.nft("flush table ip faults")
    }

    fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = self.command(Command::new("nft").arg(rules));
        command::run("set packet filter rules", &mut nft)?;
        Ok(())
    }

    fn resources(&self) -> [Resource; 2] {
        [
            Resource::NetworkNamespace {
                name: self.namespace.clone(),
            },
            Resource::Link {
                name: self.link.clone(),
            },
        ]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        for resource in self.resources().into_iter().rev() {
            remove(&self.slot, &resource);
        }
    }
}
