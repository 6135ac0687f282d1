//! Requests to login providers: over TLS, to hosts that the settings name, with bounds. What a provider
//! answers leads this server nowhere else: redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::{Origin, Url};

use super::{LoginError, tls};

/// How long a connection, and then the whole answer, may take.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(10);

/// The longest body of an answer, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Asks one login provider.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    allowed: Vec<Origin>,
}

/// A provider was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The address is not one of the settings.
    #[error("{0} is at a host that the settings do not name")]
    NotAllowed(Url),
    /// The address is none.
    #[error("{0:?} is not an address: {1}")]
    Address(String, String),
    /// Nothing came in time.
    #[error("{0} did not answer in time")]
    Late(Url),
    /// There is no connection, or it broke.
    #[error("cannot ask {0}: {1}")]
    Broken(Url, String),
    /// The answer does not end.
    #[error("{0} answers with more than 1 MiB")]
    Long(Url),
}

impl Http {
    /// Requests to the hosts of these addresses, whose certificates these authorities (PEM) sign.
    ///
    /// # Errors
    /// With what is wrong with the authorities.
    pub(super) fn new(authorities: &str, allowed: &[Url]) -> Result<Self, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*tls::client(authorities)?).clone())
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            allowed: allowed.iter().map(Url::origin).collect(),
        })
    }

    /// Sends a request and reads the answer, whatever its status. Cancellation-safe.
    ///
    /// # Errors
    /// When the address is not allowed, or no whole answer comes.
    pub(super) async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let url = request.uri().to_string();
        let url = Url::parse(&url).map_err(|error| HttpError::Address(url, error.to_string()))?;
        if url.scheme() != "https" || !self.allowed.contains(&url.origin()) {
            return Err(HttpError::NotAllowed(url));
        }
        match tokio::time::timeout(ANSWER, self.exchange(&url, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(HttpError::Late(shown(url))),
        }
    }

    async fn exchange(
        &self,
        url: &Url,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, HttpError> {
        let broken = |reason: String| HttpError::Broken(shown(url.clone()), reason);
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| broken(chain(&error)))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => HttpError::Long(shown(url.clone())),
            false => broken(error.to_string()),
        })?;
        Ok(Response::from_parts(parts, body.to_bytes().into()))
    }
}

/// What may be in a log: queries can hold secrets.
fn shown(mut url: Url) -> Url {
    url.set_query(None);
    url
}

/// What went wrong beneath: the outermost error says no more than that something did.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

impl HttpError {
    /// What it means for the login.
    pub(super) fn during(self, step: &'static str) -> LoginError {
        match self {
            Self::NotAllowed(_) | Self::Address(..) => {
                LoginError::Misconfigured(format!("cannot {step}: {self}"))
            }
            Self::Late(_) | Self::Broken(..) | Self::Long(_) => LoginError::Unavailable {
                step,
                reason: self.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_hosts_of_the_settings_are_asked_and_only_over_tls() {
        let own = Url::parse("https://127.0.0.1:1/realms/corp").unwrap();
        let http = Http::new("", &[own]).unwrap();
        for url in [
            "https://127.0.0.1:2/token",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost:1/token",
            "http://127.0.0.1:1/token",
        ] {
            let request = Request::get(url).body(Vec::new()).unwrap();
            let refused = http.send(request).await.unwrap_err();
            assert!(matches!(refused, HttpError::NotAllowed(_)), "{refused:?}");
        }
        // Nobody listens there: it was asked.
        let request = Request::get("https://127.0.0.1:1/token?code=secret");
        let broken = http.send(request.body(Vec::new()).unwrap()).await;
        let broken = broken.unwrap_err();
        assert!(matches!(broken, HttpError::Broken(..)), "{broken:?}");
        assert!(!broken.to_string().contains("secret"), "{broken}");
    }
}
