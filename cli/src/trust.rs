//! Trusting a server for the first time: by the platform's roots, or by the fingerprint of its CA.
//!
//! A CA is fetched over a connection that proves nothing, on which nothing secret is sent. It is
//! used only if its SHA-256 is the one that was given or that a person confirmed; everything after
//! that is checked against it.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};

/// Largest CA bundle, in bytes.
const MAX_BUNDLE: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);

/// The server's CA, trusted because of its fingerprint. `checksum` is what was given, if anything;
/// otherwise the person is asked.
pub async fn authority(url: &str, checksum: Option<&str>) -> anyhow::Result<String> {
    let bundle = tokio::time::timeout(TIMEOUT, fetch(url))
        .await
        .with_context(|| format!("{url} did not answer in time"))??;
    if bundle.is_empty() {
        bail!(
            "the certificate of {url} is not trusted by this machine and the server has no CA of \
             its own to pin; give the CA with --ca-file"
        );
    }
    crate::server::certificates(&bundle)?;
    let found = hex::encode(Sha256::digest(bundle.as_bytes()));
    match checksum {
        Some(expected) if normal(expected) == found => {}
        Some(expected) => bail!(
            "the CA of {url} has the SHA-256 {found}, not {}: either the checksum is of another \
             server, or somebody is between you and it",
            normal(expected)
        ),
        None => confirm(url, &found)?,
    }
    Ok(bundle)
}

/// Whether a request failed because the server's certificate is not trusted.
pub fn is_untrusted(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // An I/O error does not name the error that it wraps as its source.
        next = match error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

fn confirm(url: &str, found: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "this machine does not trust the certificate of {url}. If its CA has the SHA-256 \
             {found} (the server logs it as ca_checksum at its start), run again with: \
             --ca-checksum {found}"
        );
    }
    eprintln!("This machine does not trust the certificate of {url}.");
    eprintln!("The SHA-256 of the server's CA is:\n\n  {found}\n");
    eprintln!("Compare it with what the server logged as ca_checksum at its start.");
    eprint!("Is it the same? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("the server is not trusted; nothing was sent to it");
    }
    Ok(())
}

/// Hexadecimal in lower case, without the colons that some programs write.
fn normal(checksum: &str) -> String {
    let digits = checksum.chars().filter(|character| *character != ':');
    digits.collect::<String>().trim().to_ascii_lowercase()
}

async fn fetch(url: &str) -> anyhow::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms)))
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Empty<&[u8]>> = Client::builder(TokioExecutor::new()).build(connector);
    let address: Uri = format!("{url}/cacerts").parse()?;
    let response = client
        .get(address)
        .await
        .with_context(|| format!("cannot reach {url}"))?;
    if !response.status().is_success() {
        bail!(
            "{url} answered {} where a Lariat server has its CA",
            response.status()
        );
    }
    let body = Limited::new(response.into_body(), MAX_BUNDLE)
        .collect()
        .await;
    let body = body.map_err(|error| anyhow::anyhow!("cannot read the server's CA: {error}"))?;
    String::from_utf8(body.to_bytes().into()).context("the server's CA is not text")
}

/// Takes any certificate. For fetching a CA whose fingerprint is checked afterwards, and nothing
/// else.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
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
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_compared_however_they_are_written() {
        assert_eq!(normal("AB:cd:01"), "abcd01");
        assert_eq!(normal(" abcd01\n"), "abcd01");
    }
}
