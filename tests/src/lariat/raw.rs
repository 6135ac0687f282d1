//! Bytes to a server exactly as they are given, for what no well-behaved client sends.

use anyhow::Context as _;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes TLS connections to one server.
#[derive(Clone)]
pub struct Raw {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Raw {
    /// Connections to `address`, trusting this CA.
    ///
    /// # Errors
    /// When the CA cannot be used.
    pub fn new(address: SocketAddr, ca_pem: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// A connection, from this address of the machine if one is given.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn connect(&self, from: Option<SocketAddr>) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind(from)?;
        }
        let tcp = socket.connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        Ok(self.connector.connect(name, tcp).await?)
    }

    /// Sends bytes on a new connection and returns all that comes back until its end.
    ///
    /// # Errors
    /// When nothing ends within half a minute.
    pub async fn exchange(&self, bytes: &[u8]) -> anyhow::Result<String> {
        let mut stream = self.connect(None).await?;
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let mut answer = Vec::new();
        let reading = async {
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut block).await {
                answer.extend_from_slice(&block[..read]);
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .context("no end of the answer")?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A request with `Connection: close`; status code and everything that came.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<(u16, String)> {
        let mut text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        let answer = self.exchange(text.as_bytes()).await?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((
            status.with_context(|| format!("no status in {answer:?}"))?,
            answer,
        ))
    }
}
