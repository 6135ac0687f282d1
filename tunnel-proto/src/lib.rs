//! The Lariat tunnel protocol, as pure state machines.
//!
//! Bytes and `now` go in; bytes, events and the next deadline come out. This crate opens no
//! socket, spawns no task, reads no clock and does no TLS: that is the `tunnel` crate's work.
//! `SPEC.md` beside this crate describes every byte.
//!
//! Read in the order of the layers, from the wire up:
//!
//! - [`frame`]: the frames inside a carrier's binary messages;
//! - [`link`]: the resumable byte stream that those frames carry;
//! - [`hello`] and [`transcript`]: how a carrier begins, and what is signed;
//! - [`mux`]: many streams over one link, in the order that the [`gate`] gives, within a
//!   [`budget`];
//! - [`stream`]: what the opener of a multiplexed stream says first, and the answer;
//! - [`backoff`]: how long to wait before the next attempt.

#![warn(missing_docs)]

pub mod backoff;
pub mod budget;
pub mod frame;
pub mod gate;
pub mod hello;
pub mod link;
pub mod mux;
pub mod stream;
pub mod transcript;
mod turnover;

/// WebSocket subprotocol token. A change that an old peer cannot ignore bumps it.
pub const SUBPROTOCOL: &str = "lariat.v1";

/// Path of the tunnel endpoint.
pub const CONNECT_PATH: &str = "/v3/connect";

/// Response header of the upgrade that carries the server's nonce (base64 of 32 random bytes).
pub const NONCE_HEADER: &str = "x-lariat-nonce";

/// Length of a nonce, in bytes.
pub const NONCE_LEN: usize = 32;

/// Largest WebSocket message that either side may send after the hello, in bytes:
/// one full data frame.
pub const MAX_MESSAGE: usize = frame::MAX_PAYLOAD + frame::DATA_HEADER;
