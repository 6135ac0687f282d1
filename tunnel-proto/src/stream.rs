//! What the opener of a multiplexed stream says first, and what the acceptor answers.
//!
//! Preamble: `[u16 type][u32 length][body]`; the body of type 1 is [`OpenV1`] in bincode.
//! Answer: one status byte; for anything but `0x00`, `[u32 length][body]` follows, the body being
//! [`RefusalV1`] in bincode. The acceptor answers as soon as it has read the preamble, since a
//! yamux peer may open no more than 256 streams that were not answered yet. The opener may send
//! data behind the preamble without waiting.
//!
//! The types here are frozen: a new field is a new type (`OpenV2`), because bincode does not
//! describe itself.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Largest body of a preamble or refusal, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// Type and length in front of a preamble's body.
pub const PREAMBLE_HEADER: usize = 6;

/// Length in front of a refusal's body.
pub const REFUSAL_HEADER: usize = 4;

const OPEN_V1: u16 = 1;

/// Opens a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenV1 {
    /// Whom the stream is for.
    pub target: Target,
    /// What the stream is for.
    pub class: Class,
    /// Joins log lines and traces of both ends; 16 random bytes, or those of a W3C trace id.
    pub trace: [u8; 16],
    /// Milliseconds within which the acceptor must have answered; 0: its own default.
    pub deadline_ms: u32,
}

/// Whom a stream is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The API server of the agent's cluster, spoken to in HTTP/1.1 with kept-alive connections.
    KubeApi,
    /// The agent's own HTTP API.
    AgentApi,
    /// The server's HTTP API (agent to server).
    ServerApi,
    /// A TCP connection to `host:port`, if the agent's policy allows it.
    Dial(String),
    /// The server's own listener (node agents through the cluster agent).
    ServerListener,
}

/// What a stream is for; decides its lane and its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Health checks and orders.
    Control,
    /// A person waits for it.
    Interactive,
    /// Long and mostly quiet.
    Watch,
    /// As much as the network gives, behind everything else.
    Bulk,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Interactive, Self::Watch, Self::Bulk];

    /// Its place in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The acceptor's answer to a preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The stream is open.
    Opened,
    /// It is not.
    Refused(Refusal),
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// For a program.
    pub reason: RefusalReason,
    /// For a person.
    pub message: String,
}

/// Why a stream was not opened, ordered by whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The preamble could not be read.
    #[error("malformed preamble")]
    Malformed,
    /// The acceptor has no such target.
    #[error("target not served")]
    NotServed,
    /// The acceptor's policy forbids it.
    #[error("not permitted")]
    NotPermitted,
    /// The target could not be reached.
    #[error("dial failed")]
    DialFailed,
    /// Too many streams, or the acceptor is leaving.
    #[error("busy")]
    Busy,
    /// The opener's deadline passed.
    #[error("deadline passed")]
    Deadline,
    /// A reason of a later version.
    #[error("refused with code {0}")]
    Other(u8),
}

impl RefusalReason {
    const fn to_wire(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::NotServed => 2,
            Self::NotPermitted => 3,
            Self::DialFailed => 4,
            Self::Busy => 5,
            Self::Deadline => 6,
            Self::Other(code) => code,
        }
    }

    const fn from_wire(code: u8) -> Self {
        match code {
            1 => Self::Malformed,
            2 => Self::NotServed,
            3 => Self::NotPermitted,
            4 => Self::DialFailed,
            5 => Self::Busy,
            6 => Self::Deadline,
            other => Self::Other(other),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RefusalV1 {
    message: String,
}

/// What is wrong with a preamble or an answer. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A preamble of a type this version does not know.
    #[error("unknown preamble type {0}")]
    UnknownType(u16),
    /// A body longer than [`MAX_BODY`].
    #[error("body of {0} bytes is over the limit of {MAX_BODY}")]
    TooLong(usize),
    /// A body that is not what its type says, or has bytes behind it.
    #[error("body cannot be decoded")]
    BadBody,
}

/// The preamble's bytes.
///
/// # Errors
///
/// [`StreamError::TooLong`] if a dial target is absurdly long.
pub fn encode_open(open: &OpenV1) -> Result<BytesMut, StreamError> {
    let body = encode_body(open)?;
    let mut out = BytesMut::with_capacity(PREAMBLE_HEADER + body.len());
    out.put_u16(OPEN_V1);
    out.put_u32(body.len() as u32);
    out.put_slice(&body);
    Ok(out)
}

/// Reads a preamble's header: how many bytes of body follow.
///
/// # Errors
///
/// An unknown type or a length over the limit.
pub fn decode_open_header(header: [u8; PREAMBLE_HEADER]) -> Result<usize, StreamError> {
    let [t0, t1, l0, l1, l2, l3] = header;
    match u16::from_be_bytes([t0, t1]) {
        OPEN_V1 => body_len([l0, l1, l2, l3]),
        other => Err(StreamError::UnknownType(other)),
    }
}

/// Reads a preamble's body.
///
/// # Errors
///
/// [`StreamError::BadBody`].
pub fn decode_open(body: &[u8]) -> Result<OpenV1, StreamError> {
    decode_body(body)
}

/// The answer's bytes. A message over the limit is cut.
#[must_use]
pub fn encode_reply(reply: &Reply) -> BytesMut {
    let Reply::Refused(refusal) = reply else {
        return BytesMut::from(&[0_u8][..]);
    };
    let cut = refusal.message.floor_char_boundary(MAX_BODY - 16);
    let body = encode_body(&RefusalV1 {
        message: refusal.message[..cut].to_owned(),
    })
    .unwrap_or_default();
    let mut out = BytesMut::with_capacity(1 + REFUSAL_HEADER + body.len());
    out.put_u8(refusal.reason.to_wire().max(1));
    out.put_u32(body.len() as u32);
    out.put_slice(&body);
    out
}

/// What the status byte says: `None` if the stream is open, else why not (a refusal body follows).
#[must_use]
pub fn decode_status(status: u8) -> Option<RefusalReason> {
    (status != 0).then(|| RefusalReason::from_wire(status))
}

/// Reads a refusal's length.
///
/// # Errors
///
/// A length over the limit.
pub fn decode_refusal_header(header: [u8; REFUSAL_HEADER]) -> Result<usize, StreamError> {
    body_len(header)
}

/// Reads a refusal's body.
///
/// # Errors
///
/// [`StreamError::BadBody`].
pub fn decode_refusal(reason: RefusalReason, body: &[u8]) -> Result<Refusal, StreamError> {
    let RefusalV1 { message } = decode_body(body)?;
    Ok(Refusal { reason, message })
}

fn body_len(bytes: [u8; 4]) -> Result<usize, StreamError> {
    let len = u32::from_be_bytes(bytes) as usize;
    if len > MAX_BODY {
        return Err(StreamError::TooLong(len));
    }
    Ok(len)
}

// Without the limit, fourteen hostile bytes make bincode ask for a terabyte and abort the process.
const WIRE: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODED>,
> = bincode::config::standard().with_limit::<DECODED>();

// bincode counts more than the bytes it reads; what is encoded must decode.
const DECODED: usize = 2 * MAX_BODY;

fn encode_body<T: Serialize>(value: &T) -> Result<Vec<u8>, StreamError> {
    let body = bincode::serde::encode_to_vec(value, WIRE).map_err(|_| StreamError::BadBody)?;
    if body.len() > MAX_BODY {
        return Err(StreamError::TooLong(body.len()));
    }
    Ok(body)
}

fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, StreamError> {
    let (value, used) =
        bincode::serde::decode_from_slice(body, WIRE).map_err(|_| StreamError::BadBody)?;
    if used != body.len() {
        return Err(StreamError::BadBody);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(target: Target) -> OpenV1 {
        OpenV1 {
            target,
            class: Class::Watch,
            trace: [7; 16],
            deadline_ms: 10_000,
        }
    }

    #[test]
    fn golden_bytes_of_a_preamble() {
        let trace = [7; 16];
        let cases: [(Target, &[u8]); 3] = [
            (Target::KubeApi, &[0]),
            (Target::Dial("a:1".into()), &[3, 3, b'a', b':', b'1']),
            (Target::ServerListener, &[4]),
        ];
        for (target, encoded) in cases {
            let body = [encoded, &[2], &trace, &[251, 0x10, 0x27]].concat();
            let golden = [&[0, 1, 0, 0, 0, body.len() as u8][..], &body].concat();
            assert_eq!(encode_open(&open(target.clone())).unwrap(), golden);
            assert_eq!(decode_open(&body), Ok(open(target)));
        }
    }

    #[test]
    fn golden_bytes_of_an_answer() {
        assert_eq!(encode_reply(&Reply::Opened), &[0][..]);
        let refused = Reply::Refused(Refusal {
            reason: RefusalReason::Busy,
            message: "full".into(),
        });
        assert_eq!(encode_reply(&refused), &b"\x05\x00\x00\x00\x05\x04full"[..]);
        assert_eq!(decode_status(0), None);
        assert_eq!(decode_status(5), Some(RefusalReason::Busy));
        assert_eq!(
            decode_refusal(RefusalReason::Busy, b"\x04full").map(Reply::Refused),
            Ok(refused)
        );
    }

    #[test]
    fn whatever_is_encoded_decodes() {
        for len in MAX_BODY - 64..MAX_BODY + 8 {
            let long = open(Target::Dial("x".repeat(len)));
            if let Ok(bytes) = encode_open(&long) {
                assert_eq!(decode_open(&bytes[PREAMBLE_HEADER..]), Ok(long), "{len}");
            }
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_it_is_believed() {
        assert_eq!(
            decode_open_header([0, 1, 0xff, 0xff, 0xff, 0xff]),
            Err(StreamError::TooLong(0xffff_ffff))
        );
        // Target::Dial with a string of 2^60 bytes.
        let body = [3, 253, 0, 0, 0, 0, 0, 0, 0, 16, 1, 1, 1, 1];
        assert_eq!(decode_open(&body), Err(StreamError::BadBody));
    }

    #[test]
    fn bytes_behind_a_body_are_refused() {
        let mut bytes = encode_open(&open(Target::AgentApi))
            .unwrap()
            .split_off(PREAMBLE_HEADER);
        bytes.put_u8(0);
        assert_eq!(decode_open(&bytes), Err(StreamError::BadBody));
    }

    #[test]
    fn a_refusal_is_never_encoded_as_success() {
        let refused = Reply::Refused(Refusal {
            reason: RefusalReason::Other(0),
            message: "x".repeat(2 * MAX_BODY),
        });
        let bytes = encode_reply(&refused);
        assert_ne!(bytes[0], 0);
        assert!(bytes.len() <= 1 + REFUSAL_HEADER + MAX_BODY && bytes.len() > MAX_BODY / 2);
    }

    proptest! {
        #[test]
        fn opens_survive_the_wire(host in "\\PC{0,60}", trace in any::<[u8; 16]>(), deadline_ms in any::<u32>()) {
            let open = OpenV1 { target: Target::Dial(host), class: Class::Bulk, trace, deadline_ms };
            let bytes = encode_open(&open).unwrap();
            let header: [u8; PREAMBLE_HEADER] = bytes[..PREAMBLE_HEADER].try_into().unwrap();
            prop_assert_eq!(decode_open_header(header), Ok(bytes.len() - PREAMBLE_HEADER));
            prop_assert_eq!(decode_open(&bytes[PREAMBLE_HEADER..]), Ok(open));
        }

        #[test]
        fn arbitrary_bodies_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_open(&bytes);
            let _ = decode_refusal(RefusalReason::Busy, &bytes);
        }
    }
}
