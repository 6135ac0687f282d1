//! Any message decodes to frames that encode to the same bytes again, or to an error.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tunnel_proto::frame::{FrameError, HEADER, decode, encode};

fuzz_target!(|input: &[u8]| {
    let mut message = Bytes::copy_from_slice(input);
    let mut encoded = BytesMut::new();
    let result = loop {
        match decode(&mut message) {
            Ok(Some(frame)) => encode(&frame, &mut encoded),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let known = without_skippable(input);
    assert!(known.starts_with(&encoded), "a frame changed on its way");
    match result {
        Ok(()) => assert_eq!(encoded.len(), known.len(), "bytes were lost"),
        Err(FrameError::UnknownType(kind)) => assert!(kind < 0x80),
        Err(_) => {}
    }
});

/// `message` without the whole frames that are skipped.
fn without_skippable(mut message: &[u8]) -> Vec<u8> {
    let mut known = Vec::new();
    while let Some((&[kind, a, b, c], body)) = message.split_first_chunk::<HEADER>() {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if body.len() < len {
            break;
        }
        let (frame, rest) = message.split_at(HEADER + len);
        if kind < 0x80 || kind == 0x81 {
            known.extend_from_slice(frame);
        }
        message = rest;
    }
    known.extend_from_slice(message);
    known
}
