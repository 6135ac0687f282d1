//! Many streams over one byte stream. yamux is the first implementation; no other module knows it.

mod yamux;

pub(crate) use yamux::Yamux;

use crate::Io;
use std::task::{Context, Poll};

/// One multiplexed byte stream.
pub(crate) type MuxStream = Box<dyn Io>;

/// Which side of the connection this is; stream ids must not collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Agent,
    Server,
}

/// Why the multiplexer cannot go on, or cannot open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// The connection under it ended.
    #[error("connection ended")]
    Ended,
    /// The peer broke the multiplexer's rules.
    #[error("{0}")]
    Protocol(String),
}

/// A multiplexer, driven by one task that keeps calling [`Mux::poll_accept`].
pub(crate) trait Mux: Send {
    /// A new stream to the peer. Pending while the peer has not answered enough earlier ones.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<MuxStream, MuxError>>;

    /// Moves all bytes there are to move, and returns streams that the peer opened. `Ok(None)`:
    /// the connection ended in order.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MuxStream>, MuxError>>;

    /// Ends all streams and the connection under them.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MuxError>>;
}
