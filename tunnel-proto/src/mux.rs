//! Many streams over one byte stream: `lariat/1`.
//!
//! A [`Mux`] turns what is written to its streams into frames, one stream after the other as the
//! [`crate::gate`] says, and the peer's frames back into bytes of streams. Each stream has credit
//! of its own in both directions, so that a reader that stops stops nobody else.
//!
//! The shell around it:
//!
//! - lets [`Mux::transmit`] fill what there is room for on the link, again whenever there is more;
//! - hands all that comes from the link to [`Mux::receive`];
//! - reads, writes and ends streams for those who hold them, and calls [`Mux::release`] when a
//!   stream is held no more;
//! - asks [`Mux::poll_event`] after each of these, and [`Mux::wants_transmit`] whether there is
//!   something to send.

mod frame;
mod pace;
mod queue;
mod receive;
mod stream;
mod transmit;

pub use frame::{HEADER, MAX_DATA};
pub use stream::BASE_WINDOW;
pub use transmit::Out;

pub use crate::link::HEADROOM;
use crate::{
    budget::{Budget, Grant},
    gate::Gate,
    stream::Class,
};
use frame::{MAX_CONTROL, Reader};
use pace::Pace;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use stream::{Due, End, ReceiveHalf, SendHalf, Stream};

/// Reset: nobody holds the stream any more.
pub const CANCELLED: u32 = 0;

/// Reset: more streams than this side takes.
pub const REFUSED: u32 = 1;

/// Streams that were refused and whose openers were not told yet; one more ends the session.
const MOST_REFUSALS: usize = 1024;

/// With less room than this nothing is sent.
pub const LEAST_ROOM: usize = HEADER + MAX_CONTROL + 1;

/// A round trip below this one says nothing about windows.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(2);

/// Number of a stream: odd if the agent has opened it, else even. Each side counts its own up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which end of the session this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opens streams with odd numbers.
    Agent,
    /// Opens streams with even numbers.
    Server,
}

/// What both ends agreed on, and what this one may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which end this is.
    pub side: Side,
    /// Streams that this side may have open at once.
    pub own_streams: usize,
    /// Streams that the peer may have open at once; a few more are borne, as an end may be on its
    /// way.
    pub peer_streams: usize,
    /// What windows may grow by, beyond [`BASE_WINDOW`] each.
    pub windows: Arc<Budget>,
}

/// Something the shell must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer has opened a stream.
    Opened(StreamId),
    /// Somebody who waited can read, or learn of the end.
    Readable(StreamId),
    /// Somebody who waited can write, or learn of the end.
    Writable(StreamId),
    /// Another stream can be opened, after one could not.
    Room,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes; at least one, unless no room was given.
    Bytes(usize),
    /// Nothing yet: [`Event::Readable`] tells.
    Wait,
    /// The peer's direction has ended in order.
    End,
    /// The stream was cut off, with this code.
    Reset(u32),
}

/// What a write gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// So many bytes were taken; at least one, unless none was given.
    Bytes(usize),
    /// No room: [`Event::Writable`] tells.
    Wait,
    /// This direction was ended here.
    Ended,
    /// The stream was cut off, with this code.
    Reset(u32),
}

/// What a peer did that ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// A kind of frame below `0x80` that this version does not know.
    #[error("unknown kind of frame {0:#04x}")]
    UnknownKind(u8),
    /// A class that is not in the table.
    #[error("unknown class {0}")]
    UnknownClass(u8),
    /// A frame's length does not fit its kind.
    #[error("frame of kind {kind:#04x} has the impossible length {len}")]
    BadLength {
        /// Kind byte.
        kind: u8,
        /// What the header said.
        len: usize,
    },
    /// A frame for a stream that was never opened, or an opening out of turn.
    #[error("stream {0} cannot be")]
    BadStream(StreamId),
    /// More bytes than were allowed.
    #[error("stream {0} got more bytes than it has credit for")]
    OverCredit(StreamId),
    /// Bytes behind the end of their direction.
    #[error("stream {0} got bytes behind its end")]
    BehindEnd(StreamId),
    /// The peer goes on opening streams that are refused, and does not read that they are.
    #[error("too many streams were refused")]
    Flood,
}

/// What a multiplexer is doing, for metrics and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Streams that this side has open.
    pub own_streams: usize,
    /// Streams that the peer has open.
    pub peer_streams: usize,
    /// Streams of both sides, per class as in [`Class::ALL`].
    pub streams: [usize; Class::ALL.len()],
    /// Written bytes that wait for their turn, per class as in [`Class::ALL`].
    pub queued: [usize; Class::ALL.len()],
    /// Streams that have bytes to send and no credit of the peer.
    pub blocked: usize,
    /// Received bytes that nobody has read yet.
    pub unread: usize,
    /// The largest window of a stream.
    pub widest: u64,
}

/// The multiplexer of one lane. See the [module](self).
#[derive(Debug)]
pub struct Mux {
    config: Config,
    streams: HashMap<StreamId, Stream>,
    next_own: u32,
    next_peer: u32,
    own: usize,
    peer: usize,
    opener_waits: bool,
    over: bool,
    gate: Gate<StreamId>,
    /// Streams with frames without data to send, in the order in which these became due.
    due: VecDeque<StreamId>,
    refusals: VecDeque<StreamId>,
    reader: Reader,
    events: VecDeque<Event>,
    round_trip: Duration,
    queued: usize,
}

impl Mux {
    /// No streams yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (next_own, next_peer) = match config.side {
            Side::Agent => (1, 2),
            Side::Server => (2, 1),
        };
        Self {
            config,
            streams: HashMap::new(),
            next_own,
            next_peer,
            own: 0,
            peer: 0,
            opener_waits: false,
            over: false,
            gate: Gate::new(),
            due: VecDeque::new(),
            refusals: VecDeque::new(),
            reader: Reader::new(),
            events: VecDeque::new(),
            round_trip: LEAST_ROUND_TRIP,
            queued: 0,
        }
    }

    /// The round trip that windows are made for.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.max(LEAST_ROUND_TRIP);
    }

    /// Opens a stream. `None`: as many are open as the peer takes; [`Event::Room`] tells when
    /// another try is worth it.
    pub fn open(&mut self, class: Class) -> Option<StreamId> {
        if self.own >= self.config.own_streams || self.next_own >= u32::MAX - 1 {
            self.opener_waits = true;
            return None;
        }
        let id = StreamId(self.next_own);
        self.next_own += 2;
        self.own += 1;
        let mut stream = self.stream(class);
        stream.receive.widen();
        stream.due.open = true;
        self.streams.insert(id, stream);
        self.list(id);
        Some(id)
    }

    fn stream(&self, class: Class) -> Stream {
        Stream {
            send: SendHalf::new(Pace::new(class)),
            receive: ReceiveHalf::new(Grant::of(&self.config.windows)),
            due: Due::default(),
            released: false,
            counted: true,
        }
    }

    /// Writes to a stream. One that is not there was reset.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> Write {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Write::Reset(CANCELLED);
        };
        match stream.send.end {
            End::Open => {}
            End::Finishing | End::Leaving | End::Finished => return Write::Ended,
            End::Reset(code) => return Write::Reset(code),
        }
        let written = stream.send.write(bytes);
        self.queued += written;
        self.enter(id);
        match written {
            0 if !bytes.is_empty() => Write::Wait,
            written => Write::Bytes(written),
        }
    }

    /// Whether all that was written arrives, even if the stream is released now. If not,
    /// [`Event::Writable`] tells when to ask again.
    pub fn is_covered(&mut self, id: StreamId) -> bool {
        let stream = self.streams.get_mut(&id);
        stream.is_none_or(|stream| stream.send.is_covered())
    }

    /// Ends this side's direction, behind what was written.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.end == End::Open
        {
            stream.send.end = End::Finishing;
            self.enter(id);
        }
    }

    /// Reads from a stream. One that is not there was reset.
    pub fn read(&mut self, now: Instant, id: StreamId, out: &mut [u8]) -> Read {
        let round_trip = self.round_trip;
        let Some(stream) = self.streams.get_mut(&id) else {
            return Read::Reset(CANCELLED);
        };
        let read = stream.receive.read(out);
        if read > 0 || out.is_empty() {
            if stream.receive.measure(now, read, round_trip) {
                stream.due.credit = true;
                self.list(id);
            }
            return Read::Bytes(read);
        }
        match stream.receive.end {
            End::Open => {
                stream.receive.reader_waits = true;
                Read::Wait
            }
            End::Finishing | End::Leaving | End::Finished => Read::End,
            End::Reset(code) => Read::Reset(code),
        }
    }

    /// Says what the stream is for from now on, here and to the peer.
    pub fn set_class(&mut self, id: StreamId, class: Class) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.send.pace.nominal() != class
        {
            stream.send.pace.set(class);
            stream.due.class = true;
            self.list(id);
        }
    }

    /// Nothing is sent or received any more: forgets what nobody holds, and from now on what is
    /// released. What was received can still be read.
    pub fn end(&mut self) {
        self.over = true;
        let unaccepted = self.events.drain(..).filter_map(|event| match event {
            Event::Opened(id) => Some(id),
            Event::Readable(_) | Event::Writable(_) | Event::Room => None,
        });
        for id in unaccepted {
            self.streams.remove(&id);
        }
        self.streams.retain(|_, stream| !stream.released);
    }

    /// Nobody holds the stream any more. What was written and ended is still sent, and what was
    /// only written if the peer takes it without being asked; a stream that has not ended in order
    /// both ways is reset.
    pub fn release(&mut self, id: StreamId) {
        if self.over {
            self.streams.remove(&id);
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.released = true;
        stream.receive.discard();
        if stream.send.end == End::Open {
            if !stream.send.queue.is_empty() && stream.send.is_covered() {
                stream.send.end = End::Leaving;
            } else {
                self.reset(id, CANCELLED);
            }
        } else {
            if stream.send.is_short_of_credit() && stream.receive.end == End::Open {
                // The peer may wait for credit as well, and have let go of the stream, too.
                stream.receive.forgo();
                stream.due.credit = true;
                self.list(id);
            }
            self.reset_if_one_sided(id);
        }
        self.settle(id);
    }

    /// A released stream whose last bytes have been sent.
    fn leave_if_sent(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id)
            && stream.send.end == End::Leaving
            && stream.send.queue.is_empty()
        {
            self.reset(id, CANCELLED);
        }
    }

    /// A released stream whose own direction has ended, and the peer's has not.
    fn reset_if_one_sided(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id)
            && stream.released
            && stream.send.end == End::Finished
            && stream.receive.end == End::Open
        {
            self.reset(id, CANCELLED);
        }
    }

    fn reset(&mut self, id: StreamId, code: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            if stream.send.end != End::Finished {
                self.queued -= stream.send.cut(code);
            }
            if stream.receive.end == End::Open {
                stream.receive.end = End::Reset(code);
            }
            stream.due.reset = Some(code);
            stream.due.credit = false;
            stream.due.class = false;
            self.list(id);
        }
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(8);
        }
        event
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.has_news() || !self.gate.is_empty()
    }

    /// How many written bytes wait to be sent, with those that the peer does not take yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether there is something to send that waits for no turn, as credit for the peer.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !(self.due.is_empty() && self.refusals.is_empty())
    }

    /// Lets a stream wait for its turn if it has a reason to.
    fn enter(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.send.in_gate
            && stream.send.wants_turn()
        {
            stream.send.in_gate = true;
            // If it counts as bulk by now, it finds out at its turn.
            self.gate.join(id, stream.send.pace.nominal());
        }
    }

    fn list(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.due.listed, true)
        {
            self.due.push_back(id);
        }
    }

    /// Frees the place of a stream that is over, and forgets it when nobody holds it.
    fn settle(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.is_over() {
            return;
        }
        let own = id.0 % 2 == self.next_own % 2;
        // A stream of the peer keeps its place while somebody holds it, with what is unread.
        if stream.counted && (own || stream.released) {
            stream.counted = false;
            if own {
                self.own -= 1;
                if std::mem::take(&mut self.opener_waits) {
                    self.events.push_back(Event::Room);
                }
            } else {
                self.peer -= 1;
            }
        }
        if stream.released {
            self.streams.remove(&id);
            if self.streams.is_empty() {
                self.streams = HashMap::new();
            }
            self.sweep();
        }
    }

    /// A stream that is gone leaves the queues when it comes to their front, to which none comes
    /// while nothing can be sent: before they are many they are taken out together.
    fn sweep(&mut self) {
        let most = 2 * self.streams.len() + 64;
        if self.due.len() > most {
            self.due.retain(|id| self.streams.contains_key(id));
        }
        if self.gate.len() > most {
            self.gate.retain(|id| self.streams.contains_key(id));
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            own_streams: self.own,
            peer_streams: self.peer,
            ..Stats::default()
        };
        for stream in self.streams.values() {
            let send = &stream.send;
            let class = send.pace.nominal().index();
            stats.streams[class] += 1;
            stats.queued[class] += send.queue.len();
            stats.blocked += usize::from(!send.queue.is_empty() && send.credit() == 0);
            stats.unread += stream.receive.buffered();
            stats.widest = stats.widest.max(stream.receive.window());
        }
        stats
    }
}

#[cfg(test)]
mod tests;
