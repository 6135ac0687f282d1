//! A way to the server that can be cut and held, for one agent.

use anyhow::Context as _;
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use tunnel::dial::{Dialer, Proxies};
use url::{Host, Url};

/// Longest head of a CONNECT request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What is passed on at a time.
const PIECE: usize = 16 * 1024;

/// A relay on loopback; it ends with its connections when it is dropped.
///
/// Agents do not use proxies to reach loopback: a server there is reached at the relay's port under its own name.
/// Any other one is reached through the relay as an HTTP proxy, so that its certificate still fits.
pub(super) struct Line {
    port: u16,
    is_proxy: bool,
    state: watch::Sender<State>,
    accepting: AbortHandle,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// How often it was cut.
    cuts: u64,
    held: bool,
}

impl Line {
    pub(super) async fn start(server: &Url) -> anyhow::Result<Self> {
        let is_local = match server.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let host = server
            .host_str()
            .context("the server's address has no host")?;
        let to = (
            host.trim_matches(['[', ']']).to_owned(),
            server.port_or_known_default().unwrap_or(443),
        );
        let address = match server.host() {
            Some(Host::Ipv6(address)) if is_local => IpAddr::V6(address),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let listener = TcpListener::bind((address, 0)).await;
        let listener = listener.context("no port for a line")?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State::default());
        let accepting = tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let (to, seen) = (to.clone(), seen.clone());
                tokio::spawn(async move {
                    let _ = pass(agent, &to, !is_local, seen).await;
                });
            }
        });
        Ok(Self {
            port,
            is_proxy: !is_local,
            state,
            accepting: accepting.abort_handle(),
        })
    }

    /// The dialer over this line.
    pub(super) fn dialer(&self, mut dialer: Dialer) -> anyhow::Result<Dialer> {
        if self.is_proxy {
            dialer.proxies = Proxies::parse(&format!("http://127.0.0.1:{}", self.port), "")?;
        } else {
            let moved = dialer.server.set_port(Some(self.port));
            moved.ok().context("the server's address takes no port")?;
        }
        Ok(dialer)
    }

    /// Ends its connections. The next ones are passed on again.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Passes nothing on, and ends nothing, until it is told otherwise.
    pub(super) fn hold(&self, held: bool) {
        self.state.send_modify(|state| state.held = held);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn pass(
    mut agent: TcpStream,
    to: &(String, u16),
    is_proxy: bool,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    let cuts = state.borrow().cuts;
    let mut cut = state.clone();
    let passed = async {
        agent.set_nodelay(true)?;
        if is_proxy {
            read_head(&mut agent).await?;
        }
        let mut server = TcpStream::connect((to.0.as_str(), to.1)).await?;
        server.set_nodelay(true)?;
        if is_proxy {
            agent.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        }
        let (from_agent, to_agent) = agent.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            copy(from_agent, to_server, state.clone()),
            copy(from_server, to_agent, state.clone()),
        )?;
        Ok(())
    };
    tokio::select! {
        passed = passed => passed,
        _ = cut.wait_for(|state| state.cuts != cuts) => Ok(()),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        // The sender is gone only when the line is, and so is this connection then.
        let _ = state.wait_for(|state| !state.held).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..read]).await?;
    }
}

/// Reads past the head of a CONNECT request: where it goes is known.
async fn read_head(agent: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(agent.read_u8().await?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A server that sends back what it gets, and a line to it.
    async fn echo() -> Line {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = peer.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let url = format!("https://127.0.0.1:{port}").parse().unwrap();
        Line::start(&url).await.unwrap()
    }

    async fn dial(line: &Line) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, line.port))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_cut_ends_what_there_is_and_nothing_later() {
        let line = echo().await;
        let mut first = dial(&line).await;
        first.write_all(b"a").await.unwrap();
        assert_eq!(first.read_u8().await.unwrap(), b'a');
        line.cut();
        assert!(first.read_u8().await.is_err());
        let mut second = dial(&line).await;
        second.write_all(b"b").await.unwrap();
        assert_eq!(second.read_u8().await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn what_is_held_comes_later_and_whole() {
        let line = echo().await;
        let mut peer = dial(&line).await;
        peer.write_all(b"a").await.unwrap();
        assert_eq!(peer.read_u8().await.unwrap(), b'a');
        line.hold(true);
        peer.write_all(b"b").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(100), peer.read_u8());
        assert!(waiting.await.is_err());
        line.hold(false);
        assert_eq!(peer.read_u8().await.unwrap(), b'b');
    }
}
