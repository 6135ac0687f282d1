//! Where an etcd is and how it is reached.

use std::fmt;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// How an [`crate::EtcdStore`] reaches its etcd.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// The client URLs of the members, `http://` or `https://`. At least one.
    pub endpoints: Vec<String>,
    /// What the store's keys begin with, so that others can use the same etcd. Starts with a slash
    /// and does not end with one; at most 64 bytes. Default `/lariat`.
    pub prefix: String,
    /// What to trust and what to show over `https://`.
    pub tls: Option<EtcdTls>,
    /// For an etcd with authentication. One that knows users by their certificates needs none.
    pub login: Option<EtcdLogin>,
    /// How long a request may take, with all attempts. Default 5 seconds.
    pub request_timeout: Duration,
    /// How many revisions may wait for a watcher before it is cut off. Default 1,024.
    pub watch_capacity: usize,
}

impl EtcdOptions {
    /// The defaults for an etcd at these URLs.
    #[must_use]
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: "/lariat".to_owned(),
            tls: None,
            login: None,
            request_timeout: Duration::from_secs(5),
            watch_capacity: 1024,
        }
    }

    pub(super) fn channels(&self) -> Result<Vec<Channel>, OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError::NoEndpoint);
        }
        let prefix = &self.prefix;
        if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.len() > 64 {
            return Err(OptionsError::Prefix(prefix.clone()));
        }
        let channel = |endpoint: &String| self.channel(endpoint);
        self.endpoints.iter().map(channel).collect()
    }

    fn channel(&self, url: &str) -> Result<Channel, OptionsError> {
        let wrong = |reason: String| OptionsError::Endpoint {
            url: url.to_owned(),
            reason,
        };
        let secure = match url.split_once("://") {
            Some(("https", _)) => true,
            Some(("http", _)) => false,
            _ => return Err(wrong("must begin with http:// or https://".to_owned())),
        };
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| wrong(error.to_string()))?
            .connect_timeout(Duration::from_secs(2))
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            // etcd closes connections that ping without a stream. A dead one without a stream is
            // found by the next request.
            .keep_alive_while_idle(false);
        match (&self.tls, secure) {
            (Some(tls), true) => {
                endpoint = (endpoint.tls_config(tls.config()))
                    .map_err(|error| wrong(with_sources(&error)))?;
            }
            (None, false) => {}
            (None, true) => return Err(wrong("needs a CA certificate".to_owned())),
            (Some(_), false) => {
                return Err(wrong(
                    "is without TLS, and certificates are given".to_owned(),
                ));
            }
        }
        Ok(endpoint.connect_lazy())
    }
}

/// Certificates for an etcd, in PEM.
#[derive(Clone)]
pub struct EtcdTls {
    /// The certificates of the authorities that sign etcd's own.
    pub ca: String,
    /// A certificate and its key, to show to an etcd that asks for one.
    pub identity: Option<(String, String)>,
}

impl EtcdTls {
    fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        match &self.identity {
            Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
            None => config,
        }
    }
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EtcdTls").finish_non_exhaustive()
    }
}

/// A user of etcd.
#[derive(Clone)]
pub struct EtcdLogin {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for EtcdLogin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("EtcdLogin");
        shown.field("user", &self.user).finish_non_exhaustive()
    }
}

/// [`EtcdOptions`] make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No endpoint was given.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// The prefix breaks its rules.
    #[error("prefix {0:?} must begin with a slash, not end with one, and have at most 64 bytes")]
    Prefix(String),
    /// An endpoint, or the certificates for it, cannot be used.
    #[error("etcd endpoint {url:?}: {reason}")]
    Endpoint {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
