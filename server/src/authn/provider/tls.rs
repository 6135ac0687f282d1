//! TLS towards login providers.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// TLS towards servers whose certificates these authorities (PEM) sign; those of the platform, when
/// empty.
///
/// # Errors
/// With what is wrong with the authorities.
pub(super) fn client(authorities: &str) -> Result<Arc<ClientConfig>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| said(&error))?;
    let builder = if authorities.trim().is_empty() {
        builder
            .with_platform_verifier()
            .map_err(|error| said(&error))?
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            let certificate = certificate.map_err(|error| said(&error))?;
            roots.add(certificate).map_err(|error| said(&error))?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate".to_owned());
        }
        builder.with_root_certificates(roots)
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}
