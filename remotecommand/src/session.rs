//! A connection, read in both directions.

use crate::channels::Channels;
use crate::{Error, Event, Protocol, spdy, websocket};

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever asked for the session.
    Client,
    /// The API server of the cluster.
    Cluster,
}

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    channels: Channels,
    failed: Option<Error>,
}

#[derive(Debug)]
enum Wire {
    WebSocket(Box<websocket::Connection>),
    Spdy(Box<spdy::Connection>),
}

impl Session {
    /// A connection that begins. The version of what is said within must be one that
    /// [`Protocol::reads`].
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            wire: match protocol {
                Protocol::WebSocket => Wire::WebSocket(Box::default()),
                Protocol::Spdy => Wire::Spdy(Box::default()),
            },
            channels: Channels::default(),
            failed: None,
        }
    }

    /// Takes bytes that a peer sent, and tells what they mean. What a client sends must be taken
    /// before it goes on to the cluster: the cluster's answers are understood by it.
    ///
    /// # Errors
    /// When they cannot be read. Nothing can be read after that, and the same is returned again.
    pub fn take(
        &mut self,
        from: Peer,
        bytes: &[u8],
        told: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let channels = &mut self.channels;
        let mut heard = |channel, data: &[u8]| channels.take(from, channel, data, told);
        let taken = match &mut self.wire {
            Wire::WebSocket(connection) => connection.take(from, bytes, &mut heard),
            Wire::Spdy(connection) => connection.take(from, bytes, &mut heard),
        };
        if let Err(error) = &taken {
            self.failed = Some(error.clone());
        }
        taken
    }

    /// Whether what was taken from a peer ends between two frames.
    #[must_use]
    pub fn is_between(&self, from: Peer) -> bool {
        match &self.wire {
            Wire::WebSocket(connection) => connection.is_between(from),
            Wire::Spdy(connection) => connection.is_between(from),
        }
    }

    /// What to send to the client so that it ends with that message, and nothing else after it; `None`
    /// if nothing can be said to it. It is understood only by a client that has the cluster's bytes up
    /// to the end of a frame: see [`Self::is_between`].
    #[must_use]
    pub fn farewell(&self, message: &str) -> Option<Vec<u8>> {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "reason": "Forbidden", "code": 403, "message": message,
        });
        let status = status.to_string();
        match &self.wire {
            Wire::WebSocket(connection) => connection.farewell(&status),
            Wire::Spdy(connection) => connection.farewell(&status),
        }
    }
}

#[cfg(test)]
mod tests;
