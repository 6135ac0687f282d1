//! From messages to a connection's bytes.

use super::mask;
use crate::Io;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::{
    Role,
    frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

/// Messages up to this long, in bytes, are copied, so that several leave together.
const SHORT: usize = 4 * 1024;

/// So many bytes are written before another message is taken.
const ENOUGH: usize = 16 * 1024;

/// How much is copied before it is masked: it is in the fastest cache then.
const PIECE: usize = 4 * 1024;

/// See the [module](self).
pub(super) struct Outgoing {
    is_client: bool,
    /// Whole frames, then the header of `long`.
    front: BytesMut,
    /// The payload of the last frame, as it came.
    long: Bytes,
    /// The answer to the last ping.
    pong: Option<Bytes>,
    is_closed: bool,
}

impl Outgoing {
    pub(super) fn new(role: Role) -> Self {
        Self {
            is_client: role == Role::Client,
            front: BytesMut::new(),
            long: Bytes::new(),
            pong: None,
            is_closed: false,
        }
    }

    /// Lets go of memory that is not in use.
    pub(super) fn rest(&mut self) {
        if self.front.is_empty() {
            self.front = BytesMut::new();
        }
    }

    /// Puts a message behind what there is. A long one is not copied if what is in several pieces can
    /// be written `in_pieces`, and needs no mask.
    pub(super) fn take(&mut self, message: Bytes, in_pieces: bool) {
        if self.is_closed {
            return;
        }
        if self.is_client || message.len() <= SHORT || !in_pieces {
            self.frame(OpCode::Data(Data::Binary), &message);
        } else {
            self.header(OpCode::Data(Data::Binary), message.len(), None);
            self.long = message;
        }
    }

    /// Answers a ping. Of several that are waiting only the last one is answered.
    pub(super) fn answer(&mut self, ping: Bytes) {
        self.pong = Some(ping);
    }

    /// Says that nothing more comes, which nothing does then.
    pub(super) fn close(&mut self) {
        if !self.is_closed {
            self.frame(OpCode::Control(Control::Close), &[]);
            self.is_closed = true;
        }
    }

    /// Ready: there is room for a message.
    pub(super) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Box<dyn Io>,
    ) -> Poll<io::Result<()>> {
        if self.front.len() >= ENOUGH || !self.long.is_empty() {
            ready!(self.poll_write(cx, io))?;
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Box<dyn Io>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx, io))?;
        if !self.is_closed
            && let Some(pong) = self.pong.take()
        {
            self.frame(OpCode::Control(Control::Pong), &pong);
            ready!(self.poll_write(cx, io))?;
        }
        Pin::new(io).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut Box<dyn Io>) -> Poll<io::Result<()>> {
        while !self.front.is_empty() || !self.long.is_empty() {
            let mut io = Pin::new(&mut *io);
            let written = match (self.front.is_empty(), self.long.is_empty()) {
                (_, true) => io.as_mut().poll_write(cx, &self.front),
                (true, _) => io.as_mut().poll_write(cx, &self.long),
                _ => {
                    let pieces = [IoSlice::new(&self.front), IoSlice::new(&self.long)];
                    io.as_mut().poll_write_vectored(cx, &pieces)
                }
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_front = written.min(self.front.len());
            self.front.advance(of_front);
            self.long.advance(written - of_front);
        }
        self.long = Bytes::new();
        Poll::Ready(Ok(()))
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        let key = self.is_client.then(rand::random);
        self.header(opcode, payload.len(), key);
        self.front.reserve(payload.len());
        let Some(key) = key else {
            self.front.extend_from_slice(payload);
            return;
        };
        for piece in payload.chunks(PIECE) {
            let begin = self.front.len();
            self.front.extend_from_slice(piece);
            mask(&mut self.front[begin..], key);
        }
    }

    fn header(&mut self, opcode: OpCode, len: usize, mask: Option<[u8; 4]>) {
        let header = FrameHeader {
            opcode,
            mask,
            ..FrameHeader::default()
        };
        // Writing to memory does not fail.
        let _ = header.format(len as u64, &mut (&mut self.front).writer());
    }
}
