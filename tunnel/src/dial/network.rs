//! What a dialer needs of the world around it: connections, and randomness for the waits between
//! attempts.

use crate::{Io, ReadAhead};
use futures::future::BoxFuture;
use rand::{SeedableRng as _, rngs::StdRng};
use std::{fmt, io, sync::Arc};
use tokio::net::TcpStream;

/// Makes connections.
pub trait Connect: Send + Sync {
    /// A connection to `host`, a name or an address without brackets. Dropping the future gives the
    /// attempt up.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// The world of a dialer; clones are the same. The default is TCP and the system's randomness.
#[derive(Clone)]
pub struct Network {
    connect: Arc<dyn Connect>,
    seed: Option<u64>,
}

impl Network {
    /// Another world, such as a simulated one: its connections, and waits that are drawn from
    /// `seed`.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, seed: u64) -> Self {
        Self {
            connect,
            seed: Some(seed),
        }
    }

    pub(super) async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Io>> {
        let host = host.trim_matches(['[', ']']);
        self.connect.connect(host, port).await
    }

    /// What waits are drawn from.
    pub(super) fn randomness(&self) -> StdRng {
        match self.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_rng(&mut rand::rng()),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            connect: Arc::new(Tcp),
            seed: None,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

struct Tcp;

impl Connect for Tcp {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((&*host, port)).await?;
            // Nagle's delay costs a handshake 40 ms.
            stream.set_nodelay(true)?;
            let stream: Box<dyn Io> = Box::new(ReadAhead::new(stream));
            Ok(stream)
        })
    }
}
