//! The frames of the multiplexer: one codec, and a reader that takes them from bytes as they come.

use super::{MuxError, StreamId};
use crate::stream::Class;
use bytes::{Buf, Bytes};

/// Kind, length and stream.
pub const HEADER: usize = 8;

/// Longest body of a data frame, in bytes.
pub const MAX_DATA: usize = 64 * 1024;

/// Longest body of any other frame that is known, in bytes.
pub(super) const MAX_CONTROL: usize = 8;

const OPEN: u8 = 0x01;
const DATA: u8 = 0x02;
const FIN: u8 = 0x03;
const RESET: u8 = 0x04;
const CREDIT: u8 = 0x05;
const CLASS: u8 = 0x06;
const FIRST_SKIPPABLE: u8 = 0x80;

/// A frame without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// A new stream, of this class. Its opener takes so many bytes on it.
    Open { class: Class, credit: u32 },
    /// The sender sends nothing more.
    Fin,
    /// The stream is over, both ways.
    Reset(u32),
    /// The sender of this frame takes bytes up to this offset.
    Credit(u64),
    /// What the stream is for has turned out otherwise.
    Class(Class),
}

impl Control {
    /// The frame's bytes, in the front of the array, and how many they are.
    pub(super) fn encode(self, stream: StreamId) -> ([u8; HEADER + MAX_CONTROL], usize) {
        let mut out = [0; HEADER + MAX_CONTROL];
        let body = &mut out[HEADER..];
        let (kind, len) = match self {
            Self::Open { class, credit } => {
                body[0] = class.index() as u8;
                body[1..5].copy_from_slice(&credit.to_be_bytes());
                (OPEN, 5)
            }
            Self::Fin => (FIN, 0),
            Self::Reset(code) => {
                body[..4].copy_from_slice(&code.to_be_bytes());
                (RESET, 4)
            }
            Self::Credit(limit) => {
                body[..8].copy_from_slice(&limit.to_be_bytes());
                (CREDIT, 8)
            }
            Self::Class(class) => {
                body[0] = class.index() as u8;
                (CLASS, 1)
            }
        };
        out[..HEADER].copy_from_slice(&header(kind, len, stream));
        (out, HEADER + len)
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, MuxError> {
        let mut rest = body;
        Ok(match kind {
            OPEN => Self::Open {
                class: class(rest.get_u8())?,
                credit: rest.get_u32(),
            },
            FIN => Self::Fin,
            RESET => Self::Reset(rest.get_u32()),
            CREDIT => Self::Credit(rest.get_u64()),
            CLASS => Self::Class(class(rest.get_u8())?),
            other => return Err(MuxError::UnknownKind(other)),
        })
    }
}

fn class(index: u8) -> Result<Class, MuxError> {
    let class = Class::ALL.get(usize::from(index));
    class.copied().ok_or(MuxError::UnknownClass(index))
}

/// The header of a data frame.
pub(super) fn data_header(stream: StreamId, len: usize) -> [u8; HEADER] {
    header(DATA, len, stream)
}

fn header(kind: u8, len: usize, stream: StreamId) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let head = (u32::from(kind) << 24) | (len as u32 & 0x00ff_ffff);
    out[..4].copy_from_slice(&head.to_be_bytes());
    out[4..].copy_from_slice(&stream.0.to_be_bytes());
    out
}

/// What the reader has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Control(StreamId, Control),
    /// A part of a data frame, as far as it has come.
    Data(StreamId, Bytes),
}

/// Takes frames from bytes that come in any pieces; holds at most one header and one short body.
#[derive(Debug)]
pub(super) struct Reader {
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Filling<HEADER>),
    Control {
        kind: u8,
        stream: StreamId,
        len: usize,
        body: Filling<MAX_CONTROL>,
    },
    Data {
        stream: StreamId,
        left: usize,
    },
    Skipped {
        left: usize,
    },
}

#[derive(Debug)]
struct Filling<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Filling<N> {
    const EMPTY: Self = Self {
        bytes: [0; N],
        filled: 0,
    };

    /// Whether the first `len` bytes are there, after taking what is missing of them.
    fn fill(&mut self, len: usize, from: &mut Bytes) -> bool {
        let missing = (len - self.filled).min(from.len());
        from.copy_to_slice(&mut self.bytes[self.filled..self.filled + missing]);
        self.filled += missing;
        self.filled == len
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header(Filling::EMPTY),
        }
    }

    /// The next item from the front of `bytes`; `None` when it takes more of them.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Item>, MuxError> {
        loop {
            let (next, item) = match &mut self.state {
                State::Header(head) => {
                    if !head.fill(HEADER, bytes) {
                        return Ok(None);
                    }
                    (after_header(head.bytes)?, None)
                }
                State::Control {
                    kind,
                    stream,
                    len,
                    body,
                } => {
                    if !body.fill(*len, bytes) {
                        return Ok(None);
                    }
                    let control = Control::decode(*kind, &body.bytes[..*len])?;
                    let item = Item::Control(*stream, control);
                    (State::Header(Filling::EMPTY), Some(item))
                }
                State::Data { stream, left } => {
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    let part = bytes.split_to(bytes.len().min(*left));
                    *left -= part.len();
                    let item = Item::Data(*stream, part);
                    if *left > 0 {
                        return Ok(Some(item));
                    }
                    (State::Header(Filling::EMPTY), Some(item))
                }
                State::Skipped { left } => {
                    let now = bytes.len().min(*left);
                    bytes.advance(now);
                    *left -= now;
                    if *left > 0 {
                        return Ok(None);
                    }
                    (State::Header(Filling::EMPTY), None)
                }
            };
            self.state = next;
            if item.is_some() {
                return Ok(item);
            }
        }
    }
}

fn after_header(head: [u8; HEADER]) -> Result<State, MuxError> {
    let mut head = &head[..];
    let first = head.get_u32();
    let (kind, len) = ((first >> 24) as u8, (first & 0x00ff_ffff) as usize);
    let stream = StreamId(head.get_u32());
    let fits = match kind {
        DATA => (1..=MAX_DATA).contains(&len),
        OPEN => len == 5,
        FIN => len == 0,
        RESET => len == 4,
        CREDIT => len == 8,
        CLASS => len == 1,
        FIRST_SKIPPABLE.. => true,
        unknown => return Err(MuxError::UnknownKind(unknown)),
    };
    if !fits {
        return Err(MuxError::BadLength { kind, len });
    }
    Ok(match kind {
        DATA => State::Data { stream, left: len },
        FIRST_SKIPPABLE.. => State::Skipped { left: len },
        _ => State::Control {
            kind,
            stream,
            len,
            body: Filling::EMPTY,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: StreamId = StreamId(0x0102_0304);

    fn encoded(control: Control) -> Vec<u8> {
        let (bytes, len) = control.encode(STREAM);
        bytes[..len].to_vec()
    }

    fn all(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Item>, MuxError> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        let mut items = Vec::new();
        while let Some(item) = reader.next(&mut bytes)? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn golden_bytes_of_every_frame() {
        let golden: [(Control, &[u8]); 5] = [
            (
                Control::Open {
                    class: Class::Watch,
                    credit: 0x0001_0000,
                },
                b"\x01\0\0\x05\x01\x02\x03\x04\x02\0\x01\0\0",
            ),
            (Control::Fin, b"\x03\0\0\0\x01\x02\x03\x04"),
            (Control::Reset(7), b"\x04\0\0\x04\x01\x02\x03\x04\0\0\0\x07"),
            (
                Control::Credit(9),
                b"\x05\0\0\x08\x01\x02\x03\x04\0\0\0\0\0\0\0\x09",
            ),
            (
                Control::Class(Class::Bulk),
                b"\x06\0\0\x01\x01\x02\x03\x04\x03",
            ),
        ];
        for (control, bytes) in golden {
            assert_eq!(encoded(control), bytes, "{control:?}");
            let items = all(&mut Reader::new(), bytes).unwrap();
            assert_eq!(items, [Item::Control(STREAM, control)]);
        }
        assert_eq!(data_header(STREAM, 2), *b"\x02\0\0\x02\x01\x02\x03\x04");
    }

    #[test]
    fn skips_unknown_kinds_from_0x80_and_refuses_lower_ones() {
        let skipped = [&b"\x80\0\0\x03\0\0\0\0abc"[..], &encoded(Control::Fin)].concat();
        assert_eq!(
            all(&mut Reader::new(), &skipped),
            Ok(vec![Item::Control(STREAM, Control::Fin)])
        );
        assert_eq!(
            all(&mut Reader::new(), b"\x07\0\0\0\0\0\0\x01"),
            Err(MuxError::UnknownKind(7))
        );
    }

    #[test]
    fn refuses_what_cannot_be() {
        for (bytes, error) in [
            (
                &b"\x02\0\0\0\0\0\0\x01"[..],
                MuxError::BadLength { kind: DATA, len: 0 },
            ),
            (
                b"\x02\x01\0\x01\0\0\0\x01",
                MuxError::BadLength {
                    kind: DATA,
                    len: MAX_DATA + 1,
                },
            ),
            (b"\x06\0\0\x01\0\0\0\x01\x09", MuxError::UnknownClass(9)),
        ] {
            assert_eq!(all(&mut Reader::new(), bytes), Err(error));
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_however_their_bytes_are_cut(
            cuts in prop::collection::vec(1..40_usize, 1..60), lens in prop::collection::vec(1..300_usize, 1..10),
        ) {
            let mut wire = Vec::new();
            for (index, len) in lens.iter().enumerate() {
                wire.extend_from_slice(&encoded(Control::Credit(index as u64)));
                wire.extend_from_slice(&data_header(STREAM, *len));
                wire.extend(std::iter::repeat_n(index as u8, *len));
            }
            let mut reader = Reader::new();
            let (mut data, mut credits) = (Vec::new(), Vec::new());
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                for item in all(&mut reader, piece).unwrap() {
                    match item {
                        Item::Data(_, part) => data.extend_from_slice(&part),
                        Item::Control(_, control) => credits.push(control),
                    }
                }
                rest = later;
                if rest.is_empty() { break; }
            }
            let wanted: Vec<u8> = lens.iter().enumerate().flat_map(|(index, len)| vec![index as u8; *len]).collect();
            prop_assert_eq!(data, wanted);
            prop_assert_eq!(credits.len(), lens.len());
        }
    }
}
