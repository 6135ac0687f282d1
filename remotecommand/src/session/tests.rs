//! Connections as Kubernetes' programs make them, and as nobody should.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::Exit;

/// What was told, with pieces of one channel put together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    stdin: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    sizes: Vec<(u16, u16)>,
    ended: Vec<Exit>,
}

impl Told {
    fn note(&mut self, event: Event<'_>) {
        match event {
            Event::Stdin(bytes) => self.stdin.extend_from_slice(bytes),
            Event::Stdout(bytes) => self.stdout.extend_from_slice(bytes),
            Event::Stderr(bytes) => self.stderr.extend_from_slice(bytes),
            Event::Resize(size) => self.sizes.push((size.width, size.height)),
            Event::Ended(exit) => self.ended.push(exit),
        }
    }
}

/// Takes everything, in pieces of that length.
fn read(session: &mut Session, sent: &[(Peer, Vec<u8>)], piece: usize) -> Result<Told, Error> {
    let mut told = Told::default();
    for (from, bytes) in sent {
        for piece in bytes.chunks(piece) {
            session.take(*from, piece, &mut |event| told.note(event))?;
        }
    }
    Ok(told)
}

/// A frame of WebSocket, with the mask of a client.
fn frame(from: Peer, first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = from == Peer::Client;
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(bit | short as u8),
        long @ 126..=0xffff => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        longest => {
            bytes.push(bit | 127);
            bytes.extend_from_slice(&(longest as u64).to_be_bytes());
        }
    }
    let mask = if masked { [7, 77, 177, 0] } else { [0; 4] };
    if masked {
        bytes.extend_from_slice(&mask);
    }
    let hidden = payload.iter().enumerate();
    bytes.extend(hidden.map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

fn message(from: Peer, channel: u8, data: &[u8]) -> (Peer, Vec<u8>) {
    (from, frame(from, 0x82, &[&[channel], data].concat()))
}

const FAILURE: &[u8] = br#"{"metadata":{},"status":"Failure","message":"command terminated with exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;

const SIZE: &[u8] = b"{\"Width\":111,\"Height\":33}\n";

/// The same session in either protocol, and what it says.
fn expected() -> Told {
    Told {
        stdin: b"ls\r".to_vec(),
        stdout: [b"a".repeat(70_000), b"b".to_vec()].concat(),
        stderr: b"oh".to_vec(),
        sizes: vec![(111, 33)],
        ended: vec![Exit::Code(3)],
    }
}

fn by_websocket() -> Vec<(Peer, Vec<u8>)> {
    use Peer::{Client, Cluster};
    vec![
        message(Cluster, 1, b""),
        message(Client, 4, SIZE),
        message(Client, 0, b"ls\r"),
        (Client, frame(Client, 0x89, b"alive?")),
        (Cluster, frame(Cluster, 0x8a, b"alive?")),
        message(Cluster, 1, &b"a".repeat(70_000)),
        message(Cluster, 2, b"oh"),
        (Cluster, frame(Cluster, 0x81, b"\x01b")),
        message(Client, 255, b"\0"),
        message(Cluster, 3, FAILURE),
        (Cluster, frame(Cluster, 0x88, b"\x03\xe8")),
        (Client, frame(Client, 0x88, b"\x03\xe8")),
    ]
}

/// A client of SPDY.
struct Client(Compress);

impl Client {
    fn new() -> Self {
        let mut packing = Compress::new(Compression::best(), true);
        packing.set_dictionary(&crate::spdy::dictionary()).unwrap();
        Self(packing)
    }

    fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        self.pack(&block)
    }

    fn pack(&mut self, block: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(64 * 1024);
        let flush = FlushCompress::Sync;
        self.0.compress_vec(block, &mut packed, flush).unwrap();
        packed
    }

    fn open(&mut self, id: u32, channel: &str) -> (Peer, Vec<u8>) {
        let block = self.block(&[("streamtype", channel), ("port", "80")]);
        (Peer::Client, open(id, &block))
    }
}

fn open(id: u32, block: &[u8]) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &[0; 6], block].concat();
    control(1, 0, &payload)
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::from(flags) << 24 | payload.len() as u32;
    let kind = kind.to_be_bytes();
    [&[0x80, 3][..], &kind, &length.to_be_bytes(), payload].concat()
}

fn data(from: Peer, id: u32, flags: u8, data: &[u8]) -> (Peer, Vec<u8>) {
    let length = u32::from(flags) << 24 | data.len() as u32;
    let bytes = [&id.to_be_bytes()[..], &length.to_be_bytes(), data].concat();
    (from, bytes)
}

fn by_spdy() -> Vec<(Peer, Vec<u8>)> {
    use Peer::{Client as Asking, Cluster};
    let mut client = Client::new();
    let mut sent = vec![
        client.open(1, "error"),
        client.open(3, "stdin"),
        client.open(5, "stdout"),
        client.open(7, "stderr"),
        client.open(9, "resize"),
    ];
    sent.extend([
        (Cluster, control(2, 0, &[0, 0, 0, 1, 1, 2, 3])),
        (Cluster, control(4, 0, &[0, 0, 0, 0])),
        data(Asking, 9, 0, SIZE),
        data(Asking, 3, 0, b"ls\r"),
        (Asking, control(6, 0, &[0, 0, 0, 1])),
        (Cluster, control(6, 0, &[0, 0, 0, 1])),
        data(Cluster, 5, 0, &b"a".repeat(70_000)),
        (Asking, control(9, 0, &[0, 0, 0, 5, 0, 0, 1, 0])),
        data(Cluster, 7, 1, b"oh"),
        data(Cluster, 5, 1, b"b"),
        data(Cluster, 1, 0, FAILURE),
        data(Cluster, 1, 1, b""),
        (Asking, control(3, 0, &[0, 0, 0, 3, 0, 0, 0, 5])),
        (Asking, control(7, 0, &[0; 8])),
        data(Asking, 3, 1, b""),
    ]);
    sent
}

#[test]
fn a_session_is_read_however_it_is_cut() {
    for piece in [1, 3, 1000, usize::MAX] {
        let mut session = Session::new(Protocol::WebSocket);
        assert_eq!(read(&mut session, &by_websocket(), piece), Ok(expected()));
        let mut session = Session::new(Protocol::Spdy);
        assert_eq!(read(&mut session, &by_spdy(), piece), Ok(expected()));
    }
}

#[test]
fn what_websocket_could_mean_in_two_ways_is_refused() {
    use Peer::{Client, Cluster};
    let unmasked = frame(Cluster, 0x82, b"\0ls");
    let long = [&[0x82, 0xfe, 0, 3, 0, 0, 0, 0][..], b"\0ls"].concat();
    let longest = [&[0x82, 0x7f, 0x80][..], &[0; 7]].concat();
    for (from, bytes, expected) in [
        (Client, frame(Client, 0x02, b"\x04{"), "a part of a message"),
        (Client, frame(Client, 0x80, b"\0ls"), "an unknown kind"),
        (Client, frame(Client, 0xc2, b"\0ls"), "reserved bits"),
        (Client, frame(Client, 0x83, b"\0ls"), "an unknown kind"),
        (Client, frame(Client, 0x8b, b"\0ls"), "an unknown kind"),
        (Client, frame(Client, 0x82, b"\x09ls"), "an unknown channel"),
        (
            Client,
            frame(Client, 0x89, &[0; 126]),
            "a long payload that is no message",
        ),
        (Client, unmasked, "a mask of the wrong side"),
        (
            Cluster,
            frame(Client, 0x82, b"\x01ls"),
            "a mask of the wrong side",
        ),
        (Client, long, "a length that is not the shortest"),
        (Cluster, longest, "a length that is not the shortest"),
        (
            Client,
            [frame(Client, 0x88, b""), frame(Client, 0x82, b"\0ls")].concat(),
            "bytes after the last one",
        ),
    ] {
        let mut session = Session::new(Protocol::WebSocket);
        let found = read(&mut session, &[(from, bytes)], usize::MAX);
        assert_eq!(found, Err(Error::WebSocket(expected)));
        let again = session.take(Cluster, &frame(Cluster, 0x82, b"\x01a"), &mut |_| {});
        assert_eq!(again, Err(Error::WebSocket(expected)));
    }
}

#[test]
fn what_spdy_could_mean_in_two_ways_is_refused() {
    use Peer::{Client as Asking, Cluster};
    let stdin = |client: &mut Client| client.open(1, "stdin").1;
    let opened = |id: u32, headers: &[(&str, &str)]| {
        let block = Client::new().block(headers);
        open(id, &block)
    };
    // Which of them is left over for the next.
    let surplus = |block: &[u8]| {
        let block = [block, b"more"].concat();
        open(1, &Client::new().pack(&block))
    };
    let mut client = Client::new();
    let mut many = Vec::new();
    for at in 0..17 {
        many.extend(client.open(2 * at + 1, "stdin").1);
    }
    let mut twice = Client::new();
    let twice = [twice.open(3, "stdin").1, twice.open(3, "stdout").1].concat();
    let long = "x".repeat(20_000);
    let broken = "headers that cannot be read";
    for (from, bytes, expected) in [
        (
            Asking,
            control(6, 0, &[0; 5]),
            "a length or flags of another kind",
        ),
        (
            Asking,
            control(6, 1, &[0; 4]),
            "a length or flags of another kind",
        ),
        (
            Asking,
            control(4, 0, &[0, 0, 0, 1]),
            "a length of another kind",
        ),
        (Asking, control(10, 0, &[]), "an unknown kind or flags"),
        (Asking, control(8, 2, &[0; 4]), "an unknown kind or flags"),
        (Asking, vec![0x80, 2, 0, 6, 0, 0, 0, 4], "another version"),
        (Asking, vec![0x80, 3, 0, 6, 0, 1, 0, 0], "too many bytes"),
        (Asking, data(Asking, 1, 0, b"a").1, "data of no stream"),
        (
            Cluster,
            stdin(&mut Client::new()),
            "a stream that the cluster opens",
        ),
        (Asking, control(1, 2, &[0; 10]), "an unknown flag"),
        (Asking, control(1, 0, &[0; 9]), "too few bytes"),
        (Asking, control(1, 0, &[0x80, 0, 0, 1, 0]), "a reserved bit"),
        (
            Asking,
            opened(2, &[("streamtype", "stdin")]),
            "a stream of a wrong number",
        ),
        (Asking, twice, "a stream of a wrong number"),
        (Asking, many, "too many streams"),
        (
            Asking,
            opened(1, &[("streamtype", "STDIN")]),
            "a stream of no known channel",
        ),
        (Asking, opened(1, &[]), "a stream of no known channel"),
        (
            Asking,
            opened(1, &[("streamtype", "stdin"), ("streamtype", "stdout")]),
            broken,
        ),
        (Asking, opened(1, &[("streamType", "stdin")]), broken),
        (Asking, opened(1, &[("a", &long)]), "too long headers"),
        (Asking, surplus(&[0, 0, 0, 0]), broken),
        (Asking, open(1, b"nonsense"), broken),
        (Asking, open(1, b""), broken),
    ] {
        let mut session = Session::new(Protocol::Spdy);
        let found = read(&mut session, &[(from, bytes)], usize::MAX);
        assert_eq!(found, Err(Error::Spdy(expected)));
    }
}

#[test]
fn a_client_is_told_why_it_ends() {
    let mut session = Session::new(Protocol::WebSocket);
    let farewell = session.farewell("no room").unwrap();
    let told = read(&mut session, &[(Peer::Cluster, farewell)], 5).unwrap();
    assert_eq!(told.ended, [Exit::Failed("no room".to_owned())]);
    assert_eq!(session.farewell("no room"), None, "after the last frame");
    let mut session = Session::new(Protocol::WebSocket);
    assert!(session.is_between(Peer::Cluster));
    session.take(Peer::Cluster, &[0x82], &mut |_| {}).unwrap();
    assert!(!session.is_between(Peer::Cluster) && session.is_between(Peer::Client));

    let mut session = Session::new(Protocol::Spdy);
    assert_eq!(session.farewell("no room"), None, "no stream for it");
    let opened = Client::new().open(1, "error");
    read(&mut session, &[opened], usize::MAX).unwrap();
    let farewell = session.farewell("no room").unwrap();
    let told = read(&mut session, &[(Peer::Cluster, farewell)], 5).unwrap();
    assert_eq!(told.ended, [Exit::Failed("no room".to_owned())]);
}

proptest! {
    #[test]
    fn nothing_panics(
        spdy: bool,
        sent in prop::collection::vec((any::<bool>(), any::<Vec<u8>>()), 0..8),
    ) {
        let protocol = if spdy { Protocol::Spdy } else { Protocol::WebSocket };
        let mut session = Session::new(protocol);
        for (client, bytes) in sent {
            let from = if client { Peer::Client } else { Peer::Cluster };
            let _ = session.take(from, &bytes, &mut |_| {});
        }
        let _ = session.farewell("end");
    }

    #[test]
    fn what_is_changed_on_the_way_never_panics(
        at in any::<prop::sample::Index>(), byte: u8, spdy: bool,
    ) {
        let (protocol, mut sent) = match spdy {
            true => (Protocol::Spdy, by_spdy()),
            false => (Protocol::WebSocket, by_websocket()),
        };
        let changed = at.index(sent.len());
        let bytes = &mut sent[changed].1;
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = read(&mut Session::new(protocol), &sent, 4096);
    }
}
