//! TLS: which certificate answers, and with which rules.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lariat_api::CLUSTER_SERVER_NAME_SUFFIX;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates that answer now. Each can be replaced while connections are made.
#[derive(Debug)]
pub struct Certificates {
    main: ArcSwap<CertifiedKey>,
    clusters: ArcSwap<CertifiedKey>,
}

impl Certificates {
    /// `main` answers for everything but the server names that choose a cluster.
    #[must_use]
    pub fn new(main: CertifiedKey, clusters: CertifiedKey) -> Self {
        Self {
            main: ArcSwap::from_pointee(main),
            clusters: ArcSwap::from_pointee(clusters),
        }
    }

    /// The main certificate.
    #[must_use]
    pub fn main(&self) -> Arc<CertifiedKey> {
        self.main.load_full()
    }

    /// Replaces the main certificate. Connections that are open keep theirs.
    pub fn set_main(&self, certificate: CertifiedKey) {
        self.main.store(Arc::new(certificate));
    }

    /// Replaces the certificate for the server names that choose a cluster.
    pub fn set_clusters(&self, certificate: CertifiedKey) {
        self.clusters.store(Arc::new(certificate));
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chooses_cluster = hello.server_name().is_some_and(|name| {
            let prefix = name.strip_suffix(CLUSTER_SERVER_NAME_SUFFIX);
            prefix.is_some_and(|prefix| prefix.ends_with('.'))
        });
        Some(if chooses_cluster {
            self.clusters.load_full()
        } else {
            self.main.load_full()
        })
    }
}

/// TLS 1.3 and 1.2, HTTP/2 and HTTP/1.1, sessions resumed with tickets.
///
/// # Errors
/// When the crypto provider cannot be set up.
pub fn server_config(certificates: Arc<Certificates>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}
