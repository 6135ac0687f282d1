//! Frames by hand, right or wrong: what `tunnel-proto/SPEC.md` says, without the code that follows it.

use crate::support::open_to;
use tunnel_proto::stream::{Target, encode_open};

/// Types of link frames.
pub mod link {
    pub const DATA: u8 = 0x01;
    pub const ACK: u8 = 0x02;
    pub const PING: u8 = 0x03;
    pub const PONG: u8 = 0x04;
    pub const DRAIN: u8 = 0x05;
    pub const CLOSE: u8 = 0x06;
    pub const UNKNOWN: u8 = 0x07;
    pub const SKIPPED: u8 = 0x80;
}

/// Kinds of frames of `lariat/1`.
pub mod mux {
    pub const OPEN: u8 = 0x01;
    pub const DATA: u8 = 0x02;
    pub const FIN: u8 = 0x03;
    pub const RESET: u8 = 0x04;
    pub const CREDIT: u8 = 0x05;
    pub const CLASS: u8 = 0x06;
    pub const UNKNOWN: u8 = 0x07;
    pub const SKIPPED: u8 = 0x80;
}

/// Types and flags of yamux frames.
pub mod yamux {
    pub const DATA: u8 = 0;
    pub const WINDOW: u8 = 1;
    pub const PING: u8 = 2;
    pub const GO_AWAY: u8 = 3;
    pub const UNKNOWN: u8 = 4;

    pub const SYN: u16 = 1;
    pub const FIN: u16 = 4;
    pub const RST: u16 = 8;
}

/// Longest payload of a link's DATA.
pub const MOST: usize = 65_536;

fn head(kind: u8, len: usize) -> [u8; 4] {
    ((u32::from(kind) << 24) | (len as u32 & 0x00ff_ffff)).to_be_bytes()
}

pub fn link_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&head(kind, body.len())[..], body].concat()
}

pub fn link_data(offset: u64, received: u64, payload: &[u8]) -> Vec<u8> {
    let numbers = [offset.to_be_bytes(), received.to_be_bytes()].concat();
    link_frame(link::DATA, &[&numbers, payload].concat())
}

pub fn mux_frame(kind: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    [&head(kind, body.len())[..], &stream.to_be_bytes(), body].concat()
}

/// An interactive stream whose opener takes so many bytes.
pub fn mux_open(stream: u32, credit: u32) -> Vec<u8> {
    let body = [&[1][..], &credit.to_be_bytes()].concat();
    mux_frame(mux::OPEN, stream, &body)
}

/// As many DATA frames as the bytes take.
pub fn mux_data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let frames = bytes.chunks(MOST);
    frames
        .flat_map(|body| mux_frame(mux::DATA, stream, body))
        .collect()
}

pub fn yamux_frame(kind: u8, flags: u16, stream: u32, len: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, kind];
    frame.extend(flags.to_be_bytes());
    frame.extend(stream.to_be_bytes());
    frame.extend(len.to_be_bytes());
    frame.extend(body);
    frame
}

pub fn yamux_data(flags: u16, stream: u32, body: &[u8]) -> Vec<u8> {
    yamux_frame(yamux::DATA, flags, stream, body.len() as u32, body)
}

/// A preamble for the cluster's API server.
pub fn preamble() -> Vec<u8> {
    encode_open(&open_to(Target::KubeApi)).unwrap().to_vec()
}

/// A stream with its preamble.
pub fn opened(stream: u32, credit: u32) -> Vec<u8> {
    [mux_open(stream, credit), mux_data(stream, &preamble())].concat()
}
