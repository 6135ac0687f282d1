//! Where connections are made: a way to the service.

use rustls_pki_types::ServerName;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tunnel::{Io, session::Session};
use tunnel_proto::stream::{Class, OpenV1, Target};

/// Where a load makes its connections.
#[derive(Clone)]
pub enum Door {
    /// A port.
    Tcp(SocketAddr),
    /// A port behind which is TLS, for `localhost`.
    Tls(SocketAddr, Arc<rustls::ClientConfig>),
    /// Streams of a session.
    Session(Session),
}

impl Door {
    /// A port of loopback.
    #[must_use]
    pub fn tcp(port: u16) -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// A new connection.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self) -> anyhow::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(tcp(*address).await?),
            Self::Tls(address, config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let name = ServerName::try_from("localhost")?;
                Box::new(connector.connect(name, tcp(*address).await?).await?)
            }
            Self::Session(session) => {
                // What a stream is for is not known to who only carries bytes.
                let open = OpenV1 {
                    target: Target::ServerApi,
                    class: Class::Interactive,
                    trace: [0; 16],
                    deadline_ms: 10_000,
                };
                Box::new(session.open(&open).await?)
            }
        })
    }
}

async fn tcp(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
