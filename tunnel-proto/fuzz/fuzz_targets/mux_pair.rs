//! Two multiplexers with a pipe of bytes between them and users who do as they like: neither ever
//! accuses the other, bytes arrive in order and once, what was written to somebody who still reads
//! arrives at all, and nothing is left behind.
//!
//! The input is settings (two bytes) and steps (three bytes each, and their numbers); see
//! [`World::step`].

#![no_main]

use arbitrary::{Result, Unstructured};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};
use tunnel_proto::{
    budget::Budget,
    mux::{Config, Event, Mux, Read, Side, Stats, StreamId, Write},
    stream::Class,
};

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(mut world) = World::new(&mut input) else {
        return;
    };
    while !input.is_empty()
        && let Ok(()) = world.step(&mut input)
    {}
    world.finish();
});

struct World {
    ends: [End; 2],
    now: Instant,
    /// Per stream: what the agent writes and the server reads, and the other way round.
    known: BTreeMap<StreamId, [Direction; 2]>,
}

struct End {
    mux: Mux,
    windows: Arc<Budget>,
    /// Streams that its user holds.
    held: Vec<StreamId>,
    /// What it has sent and the other end has not received.
    wire: BytesMut,
}

/// What the users know of one direction of a stream.
#[derive(Debug, Default)]
struct Direction {
    written: u64,
    finished: bool,
    read: u64,
    ended: bool,
}

/// Most bytes that a user writes or reads at once.
const MOST: usize = u16::MAX as usize;

/// After so many bytes the pattern begins anew: a prime number, so that no piece of the same length
/// does.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mixed = |at: usize| ((at % PERIOD).wrapping_mul(2_654_435_761) >> 7) as u8;
    (0..PERIOD + MOST).map(mixed).collect()
});

/// The bytes from `position` on of what `end` writes to a stream.
fn pattern(id: StreamId, end: usize, position: u64, len: usize) -> &'static [u8] {
    let mixed = position + 97 * u64::from(id.0) + 31 * end as u64;
    let from = (mixed % PERIOD as u64) as usize;
    &PATTERN[from..from + len]
}

impl World {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let settings = input.arbitrary::<[u8; 2]>()?;
        let end = |side, settings: u8| {
            let windows = Budget::new(usize::from(settings >> 4) * 150_000);
            let own_streams = 1 + usize::from(settings & 7);
            let config = Config {
                side,
                own_streams,
                // Not more than the other end opens: some are refused.
                peer_streams: 1 + usize::from(settings >> 1 & 7),
                windows: Arc::clone(&windows),
            };
            End {
                mux: Mux::new(config),
                windows,
                held: Vec::new(),
                wire: BytesMut::new(),
            }
        };
        Ok(Self {
            ends: [
                end(Side::Agent, settings[0]),
                end(Side::Server, settings[1]),
            ],
            now: Instant::now(),
            known: BTreeMap::new(),
        })
    }

    /// One step of either user, or of the network.
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let what = input.arbitrary::<u8>()?;
        let end = usize::from(what & 1);
        match (what >> 1) % 10 {
            0 => {
                let class = *input.choose(&Class::ALL)?;
                let user = &mut self.ends[end];
                if let Some(id) = user.mux.open(class) {
                    user.held.push(id);
                    self.known.insert(id, Default::default());
                }
            }
            1 | 2 => {
                if let Some(id) = self.some(end, input)? {
                    self.write(end, id, input.arbitrary::<u16>()?.into());
                }
            }
            3 | 4 => {
                if let Some(id) = self.some(end, input)? {
                    self.read(end, id, input.arbitrary::<u16>()?.into());
                }
            }
            5 => {
                if let Some(id) = self.some(end, input)? {
                    match input.arbitrary::<u8>()? % 4 {
                        0 | 1 => {
                            self.ends[end].mux.finish(id);
                            self.direction(id, end).finished = true;
                        }
                        2 => {
                            let class = *input.choose(&Class::ALL)?;
                            self.ends[end].mux.set_class(id, class);
                        }
                        _ => self.release(end, id),
                    }
                }
            }
            6 => {
                let ms = u64::from(input.arbitrary::<u16>()?);
                self.now += Duration::from_millis(ms);
                let round_trip = Duration::from_millis(ms / 4);
                self.ends[end].mux.set_round_trip(round_trip);
            }
            _ => {
                let [room, piece] = input.arbitrary::<[u16; 2]>()?;
                self.carry(end, 2 * usize::from(room), 2 * usize::from(piece));
            }
        }
        Ok(())
    }

    fn some(&self, end: usize, input: &mut Unstructured<'_>) -> Result<Option<StreamId>> {
        let held = &self.ends[end].held;
        let index = usize::from(input.arbitrary::<u8>()?);
        Ok(held.get(index % held.len().max(1)).copied())
    }

    /// What `end` writes to a stream.
    fn direction(&mut self, id: StreamId, end: usize) -> &mut Direction {
        &mut self.known.get_mut(&id).expect("a stream that was opened")[end]
    }

    fn write(&mut self, end: usize, id: StreamId, len: usize) {
        let bytes = pattern(id, end, self.direction(id, end).written, len);
        let written = self.ends[end].mux.write(id, bytes);
        let direction = self.direction(id, end);
        match written {
            Write::Bytes(written) => direction.written += written as u64,
            Write::Wait | Write::Reset(_) => {}
            Write::Ended => assert!(direction.finished),
        }
    }

    /// Reads at most so many bytes; says how many there were.
    fn read(&mut self, end: usize, id: StreamId, len: usize) -> usize {
        let mut out = vec![0; len];
        let read = self.ends[end].mux.read(self.now, id, &mut out);
        let direction = self.direction(id, 1 - end);
        match read {
            Read::Bytes(read) => {
                let sent = pattern(id, 1 - end, direction.read, read);
                assert!(*sent == out[..read], "stream {id} at {}", direction.read);
                direction.read += read as u64;
                assert!(direction.read <= direction.written);
                read
            }
            Read::End => {
                assert!(direction.finished && direction.read == direction.written);
                direction.ended = true;
                0
            }
            Read::Wait | Read::Reset(_) => {
                assert!(!direction.ended);
                0
            }
        }
    }

    fn release(&mut self, end: usize, id: StreamId) {
        let user = &mut self.ends[end];
        user.held.retain(|held| *held != id);
        user.mux.release(id);
    }

    /// Lets an end send into so many bytes, and the other take a piece of what is on its way. Says
    /// how many bytes moved.
    fn carry(&mut self, from: usize, room: usize, piece: usize) -> usize {
        let End { mux, wire, .. } = &mut self.ends[from];
        let mut sent = Vec::new();
        let said = mux.transmit(self.now, room, &mut sent);
        assert!(said <= room && sent.len() == said);
        wire.extend_from_slice(&sent);
        let taken = wire.split_to(piece.min(wire.len())).freeze();
        let moved = said + taken.len();
        let received = self.ends[1 - from].mux.receive(taken);
        received.expect("an honest peer");
        for end in &mut self.ends {
            while let Some(event) = end.mux.poll_event() {
                if let Event::Opened(id) = event {
                    end.held.push(id);
                }
            }
        }
        moved
    }

    /// Until nothing moves any more; says how many bytes did.
    fn settle(&mut self) -> usize {
        let mut sum = 0;
        loop {
            let moved = self.carry(0, 70_000, usize::MAX) + self.carry(1, 70_000, usize::MAX);
            if moved == 0 {
                return sum;
            }
            sum += moved;
        }
    }

    /// Everybody reads to the end, then lets go.
    fn finish(mut self) {
        loop {
            let mut moved = self.settle();
            for end in 0..2 {
                for id in self.ends[end].held.clone() {
                    moved += self.read(end, id, MOST);
                }
            }
            if moved == 0 {
                break;
            }
        }
        for (id, directions) in &self.known {
            let both = self.ends.iter().all(|end| end.held.contains(id));
            for direction in directions.iter().filter(|_| both) {
                assert_eq!(direction.read, direction.written, "stream {id}");
                assert_eq!(direction.ended, direction.finished, "stream {id}");
            }
        }
        for end in 0..2 {
            for id in self.ends[end].held.clone() {
                self.release(end, id);
            }
        }
        self.settle();
        for End { mux, windows, .. } in &self.ends {
            assert_eq!(mux.stats(), Stats::default());
            assert!(!mux.wants_transmit());
            assert_eq!(windows.taken(), 0);
        }
    }
}
