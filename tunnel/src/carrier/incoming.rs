//! From a connection's bytes to messages.

use super::{invalid, mask};
use crate::Io;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::{
    io::{self, Cursor},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio_tungstenite::tungstenite::protocol::{
    Role,
    frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};
use tokio_util::io::poll_read_buf;
use tunnel_proto::MAX_MESSAGE;

/// Room for what comes when nothing is known of it.
const LITTLE: usize = 4 * 1024;

/// Most bytes of one read: a TLS record. rustls gives no more at a time, and what it is offered is
/// filled with zeroes first.
const RECORD: usize = 16 * 1024;

/// The longest header of a frame.
const HEADER: usize = 14;

/// Longest payload of a frame that is no data.
const MAX_CONTROL: usize = 125;

/// What a peer has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Message(Bytes),
    Ping(Bytes),
    Close,
}

/// See the [module](self).
pub(super) struct Incoming {
    is_server: bool,
    input: BytesMut,
    /// Header and length of the frame that comes.
    frame: Option<(FrameHeader, usize)>,
    /// The first fragments of a message. Nobody we know sends any, but a proxy may.
    fragments: Option<BytesMut>,
}

impl Incoming {
    pub(super) fn new(role: Role) -> Self {
        Self {
            is_server: role == Role::Server,
            input: BytesMut::new(),
            frame: None,
            fragments: None,
        }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Box<dyn Io>,
    ) -> Poll<io::Result<Got>> {
        loop {
            if let Some(got) = self.next()? {
                return Poll::Ready(Ok(got));
            }
            self.make_room();
            let mut room = (&mut self.input).limit(RECORD);
            let read = poll_read_buf(Pin::new(io), cx, &mut room);
            if read.is_pending() && self.input.is_empty() {
                // Nothing is held for a connection that is idle.
                self.input = BytesMut::new();
            }
            if ready!(read)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Makes room for the rest of the frame that comes, and the header behind it.
    fn make_room(&mut self) {
        let needed = match &self.frame {
            Some((_, len)) => (len + HEADER).saturating_sub(self.input.len()),
            None => HEADER,
        };
        if self.input.capacity() - self.input.len() < needed {
            let size = (self.input.len() + needed).max(LITTLE);
            let mut input = BytesMut::with_capacity(size);
            input.extend_from_slice(&self.input);
            self.input = input;
        }
    }

    /// What the bytes that are there begin with, if they are enough.
    fn next(&mut self) -> io::Result<Option<Got>> {
        loop {
            let Some((header, len)) = self.header()? else {
                return Ok(None);
            };
            if self.input.len() < len {
                self.frame = Some((header, len));
                return Ok(None);
            }
            let mut payload = self.input.split_to(len);
            if let Some(key) = header.mask {
                mask(&mut payload, key);
            }
            match header.opcode {
                OpCode::Control(Control::Ping) => return Ok(Some(Got::Ping(payload.freeze()))),
                OpCode::Control(Control::Close) => return Ok(Some(Got::Close)),
                OpCode::Control(_) => {}
                OpCode::Data(_) => {
                    let whole = match self.fragments.take() {
                        Some(mut whole) => {
                            whole.extend_from_slice(&payload);
                            whole
                        }
                        None => payload,
                    };
                    if header.is_final {
                        return Ok(Some(Got::Message(whole.freeze())));
                    }
                    self.fragments = Some(whole);
                }
            }
        }
    }

    fn header(&mut self) -> io::Result<Option<(FrameHeader, usize)>> {
        if let Some(frame) = self.frame.take() {
            return Ok(Some(frame));
        }
        let mut cursor = Cursor::new(&self.input[..]);
        let parsed = FrameHeader::parse(&mut cursor);
        let taken = cursor.position() as usize;
        let Some((header, len)) = parsed.map_err(invalid)? else {
            return Ok(None);
        };
        let len = self.check(&header, len)?;
        self.input.advance(taken);
        Ok(Some((header, len)))
    }

    /// Whether such a frame may come now; gives its length.
    fn check(&self, header: &FrameHeader, len: u64) -> io::Result<usize> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(invalid("frame of an extension that was not agreed on"));
        }
        if header.mask.is_some() != self.is_server {
            return Err(invalid(
                "frame that is masked and must not be, or is not and must be",
            ));
        }
        let before = self
            .fragments
            .as_ref()
            .map_or(0, |fragments| fragments.len());
        let most = match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(invalid("control frame in fragments"));
            }
            OpCode::Control(_) => MAX_CONTROL,
            OpCode::Data(Data::Binary) if self.fragments.is_none() => MAX_MESSAGE,
            OpCode::Data(Data::Continue) if self.fragments.is_some() => MAX_MESSAGE - before,
            OpCode::Data(Data::Text) => return Err(invalid("not a binary message")),
            OpCode::Data(_) => return Err(invalid("fragment out of its order")),
        };
        match usize::try_from(len) {
            Ok(len) if len <= most => Ok(len),
            _ => Err(invalid("message is too long")),
        }
    }
}
