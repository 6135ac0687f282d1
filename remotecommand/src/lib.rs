//! Reads what goes over a connection of `kubectl exec` or `attach`, while somebody else carries the
//! bytes: what is typed, what is printed, the size of the window, how it ended.
//!
//! Both of Kubernetes' protocols are understood: WebSocket (`v4.channel.k8s.io`,
//! `v5.channel.k8s.io`) and SPDY/3.1. Bytes go in, [`Event`]s come out; there is no input or output
//! here and no clock. What is kept is bounded whatever a peer sends, and nothing panics.
//!
//! Whoever is watched must not be able to say something that is read one way here and another way in
//! the cluster. Therefore these readers are stricter than the protocols: everything that Kubernetes'
//! own programs do not send, and that they could read in their own way (fragmented messages, reserved
//! bits, lengths that are not the shortest, frames with a length of their own, a second set of
//! headers), is an [`Error`], after which the connection must be ended.
//!
//! Start at [`Session`]; [`Protocol`] says which connections can be read, [`Cast`] writes down what
//! happened for players of terminal sessions.

#![warn(missing_docs)]

mod asciicast;
mod channels;
mod exit;
mod protocol;
mod session;
mod spdy;
mod websocket;

pub use asciicast::{Cast, Header};
pub use channels::{Event, Size};
pub use exit::Exit;
pub use protocol::Protocol;
pub use session::{Peer, Session};

/// Why a connection cannot be read any further. It must be ended: nobody knows what goes over it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame that WebSocket forbids, or that Kubernetes' programs do not send.
    #[error("WebSocket frame with {0}")]
    WebSocket(&'static str),
    /// A frame that SPDY/3.1 forbids, or that Kubernetes' programs do not send.
    #[error("SPDY frame with {0}")]
    Spdy(&'static str),
    /// A channel that neither protocol has, or that the other peer writes.
    #[error("{0} on a channel that is not theirs")]
    Channel(&'static str),
    /// The size of the window is not what Kubernetes' programs send.
    #[error("size of the window that cannot be read")]
    Size,
}
