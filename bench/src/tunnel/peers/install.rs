//! The peers' programs, and certificates in the form that each of them reads.

use crate::{backend::Certificates, tunnel::end::CERTIFICATE_FILES};
use anyhow::Context as _;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use testbed::tools::{self, Tool};

/// rathole's certificate and key, in PKCS #12.
pub(super) const IDENTITY: &str = "identity.pfx";

/// Where the programs are.
pub struct Programs {
    pub(super) rathole: PathBuf,
    pub(super) bore: PathBuf,
    pub(super) remotedialer: PathBuf,
}

impl Programs {
    /// Builds what is not in the cache.
    ///
    /// # Errors
    /// When a build fails.
    pub fn ensure() -> anyhow::Result<Self> {
        let tunnels = tools::ensure_rust_tunnels()?;
        let remotedialer = tools::ensure(&[Tool::Remotedialer])?;
        Ok(Self {
            rathole: tunnels.path("rathole")?,
            bore: tunnels.path("bore")?,
            remotedialer: remotedialer.path("remotedialer")?,
        })
    }
}

/// Writes new certificates for all ends into `folder`.
///
/// # Errors
/// When `openssl` is missing, or fails.
pub(in crate::tunnel) fn write_certificates(folder: &Path) -> anyhow::Result<Certificates> {
    let certificates = Certificates::generate()?;
    let texts = [
        &certificates.ca,
        &certificates.certificate,
        &certificates.key,
    ];
    for (name, text) in CERTIFICATE_FILES.iter().zip(texts) {
        fs::write(folder.join(name), text)?;
    }
    let [ca, certificate, key] = CERTIFICATE_FILES;
    let output = Command::new("openssl")
        .args([
            "pkcs12",
            "-export",
            "-passout",
            "pass:bench",
            "-out",
            IDENTITY,
        ])
        .args(["-in", certificate, "-inkey", key, "-certfile", ca])
        .current_dir(folder)
        .output()
        .context("cannot run openssl; it is in the package of that name")?;
    anyhow::ensure!(
        output.status.success(),
        "openssl pkcs12: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(certificates)
}
