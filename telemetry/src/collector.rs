//! Requests to the collector: over TLS or without, with bounds. Redirects are not followed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::settings::Settings;

/// How long a connection, and then the whole exchange, may take. The latter is the specification's.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes. A good one is a few.
const MAX_ANSWER: usize = 64 * 1024;

/// The longest wait that a collector may ask for.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The CA of the collector cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its file cannot be read.
    #[error("cannot read {0}")]
    File(PathBuf, #[source] std::io::Error),
    /// There is no certificate in it, or a bad one.
    #[error("{0} is not a CA in PEM: {1}")]
    Certificate(PathBuf, String),
    /// What the platform trusts cannot be found out.
    #[error("cannot verify certificates as the platform does: {0}")]
    Platform(String),
}

/// Takes spans.
#[derive(Debug)]
pub(crate) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

/// A batch was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The same may be taken later, after a wait if the collector names one.
    Later(String, Option<Duration>),
    /// It would not be.
    Never(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Later(why, _) | Self::Never(why)) = self;
        f.write_str(why)
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

impl Collector {
    pub(crate) fn new(settings: &Settings) -> Result<Self, TlsError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.certificate.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        let mut headers = settings.headers.clone();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        Ok(Self {
            client,
            // Every URL with a host is a URI.
            uri: settings.url().as_str().parse().unwrap_or_default(),
            headers,
        })
    }

    /// Sends an `ExportTraceServiceRequest`. Returns how many of its spans were refused, and why.
    pub(crate) async fn send(&self, body: Bytes) -> Result<Option<(u64, String)>, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        match tokio::time::timeout(ANSWER, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => {
                let why = format!("it did not answer within {} s", ANSWER.as_secs());
                Err(Failure::Later(why, None))
            }
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Option<(u64, String)>, Failure> {
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| Failure::Later(chain(&error), None))?;
        let (parts, body) = answer.into_parts();
        let status = parts.status;
        if !status.is_success() {
            let why = format!("it answers {status}");
            return Err(match status {
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Failure::Later(why, wait_in(&parts.headers)),
                _ => Failure::Never(why),
            });
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        // It was taken; only what it says of it is lost.
        Ok(body.ok().and_then(|body| refused_in(&body.to_bytes())))
    }
}

/// Seconds to wait; dates are not heeded.
fn wait_in(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

fn refused_in(answer: &[u8]) -> Option<(u64, String)> {
    let answer = ExportTraceServiceResponse::decode(answer).ok()?;
    let partial = answer.partial_success?;
    let refused = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (refused > 0).then_some((refused, partial.error_message))
}

fn tls(certificate: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let platform = |error: rustls::Error| TlsError::Platform(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(platform)?;
    let builder = match certificate {
        None => builder.with_platform_verifier().map_err(platform)?,
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| TlsError::File(path.into(), error))?;
            let bad = |why: String| TlsError::Certificate(path.into(), why);
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("it holds no certificate".to_owned()));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(builder.with_no_client_auth())
}

/// What went wrong beneath: the outermost error says no more than that something did.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    #[test]
    fn a_collector_may_ask_for_half_a_minute_and_no_more() {
        let wait = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            wait_in(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("86400"), Some(30));
        assert_eq!(wait("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(wait("-1"), None);
    }

    #[test]
    fn what_a_collector_refuses_is_read_from_its_answer() {
        let answer = |rejected_spans| {
            let error_message = "too old".to_owned();
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message,
            });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        };
        assert_eq!(refused_in(&answer(3)), Some((3, "too old".to_owned())));
        assert_eq!(refused_in(&answer(0)), None);
        assert_eq!(refused_in(&answer(-1)), None);
        assert_eq!(refused_in(b""), None);
        assert_eq!(refused_in(b"{}"), None);
    }

    #[test]
    fn a_ca_that_is_none_is_told_by_its_file() {
        let missing = tls(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nowhere/ca.pem");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let empty = tls(Some(Path::new(manifest))).unwrap_err();
        assert!(matches!(empty, TlsError::Certificate(..)), "{empty}");
    }
}
