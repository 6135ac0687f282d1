//! Whatever two peers send, it is read the same way however it is cut, what is told is no more than
//! what was sent, and the recording of it is lines of JSON.
//!
//! An input is a byte that chooses the protocol, then pieces: a byte whose lowest bit says who sends,
//! two bytes of length, as many bytes.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use remotecommand::{Cast, Error, Event, Exit, Peer, Protocol, Session};

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let protocol = match first & 1 {
        0 => Protocol::WebSocket,
        _ => Protocol::Spdy,
    };
    let sent = pieces(rest);
    let (whole, result) = read(protocol, &sent, usize::MAX);
    let (cut, again) = read(protocol, &sent, 1);
    assert_eq!(result, again);
    assert_eq!(whole, cut);
    let told = whole.input.len() + whole.output.len() + whole.errors.len();
    assert!(told <= input.len(), "more was told than was sent");
    assert!(whole.exits.len() <= 1, "it ended twice");
    record(protocol, &sent);
});

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    input: Vec<u8>,
    output: Vec<u8>,
    errors: Vec<u8>,
    sizes: Vec<(u16, u16)>,
    exits: Vec<Exit>,
}

fn pieces(mut input: &[u8]) -> Vec<(Peer, &[u8])> {
    let mut pieces = Vec::new();
    while let Some((&[who, high, low], rest)) = input.split_first_chunk() {
        let from = if who & 1 == 0 {
            Peer::Client
        } else {
            Peer::Cluster
        };
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push((from, piece));
        input = rest;
    }
    pieces
}

fn read(protocol: Protocol, sent: &[(Peer, &[u8])], most: usize) -> (Told, Result<(), Error>) {
    let mut session = Session::new(protocol);
    let mut told = Told::default();
    for (from, bytes) in sent {
        for piece in bytes.chunks(most) {
            let taken = session.take(*from, piece, &mut |event| match event {
                Event::Stdin(data) => told.input.extend_from_slice(data),
                Event::Stdout(data) => told.output.extend_from_slice(data),
                Event::Stderr(data) => told.errors.extend_from_slice(data),
                Event::Resize(size) => told.sizes.push((size.width, size.height)),
                Event::Ended(exit) => told.exits.push(exit),
            });
            if taken.is_err() {
                return (told, taken);
            }
        }
    }
    let farewell = session.farewell("the end");
    assert!(farewell.is_none_or(|bytes| bytes.len() < 400));
    (told, Ok(()))
}

fn record(protocol: Protocol, sent: &[(Peer, &[u8])]) {
    let mut session = Session::new(protocol);
    let mut cast = Cast::new(false, true);
    let mut lines = Vec::new();
    for (at, (from, bytes)) in sent.iter().enumerate() {
        let at = Duration::from_millis(at as u64);
        let taken = session.take(*from, bytes, &mut |event| {
            cast.write(at, &event, &mut lines)
        });
        if taken.is_err() {
            break;
        }
    }
    cast.finish(Duration::from_secs(1), "end", &mut lines);
    let text = std::str::from_utf8(&lines).expect("a recording is text");
    for line in text.lines() {
        let (_, code, _): (f64, char, String) = serde_json::from_str(line).expect("an event");
        assert!("iorm".contains(code));
    }
}
