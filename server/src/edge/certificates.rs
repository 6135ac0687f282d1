//! Which certificates the server has, and keeping them fresh.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use lariat_api::CLUSTER_SERVER_NAME_SUFFIX;
use sha2::{Digest, Sha256};

use super::authority::{Authority, CertificateError, load};
use super::tls::Certificates;
use crate::clock::Clock;
use crate::config::{Config, TlsFiles};

/// How often files of the operator's are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often the age of own certificates is looked at.
const RENEW: Duration = Duration::from_secs(3600);

/// The server's certificates and the CA that clients are told to trust.
#[derive(Debug)]
pub struct CertificateKeeper {
    authority: Authority,
    hosts: Vec<String>,
    files: Option<TlsFiles>,
    shown: Arc<Certificates>,
    trusted: ArcSwap<String>,
    clock: Clock,
}

impl CertificateKeeper {
    /// Reads or makes the certificates.
    ///
    /// # Errors
    /// When one cannot be read or made.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, CertificateError> {
        let now = clock.now();
        let authority = Authority::open(&config.data_dir, now)?;
        let hosts = hosts(config);
        let main = match &config.tls_files {
            Some(files) => load(&files.certificate, &files.key)?,
            None => authority.leaf("tls", &hosts, now)?,
        };
        let clusters = authority.leaf("clusters", &cluster_names(), now)?;
        let trusted = trusted(&authority, config.tls_files.as_ref())?;
        Ok(Self {
            authority,
            hosts,
            files: config.tls_files.clone(),
            shown: Arc::new(Certificates::new(main, clusters)),
            trusted: ArcSwap::from_pointee(trusted),
            clock,
        })
    }

    /// What the listener shows.
    #[must_use]
    pub fn shown(&self) -> Arc<Certificates> {
        Arc::clone(&self.shown)
    }

    /// The CA certificates (PEM) that clients must trust to reach the server by its URL; empty if
    /// the platform's roots do.
    #[must_use]
    pub fn trusted(&self) -> Arc<String> {
        self.trusted.load_full()
    }

    /// SHA-256 of [`Self::trusted`] in lower-case hexadecimal, with which clients pin it. `None`
    /// when there is nothing to pin.
    #[must_use]
    pub fn checksum(&self) -> Option<String> {
        let trusted = self.trusted();
        (!trusted.is_empty()).then(|| hex::encode(Sha256::digest(trusted.as_bytes())))
    }

    /// The certificate (PEM) of the private CA, which signs for the server names that choose a
    /// cluster whatever certificate answers for the rest.
    #[must_use]
    pub fn private_authority(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// Reads files again when they change and makes new certificates before the old ones end. Does
    /// not return; to be dropped.
    pub async fn keep(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK);
        let mut seen = self.modified();
        let mut checked = tokio::time::Instant::now();
        loop {
            look.tick().await;
            let keeper = Arc::clone(&self);
            let modified = self.modified();
            if modified != seen {
                seen = modified;
                refreshed(tokio::task::spawn_blocking(move || keeper.reload()).await);
            } else if checked.elapsed() > RENEW {
                checked = tokio::time::Instant::now();
                refreshed(tokio::task::spawn_blocking(move || keeper.renew()).await);
            }
        }
    }

    fn reload(&self) -> Result<(), CertificateError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let main = load(&files.certificate, &files.key)?;
        let trusted = trusted(&self.authority, Some(files))?;
        self.shown.set_main(main);
        self.trusted.store(Arc::new(trusted));
        tracing::info!(file = %files.certificate.display(), "certificate read again");
        Ok(())
    }

    fn renew(&self) -> Result<(), CertificateError> {
        let now = self.clock.now();
        if self.files.is_none() {
            let main = self.authority.leaf("tls", &self.hosts, now)?;
            self.shown.set_main(main);
        }
        let clusters = self.authority.leaf("clusters", &cluster_names(), now)?;
        self.shown.set_clusters(clusters);
        Ok(())
    }

    /// When the operator's files were last changed. A file that is missing for a moment counts as
    /// a change, after which it is read again.
    fn modified(&self) -> [Option<SystemTime>; 3] {
        let Some(files) = &self.files else {
            return [None; 3];
        };
        let modified = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
        let ca = files.ca.as_deref().and_then(modified);
        [modified(&files.certificate), modified(&files.key), ca]
    }
}

fn refreshed(result: Result<Result<(), CertificateError>, tokio::task::JoinError>) {
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "keeping the certificate that was shown before"),
        Err(error) => tracing::error!(%error, "keeping certificates failed"),
    }
}

fn trusted(authority: &Authority, files: Option<&TlsFiles>) -> Result<String, CertificateError> {
    match files {
        None => Ok(authority.certificate_pem().to_owned()),
        Some(TlsFiles { ca: None, .. }) => Ok(String::new()),
        Some(TlsFiles { ca: Some(path), .. }) => {
            std::fs::read_to_string(path).map_err(|source| CertificateError::Io {
                path: path.clone(),
                source,
            })
        }
    }
}

fn cluster_names() -> Vec<String> {
    vec![format!("*.{CLUSTER_SERVER_NAME_SUFFIX}")]
}

/// Every name and address under which the server may be reached, in a fixed order.
fn hosts(config: &Config) -> Vec<String> {
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let url = config.server_url.host_str().unwrap_or_default();
    let url = url.trim_matches(['[', ']']).to_owned();
    let listen = config.listen.ip();
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    for host in [url]
        .into_iter()
        .chain(listen)
        .chain(config.tls_names.iter().cloned())
    {
        // Addresses have several spellings.
        let host = host
            .parse::<IpAddr>()
            .map_or(host, |address| address.to_string());
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn shown(keeper: &CertificateKeeper) -> Vec<u8> {
        keeper.shown.main().end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn a_certificate_of_the_operator_is_read_again_and_a_bad_one_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let now = jiff::Timestamp::now();
        let theirs = Authority::open(folder.path(), now).unwrap();
        let names = ["localhost".to_owned()];
        theirs.leaf("their", &names, now).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let given = |name: &str| match name {
            "LARIAT_DATA_DIR" => Some(path("data")),
            "LARIAT_TLS_CERT_FILE" => Some(path("their.crt")),
            "LARIAT_TLS_KEY_FILE" => Some(path("their.key")),
            "LARIAT_TLS_CA_FILE" => Some(path("ca.crt")),
            _ => None,
        };
        let nothing = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let config = Config::new(&Sources::collect([], given, nothing)).unwrap();
        let keeper = CertificateKeeper::open(&config, Clock::system()).unwrap();
        assert_eq!(*keeper.trusted(), theirs.certificate_pem());
        assert_ne!(keeper.private_authority(), theirs.certificate_pem());

        let (first, seen) = (shown(&keeper), keeper.modified());
        std::fs::remove_file(path("their.crt")).unwrap();
        assert_ne!(keeper.modified(), seen);
        keeper.reload().unwrap_err();
        assert_eq!(shown(&keeper), first);
        theirs.leaf("their", &names, now).unwrap();
        keeper.reload().unwrap();
        assert_ne!(shown(&keeper), first);
    }
}
