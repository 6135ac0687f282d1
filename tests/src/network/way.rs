//! The ways on which the agent reaches the server, each with the real component that is on it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    balancer::{Balancer, Mode},
    clock::WallClock,
    forward_proxy::{ForwardProxy, Kind},
};

use super::world::World;
use crate::lariat::start_process_to;

/// How long a connection on a new way may take.
const CONNECTING: Duration = Duration::from_secs(30);

/// The proxies' password; it must be encoded in a URL.
const PASSWORD: &str = "p@ss:w/rd %";

/// tinyproxy reads its own as a word of a file.
const PLAIN_PASSWORD: &str = "plain";

/// A way from the agent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By IPv4.
    Direct,
    /// By IPv6.
    Ipv6,
    /// Through squid with a user name and a password.
    Squid,
    /// The same through tinyproxy.
    Tinyproxy,
    /// Through haproxy, which passes TLS on and ends connections that are idle for 3 s.
    PassThrough,
    /// Through haproxy, which ends TLS, with the same limit.
    Terminate,
    /// By IPv4, agent and server with a wall clock that can jump.
    Clock,
}

/// What is on the way.
pub(super) enum Front {
    None,
    Proxy(Box<ForwardProxy>),
    Balancer(Balancer),
    Clock(WallClock),
}

impl Front {
    /// Looks whether something went through it.
    pub(super) fn check(&self) -> Result<()> {
        let log = match self {
            Self::None | Self::Clock(_) => return Ok(()),
            Self::Proxy(proxy) => proxy.access_log()?,
            Self::Balancer(balancer) => balancer.log()?,
        };
        ensure!(!log.is_empty(), "the agent came another way");
        Ok(())
    }
}

impl World<'_> {
    /// Starts the agent again with nothing between it and the server but the gateway.
    ///
    /// # Errors
    /// When it does not connect.
    pub async fn take_direct_way(&mut self) -> Result<()> {
        self.take(Way::Direct).await
    }

    /// Starts the agent again so that it comes this way, unless it does already.
    pub(super) async fn take(&mut self, way: Way) -> Result<()> {
        if self.way == Some(way) {
            return Ok(());
        }
        self.stage.agent = None;
        self.way = None;
        let had_clock = matches!(self.front, Front::Clock(_));
        self.front = Front::None;
        if had_clock {
            self.restart_server(Vec::new()).await?;
        }
        let (front, url, environment) = self.lay(way).await?;
        self.front = front;
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let stage = &mut self.stage;
        stage.agent = Some(start_process_to(
            &url,
            &stage.server,
            &stage.cluster,
            &stage.import,
            &environment,
        )?);
        let connected = stage.kubectl_works(CONNECTING).await;
        connected.with_context(|| format!("the agent does not connect to {url}: {way:?}"))?;
        self.way = Some(way);
        Ok(())
    }

    async fn lay(&mut self, way: Way) -> Result<(Front, String, Vec<(String, String)>)> {
        let plain = self.stage.server.url();
        Ok(match way {
            Way::Direct => (Front::None, plain, Vec::new()),
            Way::Ipv6 => {
                let address = SocketAddr::new(IpAddr::V6(self.ipv6), self.port);
                (Front::None, format!("https://{address}"), Vec::new())
            }
            Way::Squid | Way::Tinyproxy => {
                let (kind, password) = match way {
                    Way::Squid => (Kind::Squid, PASSWORD),
                    _ => (Kind::Tinyproxy, PLAIN_PASSWORD),
                };
                let folder = self.folder().join(format!("{kind:?}").to_lowercase());
                let hub = self.stage.cluster.hub_address();
                let proxy = ForwardProxy::start(self.testbed, kind, hub, password, &folder)?;
                let environment = vec![("HTTPS_PROXY".to_owned(), proxy.url())];
                (Front::Proxy(Box::new(proxy)), plain, environment)
            }
            Way::PassThrough | Way::Terminate => {
                let mode = match way {
                    Way::PassThrough => Mode::PassThrough,
                    _ => self.terminating()?,
                };
                let hub = IpAddr::V4(self.stage.cluster.hub_address());
                let server = SocketAddr::new(hub, self.port);
                let folder = self.folder().join(format!("{way:?}").to_lowercase());
                let balancer = Balancer::start(self.testbed, &mode, hub, server, &folder)?;
                let url = format!("https://{}", balancer.address());
                (Front::Balancer(balancer), url, Vec::new())
            }
            Way::Clock => {
                let clock = WallClock::create(&self.folder().join("clock"))?;
                let environment: Vec<_> = clock
                    .environment()
                    .map(|(name, value)| (name.to_owned(), value))
                    .into();
                self.restart_server(environment.clone()).await?;
                (Front::Clock(clock), plain, environment)
            }
        })
    }

    /// haproxy with the certificate that the server has itself.
    fn terminating(&self) -> Result<Mode> {
        let data = self.stage.server.folder().join("data");
        let read = |name: &str| {
            let path = data.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Ok(Mode::Terminate {
            certificate_and_key: read("tls.crt")? + &read("tls.key")?,
            authority: read("ca.crt")?,
        })
    }

    async fn restart_server(&mut self, environment: Vec<(String, String)>) -> Result<()> {
        let server = &mut self.stage.server;
        server.stop();
        server.set_environment(environment);
        server.restart().await
    }
}
