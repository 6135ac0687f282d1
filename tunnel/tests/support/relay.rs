//! A network between agent and server that can be cut.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Carries connections to the server as long as the network is whole.
pub struct Relay {
    pub port: u16,
    state: watch::Sender<Network>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// Counts cuts: connections of an earlier number are dropped.
    era: u64,
    up: bool,
}

impl Relay {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = watch::Sender::new(Network { era: 0, up: true });
        let seen = state.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, seen.clone()));
            }
        });
        Self { port, state }
    }

    /// Breaks every connection; new ones are carried.
    pub fn cut(&self) {
        self.state.send_modify(|network| network.era += 1);
    }

    /// Breaks every connection, and carries no new ones until [`Relay::heal`].
    pub fn go_down(&self) {
        self.state.send_modify(|network| {
            network.era += 1;
            network.up = false;
        });
    }

    /// Carries no new connections until [`Relay::heal`].
    pub fn refuse_new(&self) {
        self.state.send_modify(|network| network.up = false);
    }

    pub fn heal(&self) {
        self.state.send_modify(|network| network.up = true);
    }
}

async fn carry(mut near: TcpStream, server: SocketAddr, mut state: watch::Receiver<Network>) {
    let born = *state.borrow_and_update();
    if !born.up {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = state.wait_for(|now| now.era != born.era) => {
            // What is on its way is lost, as on a real network.
            let _ = (near.set_zero_linger(), far.set_zero_linger());
        }
    }
}
