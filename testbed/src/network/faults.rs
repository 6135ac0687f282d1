//! What the gateway can do to the packets between cluster and hub.

use super::Network;
use crate::Result;

/// The gateway's links; what leaves by one goes to the hub, what leaves by the other to the cluster.
const LINKS: [&str; 2] = ["wan", "lan"];

impl Network {
    /// Drops every packet between cluster and hub, both ways and silently.
    ///
    /// # Errors
    /// When the rule cannot be set.
    pub fn cut(&self) -> Result<()> {
        self.set("cuts", "drop")
    }

    /// Answers every TCP packet between cluster and hub with a reset, whichever way it goes.
    ///
    /// # Errors
    /// When the rule cannot be set.
    pub fn reject(&self) -> Result<()> {
        self.set("cuts", "meta l4proto tcp reject with tcp reset")
    }

    /// Ends [`Network::cut`] and [`Network::reject`]; losses stay.
    ///
    /// # Errors
    /// When the rules cannot be removed.
    pub fn mend(&self) -> Result<()> {
        self.clear("cuts")
    }

    /// Drops `percent` of the packets in each direction, at random.
    ///
    /// # Errors
    /// When the rule cannot be set.
    pub fn lose(&self, percent: u8) -> Result<()> {
        self.set(
            "losses",
            &format!("numgen random mod 100 < {percent} counter drop"),
        )
    }

    /// Ends all faults of the packet filter.
    ///
    /// # Errors
    /// When the rules cannot be removed.
    pub fn heal(&self) -> Result<()> {
        self.mend()?;
        self.clear("losses")
    }

    /// Makes the gateway forget every connection: from then on packets of old ones are dropped
    /// silently, new ones pass.
    ///
    /// # Errors
    /// When the table cannot be flushed.
    pub fn flush_translations(&self) -> Result<()> {
        self.in_gateway(&["conntrack", "--flush"])
    }

    /// Makes the gateway forget connections that were idle for `seconds`. It counts for those whose
    /// packets it sees from then on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_idle_timeout(&self, seconds: u32) -> Result<()> {
        self.sysctl(
            &self.gateway,
            &format!("net.netfilter.nf_conntrack_tcp_timeout_established={seconds}"),
        )
    }

    /// Lets `megabits` a second pass in each direction. More waits for at most 50 ms, and is then
    /// dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_bandwidth(&self, megabits: u32) -> Result<()> {
        let rate = format!("{megabits}mbit");
        LINKS.iter().try_for_each(|link| {
            self.in_gateway(&[
                "tc", "qdisc", "replace", "dev", link, "root", "tbf", "rate", &rate, "burst",
                "32kb", "latency", "50ms",
            ])
        })
    }

    /// Ends [`Network::limit_bandwidth`].
    ///
    /// # Errors
    /// When there was no limit.
    pub fn lift_bandwidth_limit(&self) -> Result<()> {
        LINKS
            .iter()
            .try_for_each(|link| self.in_gateway(&["tc", "qdisc", "delete", "dev", link, "root"]))
    }

    fn set(&self, chain: &str, rule: &str) -> Result<()> {
        self.clear(chain)?;
        self.in_gateway(&["nft", "add", "rule", "inet", "gateway", chain, rule])
    }

    fn clear(&self, chain: &str) -> Result<()> {
        self.in_gateway(&["nft", "flush", "chain", "inet", "gateway", chain])
    }
}
