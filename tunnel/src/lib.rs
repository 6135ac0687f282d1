//! The I/O shell of the Lariat tunnel: WebSocket carriers over TLS, the multiplexer, sessions.
//!
//! The rules of the protocol are in `tunnel-proto`; here they get sockets and clocks. Nothing in
//! this crate spawns a task: [`dial::Dialer::dial`] and [`accept::Acceptor::accept`] return a
//! [`session::Session`] to talk to and a [`session::Driver`] that the caller runs beside it.
//! Nothing here knows Kubernetes.

#![warn(missing_docs)]

pub mod accept;
mod carrier;
pub mod dial;
pub mod http;
pub mod identity;
mod lane;
mod memory;
mod mux;
mod read_ahead;
pub mod session;

pub use memory::Memory;
pub use mux::MuxError;
pub use read_ahead::ReadAhead;

/// Label of the TLS exporter whose value both ends compare (RFC 5705).
pub const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-lariat.v1";

/// Anything that can carry a session.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}
