//! One WebSocket connection: whole binary messages in both directions.
//!
//! tungstenite shakes hands and reads and writes the headers of frames. What is between the headers
//! is carried here: its own streams copy every message once more on the way out, read 4 KiB or keep
//! more for ever, and have to be made anew to be small again.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use crate::Io;
use bytes::Bytes;
use incoming::{Got, Incoming};
use outgoing::Outgoing;
use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) struct Carrier {
    io: Box<dyn Io>,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl Carrier {
    /// An end of a connection whose upgrade is done.
    pub(crate) fn new(io: Box<dyn Io>, role: Role) -> Self {
        Self {
            io,
            incoming: Incoming::new(role),
            outgoing: Outgoing::new(role),
        }
    }

    /// Lets go of the buffers that long messages have left behind.
    pub(crate) fn rest(&mut self) {
        self.outgoing.rest();
    }

    /// Sends one message and flushes it.
    pub(crate) async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(message.into());
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next message; an error when there is none.
    pub(crate) async fn receive(&mut self) -> io::Result<Bytes> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Sends a close frame; errors do not matter any more.
    pub(crate) async fn close(mut self) {
        let _ = poll_fn(|cx| self.poll_close(cx)).await;
    }

    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            match ready!(self.incoming.poll(cx, &mut self.io))? {
                Got::Message(message) => return Poll::Ready(Ok(message)),
                Got::Ping(payload) => {
                    self.outgoing.answer(payload);
                    // It leaves with what is sent next, if it cannot now.
                    let _ = self.poll_flush(cx);
                }
                Got::Close => {
                    let _ = self.poll_close(cx);
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }

    /// Ready: a message can be taken.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_ready(cx, &mut self.io)
    }

    /// Takes a message; [`Carrier::poll_ready`] must have said that it can.
    pub(crate) fn start_send(&mut self, message: Bytes) {
        let in_pieces = self.io.is_write_vectored();
        self.outgoing.take(message, in_pieces);
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_flush(cx, &mut self.io)
    }

    /// Sends a close frame behind everything else.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.outgoing.close();
        self.poll_flush(cx)
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

/// The peer has sent what no message can be.
fn invalid(what: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Masks bytes, or takes the mask off. They begin where the mask does, or a multiple of its length
/// behind.
fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let eight = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ eight).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}
