//! Tunnels that carry TCP connections, ours and those of others: how each is started, and where visitors come in.

mod install;

pub use install::Programs;
pub(super) use install::write_certificates;

use super::{
    control::{Control, retried},
    cores::Cores,
    door::Door,
    load::{Asking, Question},
    process::{Place, Process},
};
use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

/// How long a tunnel may take until it carries a first visitor.
const PATIENCE: Duration = Duration::from_secs(60);

/// bore's server takes agents at this port, and at no other.
const BORE_PORT: u16 = 7835;

/// A way from a visitor to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A TCP connection, without a tunnel.
    Direct,
    /// Ours.
    Tunnel,
    /// rathole over WebSocket and TLS.
    Rathole,
    /// bore, which encrypts nothing.
    Bore,
    /// Rancher's.
    Remotedialer,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::Tunnel,
        Self::Remotedialer,
        Self::Rathole,
        Self::Bore,
    ];

    /// Its column in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tunnel => "tunnel",
            Self::Rathole => "rathole",
            Self::Bore => "bore",
            Self::Remotedialer => "remotedialer",
        }
    }
}

/// What all ways have in common.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Where certificates, settings and logs are.
    pub folder: &'a Path,
    /// The peers' programs.
    pub programs: &'a Programs,
    /// Port of the target.
    pub target: u16,
}

/// A tunnel that runs, both ends of it on the first core.
pub struct Running {
    /// Which.
    pub way: Way,
    /// Where visitors come in.
    pub door: Door,
    /// The accepting end first; none without a tunnel.
    pub ends: Vec<Process>,
    /// Of the network between the ends.
    _network: Option<Process>,
}

impl Running {
    /// The processes of both ends.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        self.ends.iter().map(Process::pid).collect()
    }
}

impl Stage<'_> {
    /// Starts a tunnel, with a network of 50 ms between its ends if it is `far`, and waits until it carries visitors.
    /// Without a tunnel, the network is between visitor and target.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(&self, way: Way, far: bool) -> anyhow::Result<Running> {
        let running = match way {
            Way::Direct => self.direct(far).await,
            Way::Tunnel => self.tunnel(1, far).await,
            Way::Rathole => Ok(self.rathole(1, far).await?.0),
            Way::Bore => self.bore(far).await,
            Way::Remotedialer => self.remotedialer(1, far).await,
        }?;
        self.carries(&running.door).await?;
        Ok(running)
    }

    /// Starts the accepting end of a tunnel with this many agents, each of which has carried a visitor. Agents of one
    /// kind share a process.
    ///
    /// # Errors
    /// When that is no way with agents, or one does not carry visitors.
    pub async fn start_many(&self, way: Way, agents: usize) -> anyhow::Result<Running> {
        let (running, doors) = match way {
            Way::Tunnel => (self.tunnel(agents, false).await?, Vec::new()),
            Way::Remotedialer => (self.remotedialer(agents, false).await?, Vec::new()),
            Way::Rathole => self.rathole(agents, false).await?,
            Way::Direct | Way::Bore => anyhow::bail!("{} has no agents", way.name()),
        };
        if way == Way::Tunnel {
            wait_for_agents(&running.ends[0], agents).await?;
        }
        // Where visitors go round, a visitor of an agent that is not there yet goes to the next one afterwards.
        retried(PATIENCE, async || {
            for agent in 0..agents {
                let door = doors.get(agent).unwrap_or(&running.door);
                Asking::begin(door, Question::Echo(1)).await?;
            }
            Ok(())
        })
        .await?;
        Ok(running)
    }

    async fn carries(&self, door: &Door) -> anyhow::Result<()> {
        retried(PATIENCE, async || {
            Asking::begin(door, Question::Echo(1)).await
        })
        .await?;
        Ok(())
    }

    fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place {
            name,
            cores: Cores::First,
            folder: self.folder,
        }
    }

    /// A network to `port` if that is far away, and the port to use.
    async fn network(&self, port: u16, far: bool) -> anyhow::Result<(u16, Option<Process>)> {
        if !far {
            return Ok((port, None));
        }
        let network = delay(self.folder, &[format!("127.0.0.1:{port}")]).await?;
        Ok((network.port("near")?, Some(network)))
    }

    async fn direct(&self, far: bool) -> anyhow::Result<Running> {
        let (port, network) = self.network(self.target, far).await?;
        Ok(Running {
            way: Way::Direct,
            door: Door::tcp(port),
            ends: Vec::new(),
            _network: network,
        })
    }

    async fn tunnel(&self, agents: usize, far: bool) -> anyhow::Result<Running> {
        let folder = self.folder.display().to_string();
        let target = format!("127.0.0.1:{}", self.target);
        let arguments = [folder.as_str(), "--target", &target];
        let server = Process::own(&self.place("tunnel-server"), "server", arguments).await?;
        let (port, network) = self.network(server.port("tunnel")?, far).await?;
        let port = port.to_string();
        let count = agents.to_string();
        let arguments = [folder.as_str(), "--server", &port, "--count", &count];
        let agent = Process::own(&self.place("tunnel-agent"), "agent", arguments).await?;
        Ok(Running {
            way: Way::Tunnel,
            door: Door::tcp(server.port("visitors")?),
            ends: vec![server, agent],
            _network: network,
        })
    }

    async fn remotedialer(&self, agents: usize, far: bool) -> anyhow::Result<Running> {
        let file = |name| self.folder.join(name).display().to_string();
        let target = format!("127.0.0.1:{}", self.target);
        let count = agents.to_string();
        let program = &self.programs.remotedialer;
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        let arguments = ["-cert", &certificate, "-key", &key, "-target", &target];
        let arguments = arguments.into_iter().chain(["-agents", &count]);
        let server =
            Process::announced(&self.place("remotedialer-server"), program, arguments).await?;
        let (port, network) = self.network(server.port("tunnel")?, far).await?;
        let url = format!("wss://localhost:{port}/");
        let ca = file("ca.pem");
        let arguments = ["-url", &url, "-ca", &ca, "-agents", &count];
        let agent =
            Process::announced(&self.place("remotedialer-agent"), program, arguments).await?;
        Ok(Running {
            way: Way::Remotedialer,
            door: Door::tcp(server.port("visitors")?),
            ends: vec![server, agent],
            _network: network,
        })
    }

    /// rathole with some services, each with a control connection and the waiting data connections of an agent of its
    /// own, in one process; and where each has its visitors.
    async fn rathole(&self, services: usize, far: bool) -> anyhow::Result<(Running, Vec<Door>)> {
        let ports = free_ports(services + 1)?;
        let (outside, visitors) = (ports[0], &ports[1..]);
        let file = |name| self.folder.join(name).display().to_string();
        let (near, network) = self.network(outside, far).await?;
        let mut server = format!(
            "[server]\nbind_addr = \"127.0.0.1:{outside}\"\ndefault_token = \"bench\"\n\
             [server.transport]\ntype = \"websocket\"\n[server.transport.websocket]\ntls = true\n\
             [server.transport.tls]\npkcs12 = {:?}\npkcs12_password = \"bench\"\n",
            file(install::IDENTITY)
        );
        let mut client = format!(
            "[client]\nremote_addr = \"127.0.0.1:{near}\"\ndefault_token = \"bench\"\n\
             [client.transport]\ntype = \"websocket\"\n[client.transport.websocket]\ntls = true\n\
             [client.transport.tls]\ntrusted_root = {:?}\nhostname = \"localhost\"\n",
            file("ca.pem")
        );
        for (number, port) in visitors.iter().enumerate() {
            let _ = write!(
                server,
                "[server.services.s{number}]\nbind_addr = \"127.0.0.1:{port}\"\n"
            );
            let target = self.target;
            let _ = write!(
                client,
                "[client.services.s{number}]\nlocal_addr = \"127.0.0.1:{target}\"\n"
            );
        }
        let mut ends = Vec::new();
        for (name, flag, settings) in [
            ("rathole-server", "--server", server),
            ("rathole-client", "--client", client),
        ] {
            let path = self.folder.join(format!("{name}-{outside}.toml"));
            fs::write(&path, settings)?;
            let arguments = [OsStr::new(flag), path.as_os_str()];
            let program = &self.programs.rathole;
            ends.push(Process::start(&self.place(name), program, arguments)?);
        }
        let doors: Vec<Door> = visitors.iter().map(|port| Door::tcp(*port)).collect();
        let running = Running {
            way: Way::Rathole,
            door: doors[0].clone(),
            ends,
            _network: network,
        };
        Ok((running, doors))
    }

    async fn bore(&self, far: bool) -> anyhow::Result<Running> {
        // Its port is always the same, so that each server has an address of its own.
        let (server_at, near) = match far {
            false => (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 2)),
            true => (Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 5)),
        };
        let program = &self.programs.bore;
        let address = server_at.to_string();
        let server = Process::start(&self.place("bore-server"), program, ["server", &address])?;
        let network = if far {
            let (port, near) = (BORE_PORT.to_string(), near.to_string());
            let to = format!("{server_at}:{BORE_PORT}");
            let arguments = [to, "--address".into(), near, "--port".into(), port];
            Some(delay(self.folder, &arguments).await?)
        } else {
            None
        };
        let visitors = free_ports(1)?[0];
        let (target, port) = (self.target.to_string(), visitors.to_string());
        // It ends when its server does not listen yet.
        let listening = SocketAddr::from((server_at, BORE_PORT));
        retried(PATIENCE, async || Door::Tcp(listening).connect().await).await?;
        let near = near.to_string();
        let arguments = ["local", &target, &near, &port];
        let client = Process::start(&self.place("bore-client"), program, arguments)?;
        Ok(Running {
            way: Way::Bore,
            door: Door::Tcp(SocketAddr::from((server_at, visitors))),
            ends: vec![server, client],
            _network: network,
        })
    }
}

/// Waits until a server of ours has that many sessions.
///
/// # Errors
/// When it does not in time.
pub async fn wait_for_agents(server: &Process, agents: usize) -> anyhow::Result<()> {
    let mut control = Control::connect(server.port("control")?).await?;
    let all = |sessions| sessions == agents as u64;
    control.until("sessions", 2 * PATIENCE, all).await?;
    Ok(())
}

/// Starts a network, on whichever core is free.
///
/// # Errors
/// When it cannot be started.
pub async fn delay(folder: &Path, arguments: &[String]) -> anyhow::Result<Process> {
    let place = Place {
        name: "delay",
        cores: Cores::Both,
        folder,
    };
    Process::own(&place, "delay", arguments).await
}

/// Ports of loopback that nobody listens on now, and no outgoing connection gets: rathole listens on each only when its
/// client has come for it, over some of many connections.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports: Vec<u16> = (12_000..32_000).filter(free).take(count).collect();
    anyhow::ensure!(ports.len() == count, "no {count} ports are free");
    Ok(ports)
}
