//! HTTP CONNECT proxies, and the rules of `HTTPS_PROXY` and `NO_PROXY`.

use super::Network;
use crate::Io;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ipnet::IpNet;
use std::{io, net::IpAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

/// Longest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Which hosts are reached through which proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    proxy: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// One proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    authorization: Option<String>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Network(IpNet),
    /// The name itself and everything below it, on one port or on all.
    Domain(String, Option<u16>),
}

/// Why the way through a proxy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address of the proxy cannot be used.
    #[error("proxy address {0:?} is not of the form http://[user:password@]host:port")]
    Address(String),
    /// An entry of `NO_PROXY` cannot be read.
    #[error("NO_PROXY entry {0:?} is no name, address or network")]
    Exception(String),
    /// The proxy cannot be reached.
    #[error("cannot connect to proxy {address}")]
    Connect {
        /// Host and port of the proxy.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The proxy wants (other) credentials.
    #[error(
        "proxy {0} wants a user name and password: set them in HTTPS_PROXY as http://user:password@host:port"
    )]
    Unauthorized(String),
    /// The proxy does not connect there.
    #[error("proxy answered {0:?}")]
    Refused(String),
    /// The proxy's answer breaks off or makes no sense.
    #[error("malformed answer of the proxy")]
    Malformed(#[from] io::Error),
}

impl Proxies {
    /// Reads the values of `HTTPS_PROXY` and `NO_PROXY`; empty means none.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Address`], [`ProxyError::Exception`].
    pub fn parse(https_proxy: &str, no_proxy: &str) -> Result<Self, ProxyError> {
        let proxy = match https_proxy.trim() {
            "" => None,
            address => Some(Proxy::parse(address)?),
        };
        let exceptions = no_proxy
            .split([',', ' '])
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(Exception::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self { proxy, exceptions })
    }

    /// The proxy for a host, if it needs one. Loopback never does.
    pub(super) fn for_host(&self, host: &str, port: u16) -> Option<&Proxy> {
        let host = host.trim_matches(['[', ']']).trim_end_matches('.');
        let address = host.parse::<IpAddr>().ok();
        let is_local = address.is_some_and(|address| address.is_loopback()) || host == "localhost";
        let excepted = self
            .exceptions
            .iter()
            .any(|exception| exception.covers(host, address, port));
        self.proxy.as_ref().filter(|_| !is_local && !excepted)
    }
}

impl Exception {
    fn parse(entry: &str) -> Result<Self, ProxyError> {
        if entry == "*" {
            return Ok(Self::Everything);
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let wrong = || ProxyError::Exception(entry.to_owned());
        let (name, port) = match entry.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (entry, None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        if name.is_empty() || name.contains(['/', '[', ']', ':', '@']) {
            return Err(wrong());
        }
        Ok(Self::Domain(name.to_ascii_lowercase(), port))
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Domain(name, on) => {
                let host = host.to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str());
                on.is_none_or(|on| on == port)
                    && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

impl Proxy {
    fn parse(address: &str) -> Result<Self, ProxyError> {
        // The address may hold a password: it is not repeated in the error.
        let wrong = || ProxyError::Address(redacted(address));
        let with_scheme = if address.contains("://") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        let url = Url::parse(&with_scheme).map_err(|_| wrong())?;
        let host = url
            .host_str()
            .filter(|_| url.scheme() == "http")
            .ok_or_else(wrong)?;
        let decode = |text: &str| percent_decode(text).ok_or_else(wrong);
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let pair = format!(
                    "{}:{}",
                    decode(user)?,
                    decode(password.unwrap_or_default())?
                );
                Some(BASE64.encode(pair))
            }
        };
        Ok(Self {
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            authorization,
        })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection to `host:port` through the proxy.
    pub(super) async fn connect(
        &self,
        network: &Network,
        host: &str,
        port: u16,
    ) -> Result<Box<dyn Io>, ProxyError> {
        let connected = network.connect(&self.host, self.port).await;
        let mut stream = connected.map_err(|source| ProxyError::Connect {
            address: self.address(),
            source,
        })?;
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: Basic {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte, so that nothing behind the head is taken from the connection.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() == MAX_HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "head is too long").into());
            }
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => Ok(stream),
            // 401 is what some proxies say where 407 is meant.
            Some("407" | "401") => Err(ProxyError::Unauthorized(self.address())),
            _ => Err(ProxyError::Refused(status.chars().take(200).collect())),
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address())
    }
}

fn redacted(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => address.to_owned(),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, host: &str, port: u16) -> bool {
        Proxies::parse("http://proxy:3128", no_proxy)
            .unwrap()
            .for_host(host, port)
            .is_some()
    }

    #[test]
    fn no_proxy_names_cover_themselves_and_what_is_below() {
        for rule in [
            "example.com",
            ".example.com",
            "*.example.com",
            "a, EXAMPLE.com",
        ] {
            assert!(!proxied(rule, "example.com", 443), "{rule}");
            assert!(!proxied(rule, "a.Example.com.", 443), "{rule}");
            assert!(proxied(rule, "badexample.com", 443), "{rule}");
        }
        assert!(!proxied("example.com:8443", "example.com", 8443));
        assert!(proxied("example.com:8443", "example.com", 443));
        assert!(!proxied("*", "anything", 443));
    }

    #[test]
    fn no_proxy_networks_cover_their_addresses() {
        assert!(!proxied("10.0.0.0/8", "10.1.2.3", 443));
        assert!(proxied("10.0.0.0/8", "11.1.2.3", 443));
        assert!(!proxied("fd00::/8", "[fd00::1]", 443));
        assert!(!proxied("[fd00::1]", "fd00::1", 443));
        assert!(!proxied("192.0.2.7", "192.0.2.7", 443));
        assert!(proxied("10.0.0.0/8", "ten.example", 443));
    }

    #[test]
    fn loopback_is_never_proxied() {
        for host in ["127.0.0.1", "[::1]", "localhost"] {
            assert!(!proxied("", host, 443), "{host}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_printed() {
        let proxies = Proxies::parse("http://me:p%40ss@proxy", "").unwrap();
        let proxy = proxies.proxy.as_ref().unwrap();
        assert_eq!(
            proxy.authorization.as_deref(),
            Some(&*BASE64.encode("me:p@ss"))
        );
        assert!(!format!("{proxies:?}").contains("p@ss"));
        let error = Proxies::parse("https://me:secret@proxy", "").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(
            Proxies::parse("ftp://x", ""),
            Err(ProxyError::Address(_))
        ));
        assert!(matches!(
            Proxies::parse("", "10.0.0.0/99"),
            Err(ProxyError::Exception(_))
        ));
    }
}
