//! What a request for a session says of it.

use apiserver::error::ApiError;
use http::header::{HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use remotecommand::Protocol;

use super::{Container, refused};

/// A session that is asked for.
#[derive(Debug)]
pub(in crate::kube_proxy) struct Asked {
    pub(super) protocol: Protocol,
    /// `exec` or `attach`.
    pub(super) action: String,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) command: Vec<String>,
    pub(super) terminal: bool,
    /// Whether what is typed is recorded.
    pub(super) input: bool,
}

impl Asked {
    /// Reads it, and leaves of what is offered in the headers what can be recorded.
    pub(super) fn read(
        container: Container<'_>,
        headers: &mut HeaderMap,
        query: &str,
        input: bool,
    ) -> Result<Self, ApiError> {
        let mut asked = Self {
            protocol: choose(headers)?,
            action: container.action.to_owned(),
            namespace: container.namespace.to_owned(),
            pod: container.pod.to_owned(),
            container: String::new(),
            command: Vec::new(),
            terminal: false,
            input,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "container" if asked.container.is_empty() => asked.container = value.into_owned(),
                "command" => asked.command.push(value.into_owned()),
                "tty" => asked.terminal |= !matches!(&*value, "0" | "false" | "False" | "FALSE"),
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Whether the cluster has chosen what can be recorded.
    pub(super) fn accepts(&self, headers: &HeaderMap) -> bool {
        let upgrade = only(headers, &UPGRADE);
        let version = HeaderName::from_static(self.protocol.version_header());
        upgrade.and_then(Protocol::of_upgrade) == Some(self.protocol)
            && only(headers, &version).is_some_and(|version| self.protocol.reads(version))
            && !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS)
    }
}

/// The protocol that is asked for, with the versions that can be recorded.
fn choose(headers: &mut HeaderMap) -> Result<Protocol, ApiError> {
    let protocol = only(headers, &UPGRADE).and_then(Protocol::of_upgrade);
    let protocol =
        protocol.ok_or_else(|| refused("the connection is no WebSocket and no SPDY/3.1"))?;
    let name = HeaderName::from_static(protocol.version_header());
    let offered = headers.get_all(&name).iter();
    let offered = offered.filter_map(|value| value.to_str().ok());
    let versions = offered.flat_map(|list| list.split(',')).map(str::trim);
    let read: Vec<String> = versions
        .filter(|version| protocol.reads(version))
        .map(str::to_owned)
        .collect();
    headers.remove(&name);
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    let given: Vec<String> = match protocol {
        Protocol::WebSocket if !read.is_empty() => vec![read.join(", ")],
        _ => read,
    };
    if given.is_empty() {
        return Err(refused(
            "the client offers neither v4.channel.k8s.io nor v5.channel.k8s.io",
        ));
    }
    for value in given {
        let value = HeaderValue::from_str(&value).map_err(ApiError::internal)?;
        headers.append(&name, value);
    }
    Ok(protocol)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHERE: Container<'static> = Container {
        action: "exec",
        namespace: "a",
        pod: "b",
    };

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn what_is_asked_is_read_and_what_cannot_be_recorded_is_not_offered() {
        let mut offered = headers(&[
            ("upgrade", "websocket"),
            (
                "sec-websocket-protocol",
                "base64.channel.k8s.io, v5.channel.k8s.io",
            ),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ]);
        let query = "command=sh&command=-c&command=a%20b&container=c&tty=true&stdin=1";
        let asked = Asked::read(WHERE, &mut offered, query, true).unwrap();
        assert_eq!(asked.command, ["sh", "-c", "a b"]);
        assert_eq!(asked.container, "c");
        assert!(asked.terminal && asked.input);
        let expected = headers(&[
            ("upgrade", "websocket"),
            (
                "sec-websocket-protocol",
                "v5.channel.k8s.io, v4.channel.k8s.io",
            ),
        ]);
        assert_eq!(offered, expected);
        for (answer, expected) in [
            (
                &[
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", "v5.channel.k8s.io"),
                ][..],
                true,
            ),
            (
                &[
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", "channel.k8s.io"),
                ],
                false,
            ),
            (&[("upgrade", "websocket")], false),
            (
                &[
                    ("upgrade", "SPDY/3.1"),
                    ("x-stream-protocol-version", "v4.channel.k8s.io"),
                ],
                false,
            ),
            (
                &[
                    ("upgrade", "websocket"),
                    ("sec-websocket-protocol", "v5.channel.k8s.io"),
                    ("sec-websocket-extensions", "permessage-deflate"),
                ],
                false,
            ),
        ] {
            assert_eq!(asked.accepts(&headers(answer)), expected, "{answer:?}");
        }
    }

    #[test]
    fn versions_of_spdy_are_offered_one_by_one() {
        let mut offered = headers(&[
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        let asked = Asked::read(WHERE, &mut offered, "tty=false&tty=0", false).unwrap();
        assert!(!asked.terminal);
        let versions: Vec<_> = offered
            .get_all("x-stream-protocol-version")
            .iter()
            .collect();
        assert_eq!(versions, ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    }

    #[test]
    fn what_cannot_be_recorded_is_refused() {
        for (offered, expected) in [
            (&[("upgrade", "h2c")][..], "no WebSocket and no SPDY/3.1"),
            (
                &[("upgrade", "websocket"), ("upgrade", "SPDY/3.1")],
                "no WebSocket",
            ),
            (&[("upgrade", "websocket")], "the client offers neither"),
            (
                &[
                    ("upgrade", "SPDY/3.1"),
                    ("x-stream-protocol-version", "channel.k8s.io"),
                ],
                "the client offers neither",
            ),
        ] {
            let error = Asked::read(WHERE, &mut headers(offered), "", false).unwrap_err();
            assert_eq!(error.code(), 403);
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
