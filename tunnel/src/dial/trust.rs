//! Who vouches for the server's certificate: the platform's roots, or a CA that was pinned by its
//! checksum.

use super::{DialError, Dialer};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::sync::Arc;

/// Where a server hands out the CA of its certificate, as PEM.
const CA_PATH: &str = "/cacerts";

/// Largest CA bundle, in bytes.
const MAX_CA: usize = 256 * 1024;

/// Servers whose tickets are kept; there is one, or a few replicas. rustls makes room for 256.
const SERVERS: usize = 4;

/// Who vouches for the server's certificate.
#[derive(Clone, Debug)]
pub enum Trust {
    /// What the operating system trusts.
    Platform,
    /// These certificate authorities and no others.
    Roots(Arc<RootCertStore>),
}

/// Why there is no pinned CA.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The CA bundle could not be fetched.
    #[error("cannot fetch the CA from {CA_PATH}")]
    Fetch(#[from] DialError),
    /// The server answered with something else.
    #[error("cannot fetch the CA from {CA_PATH}: {0}")]
    Answer(String),
    /// The bundle is not the one that was pinned.
    #[error(
        "the server's CA has the checksum {found}, not the pinned {pinned}: either the pin (CATTLE_CA_CHECKSUM) is wrong, or this is not the server"
    )]
    Mismatch {
        /// SHA-256 of what was fetched, hexadecimal.
        found: String,
        /// What was expected.
        pinned: String,
    },
    /// The bundle holds no certificate that can be a root.
    #[error("the CA bundle cannot be used: {0}")]
    Unusable(String),
}

impl Trust {
    /// Trusts the certificates of a PEM bundle.
    ///
    /// # Errors
    ///
    /// [`PinError::Unusable`].
    pub fn pem(bundle: &[u8]) -> Result<Self, PinError> {
        let unusable = |error: &dyn std::fmt::Display| PinError::Unusable(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"it holds no certificate"));
        }
        Ok(Self::Roots(Arc::new(roots)))
    }

    /// TLS 1.3 only: both ends are ours.
    pub(super) fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = tls13()?;
        let mut config = match self {
            Self::Platform => builder.with_platform_verifier()?,
            Self::Roots(roots) => builder.with_root_certificates(Arc::clone(roots)),
        }
        .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SERVERS);
        Ok(config)
    }
}

/// Fetches the server's CA and trusts it if its SHA-256 is `checksum` (hexadecimal). Nothing that
/// the unverified connection says is believed before the checksum has matched.
///
/// # Errors
///
/// See [`PinError`].
pub async fn fetch_pinned(dialer: &Dialer, checksum: &str) -> Result<Trust, PinError> {
    let bundle = fetch_ca(dialer).await?;
    let found = sha256_hex(&bundle);
    if !found.eq_ignore_ascii_case(checksum.trim()) {
        let pinned = checksum.trim().to_owned();
        return Err(PinError::Mismatch { found, pinned });
    }
    Trust::pem(&bundle)
}

fn sha256_hex(bytes: &[u8]) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Fetches the server's CA bundle over an unverified connection. Whoever uses it must check it
/// first: [`fetch_pinned`] does.
///
/// # Errors
///
/// See [`PinError`].
pub async fn fetch_ca(dialer: &Dialer) -> Result<Bytes, PinError> {
    let unverified = Unverified(provider());
    let config = tls13()
        .map_err(|error| PinError::Answer(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unverified))
        .with_no_client_auth();
    let connection = super::reach(dialer).await?;
    let stream = super::secure(dialer, Arc::new(config), connection).await?;
    let answer = |error: &dyn std::fmt::Display| PinError::Answer(error.to_string());
    let exchange = async {
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|error| answer(&error))?;
        let request = http::Request::get(CA_PATH)
            .header(http::header::HOST, dialer.server.authority())
            .body(Empty::<Bytes>::new())
            .map_err(|error| answer(&error))?;
        let response = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| answer(&error))?;
            if !response.status().is_success() {
                return Err(answer(&response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_CA).collect().await;
            Ok(body.map_err(|error| answer(&error))?.to_bytes())
        };
        tokio::pin!(response);
        tokio::select! {
            bytes = &mut response => bytes,
            // The connection ends behind the response; what was read of it is still to be had.
            _ = connection => response.await,
        }
    };
    super::limited("CA download", exchange).await?
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn tls13() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
}

/// Takes any certificate, for the one download whose content is checked by its checksum.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
