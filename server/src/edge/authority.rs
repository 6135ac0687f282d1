//! The private CA: made once, kept in the data directory, signs what the server shows.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A leaf with less than this left is replaced.
const LEAF_RENEWAL: Duration = Duration::from_secs(120 * 24 * 3600);
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Certificates cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file holds no usable certificate or key.
    #[error("{path}: {detail}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// The private CA.
pub struct Authority {
    folder: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Authority in {}", self.folder.display())
    }
}

impl Authority {
    /// Reads the CA in that folder, or makes it.
    ///
    /// # Errors
    /// When what is there cannot be used, or the folder cannot be written.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, CertificateError> {
        let certificate_path = folder.join("ca.crt");
        let key_path = folder.join("ca.key");
        if !certificate_path.exists() && !key_path.exists() {
            make_authority(&certificate_path, &key_path, now)?;
        }
        let certificate_pem = read(&certificate_path)?;
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error: rcgen::Error| CertificateError::Unusable {
                path,
                detail: error.to_string(),
            }
        };
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(unusable(&key_path))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(unusable(&certificate_path))?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate_pem,
            issuer,
        })
    }

    /// The certificate of the CA in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The leaf kept as `<name>.crt` and `<name>.key`, if it is for just these DNS names and
    /// addresses and has some time left; otherwise a new one, which is kept.
    ///
    /// # Errors
    /// When a leaf cannot be made or kept.
    pub fn leaf(
        &self,
        name: &str,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<CertifiedKey, CertificateError> {
        let certificate_path = self.folder.join(format!("{name}.crt"));
        let key_path = self.folder.join(format!("{name}.key"));
        if certificate_path.exists() && still_good(&certificate_path, hosts, now) {
            match load(&certificate_path, &key_path) {
                Ok(kept) => return Ok(kept),
                Err(error) => tracing::warn!(%error, "making a new certificate"),
            }
        }
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = common_name("lariat-server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, now, LEAF_LIFE);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&key_path, &key.serialize_pem(), 0o600)?;
        write(&certificate_path, &certificate.pem(), 0o644)?;
        load(&certificate_path, &key_path)
    }
}

/// A chain and its key from PEM files.
///
/// # Errors
/// When they cannot be read, do not parse, or do not belong together.
pub fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let unusable = |path: &Path, detail: String| CertificateError::Unusable {
        path: path.to_owned(),
        detail,
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(read(certificate)?.as_bytes()).collect();
    let chain = chain.map_err(|error| unusable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "holds no certificate".to_owned()));
    }
    let key_der = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes())
        .map_err(|error| unusable(key, error.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key_der, &provider)
        .map_err(|error| unusable(key, format!("cannot be used: {error}")))
}

fn make_authority(
    certificate_path: &Path,
    key_path: &Path,
    now: Timestamp,
) -> Result<(), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Two servers' CAs must not share a name, or a trust store cannot tell them apart.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
    let mark = hex::encode(&digest.as_ref()[..4]);
    params.distinguished_name = common_name(&format!("Lariat CA {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, CA_LIFE);
    let certificate = params.self_signed(&key)?;
    write(key_path, &key.serialize_pem(), 0o600)?;
    write(certificate_path, &certificate.pem(), 0o644)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn set_life(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + life;
}

fn still_good(path: &Path, hosts: &[String], now: Timestamp) -> bool {
    use x509_parser::prelude::GeneralName;

    let Ok(pem) = std::fs::read(path) else {
        return false;
    };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let ends = certificate.validity().not_after.timestamp();
    if ends - now.as_second() < LEAF_RENEWAL.as_secs().cast_signed() {
        return false;
    }
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    let found: Vec<_> = (names.value.general_names.iter())
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    found == hosts
}

fn address(bytes: &[u8]) -> Option<String> {
    use std::net::IpAddr;

    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(sixteen).to_string())
}

fn read(path: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(path).map_err(|source| CertificateError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Writes beside the file and renames, so that a crash leaves the old one or the new one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| CertificateError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn hosts() -> Vec<String> {
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into()
    }

    fn shown(folder: &Path) -> String {
        read(&folder.join("tls.crt")).unwrap()
    }

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let first = Authority::open(folder.path(), now).unwrap();
        let again = Authority::open(folder.path(), now).unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        let metadata = std::fs::metadata(folder.path().join("ca.key")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_leaf_is_kept_until_its_names_change_or_its_time_is_near() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::open(folder.path(), now).unwrap();
        authority.leaf("tls", &hosts(), now).unwrap();
        let first = shown(folder.path());
        authority.leaf("tls", &hosts(), now).unwrap();
        assert_eq!(shown(folder.path()), first);
        let more = [hosts(), vec!["example.org".to_owned()]].concat();
        authority.leaf("tls", &more, now).unwrap();
        let second = shown(folder.path());
        assert_ne!(second, first);
        let later = now + jiff::SignedDuration::from_hours(24 * 300);
        authority.leaf("tls", &more, later).unwrap();
        assert_ne!(shown(folder.path()), second);
    }

    #[test]
    fn a_key_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let authority = Authority::open(folder.path(), now).unwrap();
        authority.leaf("a", &hosts(), now).unwrap();
        authority.leaf("b", &hosts(), now).unwrap();
        let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("b.key"));
        let error = load(&certificate, &key).unwrap_err();
        assert!(
            error.to_string().contains("b.key: cannot be used"),
            "{error}"
        );
    }
}
