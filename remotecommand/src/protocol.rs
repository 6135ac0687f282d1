//! Which protocols can be read.

/// A protocol of exec and attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// WebSocket, a message of each channel begins with its number.
    WebSocket,
    /// SPDY/3.1, a stream for each channel.
    Spdy,
}

/// The versions of what is said within, in both protocols. Earlier ones have no exit status, or none
/// that a program can read; every kubelet and client of the last ten years speaks one of these.
const VERSIONS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

impl Protocol {
    /// The protocol that an `Upgrade` header names; `None` for one that cannot be read. A list of
    /// several is none: who answers picks one, and nobody knows which.
    #[must_use]
    pub fn of_upgrade(upgrade: &str) -> Option<Self> {
        if upgrade.eq_ignore_ascii_case("websocket") {
            Some(Self::WebSocket)
        } else if upgrade.eq_ignore_ascii_case("SPDY/3.1") {
            Some(Self::Spdy)
        } else {
            None
        }
    }

    /// The header in which versions are offered and chosen, in lower case.
    #[must_use]
    pub fn version_header(self) -> &'static str {
        match self {
            Self::WebSocket => "sec-websocket-protocol",
            Self::Spdy => "x-stream-protocol-version",
        }
    }

    /// Whether a version of what is said within can be read.
    #[must_use]
    pub fn reads(self, version: &str) -> bool {
        VERSIONS.contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_known_protocol_is_read() {
        for (upgrade, expected) in [
            ("websocket", Some(Protocol::WebSocket)),
            ("WebSocket", Some(Protocol::WebSocket)),
            ("SPDY/3.1", Some(Protocol::Spdy)),
            ("spdy/3.1", Some(Protocol::Spdy)),
            ("SPDY/3", None),
            ("websocket, SPDY/3.1", None),
            ("h2c", None),
            ("", None),
        ] {
            assert_eq!(Protocol::of_upgrade(upgrade), expected, "{upgrade}");
        }
        assert!(Protocol::Spdy.reads("v4.channel.k8s.io"));
        assert!(!Protocol::WebSocket.reads("base64.channel.k8s.io"));
        assert!(!Protocol::Spdy.reads("channel.k8s.io"));
    }
}
