//! A link between a hostile peer and a shell that keeps to its duties: never a panic, every byte
//! once and in order, memory within its bounds.
//!
//! The input is a replay bound (two bytes) and steps (one byte each, then their numbers); see
//! [`World::step`].

#![no_main]

mod memory;

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};
use tunnel_proto::{
    MAX_MESSAGE,
    frame::{self, CloseCode, Frame, MAX_REASON, Offset},
    link::{Config, Event, Link},
};

/// Received bytes that may wait before the shell stops reading from the carrier.
const READ_AHEAD: usize = 128 * 1024;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(bound) = input.arbitrary::<u16>() else {
        return;
    };
    let mut world = World::new(usize::from(bound) * 4 + 1);
    while !input.is_empty()
        && let Ok(true) = world.step(&mut input)
    {
        world.check();
    }
});

struct World {
    link: Link,
    bound: usize,
    /// What it may keep, as the bound was once.
    most: usize,
    now: Instant,
    attached: bool,
    /// What the peer is about to send.
    message: BytesMut,
    /// The peer sent payload that is not [`byte`]'s.
    foreign: bool,
    /// How much was read from the link.
    read: u64,
    /// What the peer has received of the link's bytes.
    peer_has: u64,
    /// Messages that the link may still hold, in bytes and in frames.
    held: usize,
    held_frames: usize,
    /// Messages that the link may have made since all was acknowledged.
    made: usize,
    /// Allocated when the world began.
    before: usize,
}

/// The byte at `position` of either direction.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 7) as u8
}

impl World {
    fn new(bound: usize) -> Self {
        let before = memory::live();
        let now = Instant::now();
        let mut link = Link::new(Config {
            replay_bound: bound,
            ..Config::default()
        });
        link.attach(now, Offset(0)).expect("a fresh link");
        Self {
            link,
            bound,
            most: bound,
            now,
            attached: true,
            message: BytesMut::new(),
            foreign: false,
            read: 0,
            peer_has: 0,
            held: 0,
            held_frames: 0,
            made: 0,
            before,
        }
    }

    /// One step of either side. `false`: the peer broke the rules, so the session is over.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<bool> {
        match input.arbitrary::<u8>()? % 22 {
            0 => {
                let len = input.arbitrary::<u8>()?;
                let raw = input.bytes(usize::from(len).min(input.len()))?;
                self.foreign = true;
                self.append(|message| message.extend_from_slice(raw));
            }
            1 => {
                let (offset, received) = (self.near(input)?, self.near(input)?);
                let len = u64::from(input.arbitrary::<u16>()?) + 1;
                let payload: Bytes = (0..len).map(|at| byte(offset.wrapping_add(at))).collect();
                self.append_frame(&Frame::Data {
                    offset: Offset(offset),
                    received: Offset(received),
                    payload,
                });
            }
            2 => {
                let received = Offset(self.near(input)?);
                self.append_frame(&Frame::Ack(received));
            }
            3 => self.append_frame(&Frame::Ping(input.arbitrary::<u8>()?.into())),
            4 => self.append_frame(&Frame::Pong(input.arbitrary::<u8>()?.into())),
            5 => self.append_frame(&Frame::Drain {
                deadline_ms: input.arbitrary()?,
                reason: "leaving".into(),
            }),
            6 => self.append_frame(&Frame::Close {
                code: CloseCode::Other(input.arbitrary()?),
                reason: "x".repeat(MAX_REASON),
            }),
            7 => {
                let kind = 0x80 | input.arbitrary::<u8>()?;
                let len = input.arbitrary::<u16>()?;
                self.append(|message| {
                    message.extend_from_slice(&[kind, 0]);
                    message.extend_from_slice(&len.to_be_bytes());
                    message.resize(message.len() + usize::from(len), 0);
                });
            }
            8 | 9 => return Ok(self.deliver()),
            10 => {
                let from = self.link.written().0;
                let len = u64::from(input.arbitrary::<u16>()?);
                let bytes: Vec<u8> = (from..from + len).map(byte).collect();
                let room = match self.link.is_closed() {
                    true => 0,
                    false => self.link.room(),
                };
                let taken = self.link.write(&bytes);
                assert_eq!(taken, bytes.len().min(room));
                assert_eq!(self.link.written().0, from + taken as u64);
                self.made += taken / frame::MAX_PAYLOAD;
            }
            11 => {
                self.link.flush();
                self.made += 1;
            }
            12 => {
                for _ in 0..=input.arbitrary::<u8>()? {
                    if !self.send() {
                        break;
                    }
                }
            }
            13 => self.receive(input.arbitrary::<u16>()?.into()),
            14 => self.now += Duration::from_millis(input.arbitrary::<u16>()?.into()),
            15 => self.time_out(),
            16 => self.detach(),
            17 => {
                let has = self.near(input)?;
                self.attach(has);
            }
            18 => {
                let deadline = Duration::from_millis(input.arbitrary()?);
                self.link.drain(deadline, "restarting");
            }
            19 => {
                self.link.close(CloseCode::Normal, "done");
                self.made += 1;
            }
            20 => self.take(),
            _ => {
                let bound = usize::from(input.arbitrary::<u16>()?) * 4 + 1;
                // What is kept already stays.
                self.most = bound.max(self.link.unacknowledged());
                self.bound = bound;
                self.link.set_replay_bound(bound);
                assert_eq!(self.link.replay_bound(), bound);
            }
        }
        Ok(true)
    }

    /// A number that is likely to matter.
    fn near(&self, input: &mut Unstructured<'_>) -> Result<u64> {
        let written = self.link.written().0;
        let base = match input.arbitrary::<u8>()? % 6 {
            0 => 0,
            1 => self.link.received().0,
            2 => written,
            3 => written - self.link.unacknowledged() as u64,
            4 => self.peer_has,
            _ => u64::MAX,
        };
        Ok(base.wrapping_add_signed(input.arbitrary::<i16>()?.into()))
    }

    fn append_frame(&mut self, frame: &Frame) {
        self.append(|message| frame::encode(frame, message));
        self.held_frames += 1;
    }

    /// Adds to the peer's message what `put` makes. A message that would be longer than a carrier
    /// allows is begun anew.
    fn append(&mut self, put: impl FnOnce(&mut BytesMut)) {
        let mut more = BytesMut::new();
        put(&mut more);
        if self.message.len() + more.len() > MAX_MESSAGE {
            self.message.clear();
        }
        more.truncate(MAX_MESSAGE);
        self.message.extend_from_slice(&more);
    }

    fn deliver(&mut self) -> bool {
        let message = Bytes::copy_from_slice(&std::mem::take(&mut self.message));
        if !self.attached || self.link.held() >= READ_AHEAD {
            return true;
        }
        self.held += message.len();
        // A data frame is no shorter than this.
        self.held_frames += message.len() / (frame::DATA_HEADER + 1);
        self.link.handle_message(self.now, message).is_ok()
    }

    /// Whether there was a message to send. Checks it as an honest peer would.
    fn send(&mut self) -> bool {
        let Some(mut message) = self.link.poll_message(self.now) else {
            return false;
        };
        assert!(self.attached, "a message without a carrier");
        assert!(message.len() <= MAX_MESSAGE);
        while let Some(frame) = frame::decode(&mut message).expect("own frames decode") {
            match frame {
                Frame::Data {
                    offset,
                    received,
                    payload,
                } => {
                    assert!(offset.0 <= self.peer_has, "a gap");
                    assert!(received <= self.link.received());
                    for (at, sent) in (offset.0..).zip(&payload) {
                        assert_eq!(*sent, byte(at), "at {at}");
                    }
                    let end = offset.checked_add(payload.len()).expect("an offset");
                    assert!(end <= self.link.written());
                    self.peer_has = self.peer_has.max(end.0);
                }
                Frame::Ack(received) => assert_eq!(received, self.link.received()),
                Frame::Close { .. } => assert!(self.link.is_closed()),
                Frame::Ping(_) | Frame::Pong(_) | Frame::Drain { .. } | Frame::WantLane(_) => {}
            }
        }
        true
    }

    fn receive(&mut self, len: usize) {
        let mut out = vec![0; len];
        let got = self.link.read(&mut out);
        self.got(&out[..got]);
        assert!(got == len || self.link.buffered() == 0, "a short read");
    }

    fn take(&mut self) {
        let buffered = self.link.buffered();
        match self.link.take() {
            Some(piece) => {
                assert!(!piece.is_empty() && piece.len() <= frame::MAX_PAYLOAD);
                self.got(&piece);
            }
            None => assert_eq!(buffered, 0),
        }
    }

    fn got(&mut self, bytes: &[u8]) {
        if !self.foreign {
            for (at, read) in (self.read..).zip(bytes) {
                assert_eq!(*read, byte(at), "at {at}");
            }
        }
        self.read += bytes.len() as u64;
    }

    /// Waits for the link's deadline and does what it then asks for.
    fn time_out(&mut self) {
        let Some(at) = self.link.poll_timeout() else {
            return;
        };
        self.now = self.now.max(at);
        self.link.handle_timeout(self.now);
        while self.send() {}
        let mut silent = false;
        while let Some(event) = self.link.poll_event() {
            match event {
                Event::CarrierSilent => silent = true,
                Event::Closed { .. } => assert!(self.link.is_closed()),
                Event::Draining { .. } | Event::LaneWanted(_) => {}
            }
        }
        if silent {
            self.detach();
        }
        let next = self.link.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "it would spin");
    }

    fn detach(&mut self) {
        self.link.detach();
        self.attached = false;
        self.message.clear();
    }

    fn attach(&mut self, peer_has: u64) {
        let before = (
            self.link.written(),
            self.link.unacknowledged(),
            self.link.unsent(),
        );
        if self.link.attach(self.now, Offset(peer_has)).is_err() {
            let after = (
                self.link.written(),
                self.link.unacknowledged(),
                self.link.unsent(),
            );
            assert_eq!(before, after, "a refused carrier changes nothing");
            return;
        }
        self.attached = true;
        self.message.clear();
        if !self.link.is_closed() {
            self.peer_has = peer_has;
            let missing = self.link.written().0 - peer_has;
            assert_eq!(self.link.unacknowledged() as u64, missing);
            assert_eq!(self.link.unsent() as u64, missing);
        }
    }

    fn check(&mut self) {
        let link = &self.link;
        assert!(link.unacknowledged() <= self.most);
        // There is also a bound for messages, which are never fewer than this.
        let full = link.room() == 0 && self.made >= 64;
        let room = self.bound.saturating_sub(link.unacknowledged());
        assert!(full || link.room() == room);
        if link.unacknowledged() <= self.bound {
            self.most = self.bound;
        }
        assert!(link.unsent() <= link.unacknowledged());
        assert_eq!(link.received().0 - self.read, link.buffered() as u64);
        let live = self.attached && !link.is_closed();
        assert_eq!(link.poll_timeout().is_some(), live);
        if link.unacknowledged() == 0 {
            self.made = 0;
        }
        if link.buffered() == 0 {
            self.held = 0;
            self.held_frames = 0;
        }
        // Blocks that are filled in part at both ends; a header and a queue's entry per message;
        // a received payload keeps the message that it came in.
        let send = 3 * link.unacknowledged() + 256 * self.made;
        let receive = 2 * self.held + 128 * self.held_frames;
        let own = 4 * MAX_MESSAGE;
        let live = memory::live() - self.before - self.message.capacity();
        assert!(
            live <= send + receive + own,
            "{live} bytes are allocated, {send} for sending and {receive} for receiving explained"
        );
    }
}
