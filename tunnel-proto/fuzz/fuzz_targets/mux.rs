//! A multiplexer between a hostile peer and users who keep to their duties: never a panic, no more
//! unread than was allowed, nothing sent that an honest peer would not take, nothing left behind.
//!
//! The input is settings (two bytes) and steps (one byte each, then their numbers); see
//! [`World::step`].

#![no_main]

mod memory;

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tunnel_proto::{
    MAX_MESSAGE,
    budget::Budget,
    mux::{BASE_WINDOW, Config, Event, HEADER, MAX_DATA, Mux, Read, Side, Stats, StreamId, Write},
    stream::Class,
};

const OPEN: u8 = 0x01;
const DATA: u8 = 0x02;
const FIN: u8 = 0x03;
const RESET: u8 = 0x04;
const CREDIT: u8 = 0x05;
const CLASS: u8 = 0x06;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(mut world) = World::new(&mut input) else {
        return;
    };
    while !input.is_empty() {
        match world.step(&mut input) {
            Ok(true) => world.check(),
            // The peer broke the rules: the session is over.
            Ok(false) => return world.end(),
            Err(_) => break,
        }
    }
    world.finish();
});

struct World {
    mux: Mux,
    side: Side,
    own_streams: usize,
    peer_streams: usize,
    windows: Arc<Budget>,
    now: Instant,
    /// Streams that a user holds.
    held: Vec<StreamId>,
    /// What is known of each stream that either side has opened.
    known: BTreeMap<StreamId, Known>,
    /// What the peer is about to send.
    message: BytesMut,
    /// What it has said, from the first frame on that is not whole, without what is skipped.
    said: BytesMut,
    skipped: usize,
    /// What the multiplexer has sent, as far as it is no whole frame.
    sent: BytesMut,
    /// The number of the stream whose opening is to be sent next.
    next_opening: u32,
    /// Allocated when the world began.
    before: usize,
}

/// What an honest peer knows of what it gets on a stream.
#[derive(Debug, Default)]
struct Known {
    written: u64,
    got: u64,
    allowed: u64,
    finished: bool,
    reset: bool,
}

/// The byte at `position` of what is written.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 7) as u8
}

impl World {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let before = memory::live();
        let side = *input.choose(&[Side::Agent, Side::Server])?;
        let settings = input.arbitrary::<u8>()?;
        let own_streams = 1 + usize::from(settings & 3);
        let peer_streams = 1 + usize::from(settings >> 2 & 3);
        // From none to more than all streams want.
        let windows = Budget::new(usize::from(settings >> 4) * 150_000);
        let config = Config {
            side,
            own_streams,
            peer_streams,
            windows: Arc::clone(&windows),
        };
        Ok(Self {
            mux: Mux::new(config),
            side,
            own_streams,
            peer_streams,
            windows,
            now: Instant::now(),
            held: Vec::new(),
            known: BTreeMap::new(),
            message: BytesMut::new(),
            said: BytesMut::new(),
            skipped: 0,
            sent: BytesMut::new(),
            next_opening: first(side),
            before,
        })
    }

    /// One step of either side. `false`: the peer broke the rules.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<bool> {
        match input.arbitrary::<u8>()? % 18 {
            0 => {
                let len = input.arbitrary::<u8>()?;
                let raw = input.bytes(usize::from(len).min(input.len()))?;
                self.append(raw);
            }
            1 => {
                let next = self.next_of_peer();
                let number = next.wrapping_add_signed(input.arbitrary::<i8>()?.into());
                let mut body = [0; 5];
                input.fill_buffer(&mut body)?;
                self.append_frame(OPEN, number, &body);
            }
            2 => {
                let next = self.next_of_peer();
                self.append_frame(OPEN, next, &[input.arbitrary::<u8>()? % 4, 0, 0, 0, 0]);
            }
            3 => {
                let id = self.some(input)?;
                let len = usize::from(input.arbitrary::<u16>()?) + 1;
                self.append_frame(DATA, id, &vec![7; len]);
            }
            4 => {
                let id = self.some(input)?;
                self.append_frame(FIN, id, &[]);
            }
            5 => {
                let id = self.some(input)?;
                self.append_frame(RESET, id, &input.arbitrary::<u32>()?.to_be_bytes());
            }
            6 => {
                let id = self.some(input)?;
                let limit = self.near(id, input)?;
                self.append_frame(CREDIT, id, &limit.to_be_bytes());
            }
            7 => {
                let id = self.some(input)?;
                self.append_frame(CLASS, id, &[input.arbitrary::<u8>()? % 5]);
            }
            8 => {
                let kind = 0x80 | input.arbitrary::<u8>()?;
                let len = usize::from(input.arbitrary::<u16>()?);
                self.append_frame(kind, 0, &vec![0; len]);
            }
            9 | 10 => {
                let pieces = input.arbitrary::<u8>()?;
                return Ok(self.deliver(pieces.into()));
            }
            11 => {
                let class = self.any_class(input)?;
                if let Some(id) = self.mux.open(class) {
                    self.held.push(id);
                    self.know(id);
                }
            }
            12 => {
                if let Some(id) = self.some_held(input)? {
                    self.write(id, input.arbitrary::<u16>()?.into());
                }
            }
            13 => {
                if let Some(id) = self.some_held(input)? {
                    let mut out = vec![0; input.arbitrary::<u16>()?.into()];
                    if let Read::Bytes(read) = self.mux.read(self.now, id, &mut out) {
                        assert!(read <= out.len());
                    }
                }
            }
            14 => {
                if let Some(id) = self.some_held(input)? {
                    match input.arbitrary::<u8>()? % 3 {
                        0 => self.mux.finish(id),
                        1 => {
                            let class = self.any_class(input)?;
                            self.mux.set_class(id, class);
                        }
                        _ => self.release(id),
                    }
                }
            }
            15 => {
                let ms = u64::from(input.arbitrary::<u16>()?);
                self.now += Duration::from_millis(ms);
                self.mux.set_round_trip(Duration::from_millis(ms / 4));
            }
            _ => self.transmit(input.arbitrary::<u16>()?.into()),
        }
        Ok(true)
    }

    fn know(&mut self, id: StreamId) {
        let known = Known {
            allowed: BASE_WINDOW.into(),
            ..Known::default()
        };
        self.known.insert(id, known);
    }

    /// A stream's number that is likely to matter.
    fn some(&self, input: &mut Unstructured<'_>) -> Result<u32> {
        let index = input.arbitrary::<u8>()?;
        Ok(match self.known.keys().rev().nth(usize::from(index)) {
            Some(id) => id.0,
            None => index.into(),
        })
    }

    fn some_held(&self, input: &mut Unstructured<'_>) -> Result<Option<StreamId>> {
        let index = usize::from(input.arbitrary::<u8>()?);
        let len = self.held.len().max(1);
        Ok(self.held.get(index % len).copied())
    }

    fn any_class(&self, input: &mut Unstructured<'_>) -> Result<Class> {
        input.choose(&Class::ALL).copied()
    }

    /// A limit of a stream that is likely to matter.
    fn near(&self, id: u32, input: &mut Unstructured<'_>) -> Result<u64> {
        let known = self.known.get(&StreamId(id));
        let base = match input.arbitrary::<u8>()? % 4 {
            0 => 0,
            1 => known.map_or(0, |known| known.got),
            2 => known.map_or(0, |known| known.allowed),
            _ => u64::MAX,
        };
        Ok(base.wrapping_add_signed(input.arbitrary::<i16>()?.into()))
    }

    /// The number of the stream that the peer may open next.
    fn next_of_peer(&self) -> u32 {
        let parity = 3 - first(self.side);
        let mut theirs = self.known.keys().rev().filter(|id| id.0 % 2 == parity % 2);
        theirs.next().map_or(parity, |id| id.0 + 2)
    }

    fn append_frame(&mut self, kind: u8, stream: u32, body: &[u8]) {
        let head = (u32::from(kind) << 24) | body.len() as u32;
        let frame = [&head.to_be_bytes()[..], &stream.to_be_bytes(), body].concat();
        self.append(&frame);
    }

    /// Adds to the peer's message. One that would be longer than a carrier allows goes on in the
    /// next: what is over its end is lost, as after a raw piece.
    fn append(&mut self, bytes: &[u8]) {
        let room = MAX_MESSAGE - self.message.len();
        self.message
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Hands over the peer's message, in so many pieces and one.
    fn deliver(&mut self, pieces: usize) -> bool {
        let mut message = Bytes::copy_from_slice(&std::mem::take(&mut self.message));
        self.note(&message);
        let piece = message.len() / (pieces + 1) + 1;
        while !message.is_empty() {
            let part = message.split_to(piece.min(message.len()));
            if self.mux.receive(part).is_err() {
                return false;
            }
            self.take_events();
        }
        true
    }

    /// Notes what the peer opens, allows and ends.
    fn note(&mut self, message: &[u8]) {
        self.said.extend_from_slice(message);
        loop {
            let skipped = self.skipped.min(self.said.len());
            let _ = self.said.split_to(skipped);
            self.skipped -= skipped;
            let Some((head, rest)) = self.said.split_first_chunk::<HEADER>() else {
                return;
            };
            let [kind, l0, l1, l2, s0, s1, s2, s3] = *head;
            let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let id = StreamId(u32::from_be_bytes([s0, s1, s2, s3]));
            match (kind, rest) {
                (OPEN | CREDIT | RESET, _) if len <= 8 && rest.len() < len => return,
                (OPEN, [_, limit @ ..]) if len == 5 && id.0 == self.next_of_peer() => {
                    let limit = limit[..4].try_into().expect("four bytes");
                    self.know(id);
                    self.promised(id, u32::from_be_bytes(limit).into());
                }
                (CREDIT, limit) if len == 8 => {
                    let limit = limit[..8].try_into().expect("eight bytes");
                    self.promised(id, u64::from_be_bytes(limit));
                }
                (RESET, _) if len == 4 => {
                    if let Some(known) = self.known.get_mut(&id) {
                        known.reset = true;
                    }
                }
                _ => {}
            }
            let _ = self.said.split_to(HEADER);
            self.skipped = len;
        }
    }

    fn promised(&mut self, id: StreamId, limit: u64) {
        if let Some(known) = self.known.get_mut(&id) {
            known.allowed = known.allowed.max(limit);
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            if let Event::Opened(id) = event {
                assert_ne!(id.0 % 2, first(self.side) % 2);
                assert!(!self.held.contains(&id));
                assert!(self.known.contains_key(&id));
                self.held.push(id);
            }
        }
    }

    fn write(&mut self, id: StreamId, len: usize) {
        let known = self.known.get_mut(&id).expect("a held stream");
        let bytes: Vec<u8> = (known.written..).take(len).map(byte).collect();
        match self.mux.write(id, &bytes) {
            Write::Bytes(written) => {
                assert!(written > 0 || len == 0);
                known.written += written as u64;
            }
            Write::Wait => assert!(len > 0),
            Write::Ended | Write::Reset(_) => {}
        }
    }

    fn release(&mut self, id: StreamId) {
        self.held.retain(|held| *held != id);
        self.mux.release(id);
    }

    fn transmit(&mut self, room: usize) {
        let mut sent = Vec::new();
        let said = self.mux.transmit(self.now, room, &mut sent);
        assert_eq!(sent.len(), said);
        assert!(said <= room);
        self.sent.extend_from_slice(&sent);
        while let Some((kind, stream, body)) = self.next_sent() {
            self.sent_frame(kind, StreamId(stream), &body);
        }
        self.take_events();
    }

    /// The next frame that was sent.
    fn next_sent(&mut self) -> Option<(u8, u32, BytesMut)> {
        let (head, rest) = self.sent.split_first_chunk::<HEADER>()?;
        let [kind, l0, l1, l2, s0, s1, s2, s3] = *head;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        assert!(len <= MAX_DATA && rest.len() >= len, "a frame is cut off");
        let mut frame = self.sent.split_to(HEADER + len);
        Some((
            kind,
            u32::from_be_bytes([s0, s1, s2, s3]),
            frame.split_off(HEADER),
        ))
    }

    /// Checks a frame as an honest peer would.
    fn sent_frame(&mut self, kind: u8, id: StreamId, body: &[u8]) {
        let own = id.0 % 2 == first(self.side) % 2;
        if kind == OPEN {
            // A peer that resets what it does not know yet keeps the opening from being sent.
            let skipped = (self.next_opening..id.0).step_by(2);
            for skipped in skipped {
                assert!(
                    self.known[&StreamId(skipped)].reset,
                    "an opening is missing"
                );
            }
            assert!(own && id.0 >= self.next_opening);
            assert!(body.len() == 5 && body[0] < 4);
            assert!(body[1..] >= BASE_WINDOW.to_be_bytes()[..]);
            self.next_opening = id.0 + 2;
            return;
        }
        if !own && kind == RESET {
            // It may be the refusal of a stream that never was.
            return assert_eq!(body.len(), 4);
        }
        let known = self.known.get_mut(&id).expect("a frame for no stream");
        let opened = !own || id.0 < self.next_opening || known.reset;
        assert!(opened, "a frame before the opening");
        match kind {
            DATA => {
                assert!(!known.finished && !body.is_empty());
                for (at, sent) in (known.got..).zip(body) {
                    assert_eq!(*sent, byte(at), "at {at}");
                }
                known.got += body.len() as u64;
                assert!(known.got <= known.allowed, "more than was allowed");
                assert!(known.got <= known.written);
            }
            FIN => {
                assert!(!known.finished && body.is_empty());
                assert_eq!(known.got, known.written);
                known.finished = true;
            }
            RESET => {
                assert_eq!(body.len(), 4);
                known.finished = true;
            }
            CREDIT => assert_eq!(body.len(), 8),
            CLASS => assert!(body.len() == 1 && body[0] < 4),
            other => panic!("kind {other}"),
        }
    }

    fn check(&self) {
        let stats = self.mux.stats();
        assert!(stats.own_streams <= self.own_streams && stats.peer_streams <= self.peer_streams);
        assert!(self.windows.taken() <= self.windows.total());
        // What is released holds nothing that is unread.
        let allowed = self.held.len() * BASE_WINDOW as usize + self.windows.taken();
        assert!(stats.unread <= allowed, "{} of {allowed}", stats.unread);
        assert!(stats.queued.iter().sum::<usize>() <= (self.known.len()) * BASE_WINDOW as usize);
        // Each piece that is kept as it came is longer than 4 KiB and keeps one message.
        let receive = 2 * stats.unread + stats.unread / 4096 * MAX_MESSAGE;
        let send = 4 * stats.queued.iter().sum::<usize>();
        let own = 4 * MAX_MESSAGE + 1024 * (self.known.len() + self.held.len()) + 32 * 1024;
        let live = memory::live() - self.before - self.message.capacity();
        let live = live - self.said.capacity() - self.sent.capacity();
        assert!(
            live <= send + receive + own,
            "{live} bytes are allocated, {send} for sending and {receive} for receiving explained"
        );
    }

    /// Everybody lets go, and the peer ends every stream: nothing is left.
    fn finish(mut self) {
        if !self.deliver(0) || self.skipped > 0 || !self.said.is_empty() {
            return self.end();
        }
        for id in self.known.keys().copied().collect::<Vec<_>>() {
            self.append_frame(RESET, id.0, &[0; 4]);
        }
        assert!(self.deliver(0), "ends of streams that were");
        for id in std::mem::take(&mut self.held) {
            self.mux.release(id);
        }
        while self.mux.wants_transmit() {
            self.transmit(100_000);
        }
        assert_eq!(self.mux.stats(), Stats::default());
        assert_eq!(self.windows.taken(), 0);
    }

    /// The session is over.
    fn end(self) {
        let windows = self.windows;
        drop(self.mux);
        assert_eq!(windows.taken(), 0);
    }
}

/// The first number of a side's streams.
fn first(side: Side) -> u32 {
    match side {
        Side::Agent => 1,
        Side::Server => 2,
    }
}
