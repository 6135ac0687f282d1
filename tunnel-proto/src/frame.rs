//! The frames inside a carrier's binary messages: one codec, for both directions.
//!
//! A message holds one or more whole frames. A frame begins with its type (one byte) and the
//! length of what follows (three bytes, big-endian). Types from `0x80` on are skipped by a peer that
//! does not know them; an unknown lower type is an error.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Type byte and three length bytes.
pub const HEADER: usize = 4;

/// Bytes in front of a data frame's payload: header, offset, received.
pub const DATA_HEADER: usize = HEADER + 16;

/// Largest payload of a data frame, in bytes. Batches of 64 KiB reach the throughput of bare TLS
/// within measurement noise; larger ones only add latency.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Longest reason in a drain or close frame, in bytes.
pub const MAX_REASON: usize = 512;

const DATA: u8 = 0x01;
const ACK: u8 = 0x02;
const PING: u8 = 0x03;
const PONG: u8 = 0x04;
const DRAIN: u8 = 0x05;
const CLOSE: u8 = 0x06;
const FIRST_SKIPPABLE: u8 = 0x80;
const WANT_LANE: u8 = 0x81;

/// A position in a link's byte stream: the number of bytes before it since the link began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `len` bytes further, or `None` past the end of the number.
    #[must_use]
    pub fn checked_add(self, len: usize) -> Option<Self> {
        self.0.checked_add(len as u64).map(Self)
    }

    /// Bytes from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of the stream, and how many of the other direction have arrived.
    Data {
        /// Where `payload` begins.
        offset: Offset,
        /// What the sender of this frame has received.
        received: Offset,
        /// 1 to [`MAX_PAYLOAD`] bytes.
        payload: Bytes,
    },
    /// What the sender of this frame has received.
    Ack(Offset),
    /// Asks for a pong with the same id.
    Ping(u64),
    /// Answers the ping with this id.
    Pong(u64),
    /// The sender is leaving: open nothing new, finish what runs.
    Drain {
        /// Milliseconds until the sender closes.
        deadline_ms: u32,
        /// For a person; at most [`MAX_REASON`] bytes.
        reason: String,
    },
    /// The sender ends the session now.
    Close {
        /// Why, for a program.
        code: CloseCode,
        /// Why, for a person; at most [`MAX_REASON`] bytes.
        reason: String,
    },
    /// The sender would have the session's bulk lane of this number, or a later one. A peer that
    /// does not know this frame skips it.
    WantLane(u32),
}

/// Why a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The work is done, or the process is leaving.
    Normal,
    /// The peer broke the rules of the protocol.
    ProtocolError,
    /// Another session of the same agent replaced this one.
    Replaced,
    /// The agent may no longer be connected (its cluster was deleted, its key was revoked).
    Revoked,
    /// Should not happen; please report.
    Internal,
    /// A code of a later version.
    Other(u16),
}

impl CloseCode {
    const fn to_wire(self) -> u16 {
        match self {
            Self::Normal => 0,
            Self::ProtocolError => 1,
            Self::Replaced => 2,
            Self::Revoked => 3,
            Self::Internal => 4,
            Self::Other(code) => code,
        }
    }

    const fn from_wire(code: u16) -> Self {
        match code {
            0 => Self::Normal,
            1 => Self::ProtocolError,
            2 => Self::Replaced,
            3 => Self::Revoked,
            4 => Self::Internal,
            other => Self::Other(other),
        }
    }
}

/// What is wrong with a message. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The message ends inside a frame.
    #[error("message ends inside a frame")]
    Truncated,
    /// A frame's length does not fit its type.
    #[error("frame of type {kind:#04x} has the impossible length {len}")]
    BadLength {
        /// Type byte.
        kind: u8,
        /// Length the header promised.
        len: usize,
    },
    /// A type below `0x80` that this version does not know.
    #[error("unknown frame type {0:#04x}")]
    UnknownType(u8),
    /// A reason that is not UTF-8.
    #[error("reason is not UTF-8")]
    BadText,
}

/// Takes the next frame off the front of `message`, skipping what may be skipped. `None` at its end.
///
/// # Errors
///
/// See [`FrameError`]. After an error the rest of the message must not be used.
pub fn decode(message: &mut Bytes) -> Result<Option<Frame>, FrameError> {
    loop {
        if message.is_empty() {
            return Ok(None);
        }
        if message.len() < HEADER {
            return Err(FrameError::Truncated);
        }
        let head = message.get_u32();
        let kind = (head >> 24) as u8;
        let len = (head & 0x00ff_ffff) as usize;
        if message.len() < len {
            return Err(FrameError::Truncated);
        }
        let body = message.split_to(len);
        if kind < FIRST_SKIPPABLE || kind == WANT_LANE {
            return decode_body(kind, body).map(Some);
        }
    }
}

fn decode_body(kind: u8, mut body: Bytes) -> Result<Frame, FrameError> {
    let len = body.len();
    let fits = match kind {
        DATA => len > 16 && len <= 16 + MAX_PAYLOAD,
        ACK | PING | PONG => len == 8,
        DRAIN => (4..=4 + MAX_REASON).contains(&len),
        CLOSE => (2..=2 + MAX_REASON).contains(&len),
        WANT_LANE => len == 4,
        other => return Err(FrameError::UnknownType(other)),
    };
    if !fits {
        return Err(FrameError::BadLength { kind, len });
    }
    Ok(match kind {
        DATA => Frame::Data {
            offset: Offset(body.get_u64()),
            received: Offset(body.get_u64()),
            payload: body,
        },
        ACK => Frame::Ack(Offset(body.get_u64())),
        PING => Frame::Ping(body.get_u64()),
        PONG => Frame::Pong(body.get_u64()),
        DRAIN => Frame::Drain {
            deadline_ms: body.get_u32(),
            reason: text(&body)?,
        },
        WANT_LANE => Frame::WantLane(body.get_u32()),
        _ => Frame::Close {
            code: CloseCode::from_wire(body.get_u16()),
            reason: text(&body)?,
        },
    })
}

fn text(body: &[u8]) -> Result<String, FrameError> {
    std::str::from_utf8(body)
        .map(str::to_owned)
        .map_err(|_| FrameError::BadText)
}

/// Appends `frame` to `out`. A reason over [`MAX_REASON`] bytes is cut at a character.
///
/// Data frames built by a [`crate::link::Link`] do not come through here: their header is written
/// in front of bytes that are already in place ([`data_header`]).
pub fn encode(frame: &Frame, out: &mut BytesMut) {
    match frame {
        Frame::Data {
            offset,
            received,
            payload,
        } => {
            out.put_slice(&data_header(*offset, *received, payload.len()));
            out.put_slice(payload);
        }
        Frame::Ack(Offset(n)) => put_number(out, ACK, *n),
        Frame::Ping(id) => put_number(out, PING, *id),
        Frame::Pong(id) => put_number(out, PONG, *id),
        Frame::Drain {
            deadline_ms,
            reason,
        } => {
            let reason = cut(reason);
            put_head(out, DRAIN, 4 + reason.len());
            out.put_u32(*deadline_ms);
            out.put_slice(reason.as_bytes());
        }
        Frame::Close { code, reason } => {
            let reason = cut(reason);
            put_head(out, CLOSE, 2 + reason.len());
            out.put_u16(code.to_wire());
            out.put_slice(reason.as_bytes());
        }
        Frame::WantLane(number) => {
            put_head(out, WANT_LANE, 4);
            out.put_u32(*number);
        }
    }
}

/// The bytes in front of a data frame's payload of `len` bytes.
#[must_use]
pub fn data_header(offset: Offset, received: Offset, len: usize) -> [u8; DATA_HEADER] {
    let mut header = [0; DATA_HEADER];
    header[..4].copy_from_slice(&head(DATA, 16 + len).to_be_bytes());
    header[4..12].copy_from_slice(&offset.0.to_be_bytes());
    header[12..].copy_from_slice(&received.0.to_be_bytes());
    header
}

const fn head(kind: u8, len: usize) -> u32 {
    ((kind as u32) << 24) | (len as u32 & 0x00ff_ffff)
}

fn put_head(out: &mut BytesMut, kind: u8, len: usize) {
    out.put_u32(head(kind, len));
}

fn put_number(out: &mut BytesMut, kind: u8, number: u64) {
    put_head(out, kind, 8);
    out.put_u64(number);
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(frame, &mut out);
        out.to_vec()
    }

    #[test]
    fn golden_bytes_of_every_frame() {
        let golden: [(Frame, &[u8]); 7] = [
            (
                Frame::Data {
                    offset: Offset(0x0102),
                    received: Offset(0x0304),
                    payload: Bytes::from_static(b"hi"),
                },
                b"\x01\x00\x00\x12\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x03\x04hi",
            ),
            (Frame::Ack(Offset(7)), b"\x02\x00\x00\x08\0\0\0\0\0\0\0\x07"),
            (Frame::Ping(8), b"\x03\x00\x00\x08\0\0\0\0\0\0\0\x08"),
            (Frame::Pong(9), b"\x04\x00\x00\x08\0\0\0\0\0\0\0\x09"),
            (
                Frame::Drain {
                    deadline_ms: 30_000,
                    reason: "bye".into(),
                },
                b"\x05\x00\x00\x07\x00\x00\x75\x30bye",
            ),
            (
                Frame::Close {
                    code: CloseCode::Replaced,
                    reason: "new".into(),
                },
                b"\x06\x00\x00\x05\x00\x02new",
            ),
            (Frame::WantLane(3), b"\x81\x00\x00\x04\x00\x00\x00\x03"),
        ];
        for (frame, bytes) in golden {
            assert_eq!(bytes_of(&frame), bytes, "{frame:?}");
            let mut message = Bytes::copy_from_slice(bytes);
            assert_eq!(decode(&mut message), Ok(Some(frame)));
            assert_eq!(decode(&mut message), Ok(None));
        }
    }

    #[test]
    fn skips_unknown_types_from_0x80_and_refuses_lower_ones() {
        let mut message =
            Bytes::from_static(b"\x90\x00\x00\x03abc\x02\x00\x00\x08\0\0\0\0\0\0\0\x07");
        assert_eq!(decode(&mut message), Ok(Some(Frame::Ack(Offset(7)))));
        let mut message = Bytes::from_static(b"\x10\x00\x00\x00");
        assert_eq!(decode(&mut message), Err(FrameError::UnknownType(0x10)));
    }

    #[test]
    fn refuses_lengths_that_do_not_fit() {
        for (bytes, error) in [
            (&b"\x01\x00"[..], FrameError::Truncated),
            (b"\x03\x00\x00\x08\0\0", FrameError::Truncated),
            (
                b"\x03\x00\x00\x02\0\0",
                FrameError::BadLength { kind: PING, len: 2 },
            ),
            (
                b"\x01\x00\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                FrameError::BadLength {
                    kind: DATA,
                    len: 16,
                },
            ),
            (b"\x06\x00\x00\x03\0\0\xff", FrameError::BadText),
            (
                b"\x81\x00\x00\x03\0\0\0",
                FrameError::BadLength {
                    kind: WANT_LANE,
                    len: 3,
                },
            ),
        ] {
            assert_eq!(decode(&mut Bytes::copy_from_slice(bytes)), Err(error));
        }
    }

    #[test]
    fn cuts_a_long_reason_at_a_character() {
        let frame = Frame::Close {
            code: CloseCode::Normal,
            reason: "é".repeat(MAX_REASON),
        };
        let Ok(Some(Frame::Close { reason, .. })) = decode(&mut bytes_of(&frame).into()) else {
            panic!("not a close frame");
        };
        assert_eq!(reason, "é".repeat(MAX_REASON / 2));
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let reason = "\\PC{0,40}";
        prop_oneof![
            (
                any::<u64>(),
                any::<u64>(),
                prop::collection::vec(any::<u8>(), 1..2000)
            )
                .prop_map(|(offset, received, payload)| Frame::Data {
                    offset: Offset(offset),
                    received: Offset(received),
                    payload: payload.into(),
                }),
            any::<u64>().prop_map(|n| Frame::Ack(Offset(n))),
            any::<u64>().prop_map(Frame::Ping),
            any::<u64>().prop_map(Frame::Pong),
            (any::<u32>(), reason).prop_map(|(deadline_ms, reason)| Frame::Drain {
                deadline_ms,
                reason
            }),
            (any::<u16>(), reason).prop_map(|(code, reason)| Frame::Close {
                code: CloseCode::from_wire(code),
                reason
            }),
            any::<u32>().prop_map(Frame::WantLane),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(frames in prop::collection::vec(any_frame(), 0..8)) {
            let mut out = BytesMut::new();
            for frame in &frames {
                encode(frame, &mut out);
            }
            let mut message = out.freeze();
            for frame in frames {
                prop_assert_eq!(decode(&mut message), Ok(Some(frame)));
            }
            prop_assert_eq!(decode(&mut message), Ok(None));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut message = Bytes::from(bytes);
            while let Ok(Some(_)) = decode(&mut message) {}
        }
    }
}
