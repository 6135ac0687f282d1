//! The resumable byte stream under the multiplexer.
//!
//! A [`Link`] turns bytes into messages for a carrier and a carrier's messages back into bytes.
//! Every byte has an [`Offset`]; what the peer has not acknowledged is kept, so that when a
//! carrier dies and another one attaches, both ends say how much they have and go on from there.
//!
//! The shell around it:
//!
//! - calls [`Link::attach`] when a carrier is up and [`Link::detach`] when it is gone;
//! - puts what [`Link::poll_message`] gives on the carrier, one binary message each;
//! - hands every message of the carrier to [`Link::handle_message`], and stops reading from the
//!   carrier while [`Link::held`] is above its own bound;
//! - writes with [`Link::write`] and [`Link::flush`], reads with [`Link::read`];
//! - calls [`Link::handle_timeout`] when [`Link::poll_timeout`] has come;
//! - asks [`Link::poll_event`] after each of these.

mod heartbeat;
mod receive;
mod send;

pub use crate::frame::DATA_HEADER as HEADROOM;
pub use send::FULL;

use crate::{
    frame::{self, CloseCode, Frame, FrameError, Offset},
    turnover::Turnover,
};
use bytes::{Bytes, BytesMut};
use heartbeat::Heartbeat;
use receive::Receive;
use send::Send;
use std::time::{Duration, Instant};

/// Bounds and intervals of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most bytes that are kept for the peer's acknowledgement; a full buffer stops writes.
    /// Default 512 KiB: at 1 GiB/s a byte waits half a millisecond behind the others.
    pub replay_bound: usize,
    /// How long the peer may be silent before it is asked. Default 4 s: with the patience, a
    /// peer that is gone is noticed within 10 s, also by a side that is busy.
    pub quiet: Duration,
    /// How long the peer may stay silent after it was asked. Default 4 s.
    pub patience: Duration,
    /// How long an acknowledgement may wait for data to ride on. Default 200 ms.
    pub ack_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replay_bound: 512 * 1024,
            quiet: Duration::from_secs(4),
            patience: Duration::from_secs(4),
            ack_delay: Duration::from_millis(200),
        }
    }
}

/// Something the shell must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The carrier has been silent for too long: give it up and [`Link::detach`].
    CarrierSilent,
    /// The peer is leaving: open nothing new.
    Draining {
        /// When the peer will close.
        deadline: Instant,
        /// For a person.
        reason: String,
    },
    /// The peer ended the session. Nothing more will be read or written.
    Closed {
        /// Why, for a program.
        code: CloseCode,
        /// Why, for a person.
        reason: String,
    },
    /// The peer would have the bulk lane of this number, or a later one.
    LaneWanted(u32),
}

/// Why a carrier or the link cannot go on. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// A message could not be decoded.
    #[error("malformed message")]
    Frame(#[from] FrameError),
    /// A data frame begins behind what was received so far.
    #[error("{missing} bytes are missing before offset {offset}")]
    Gap {
        /// Where the frame begins.
        offset: u64,
        /// How many bytes were skipped.
        missing: u64,
    },
    /// A data frame runs over the end of all offsets.
    #[error("offset {0} cannot be")]
    OffsetOverflow(u64),
    /// The peer acknowledges bytes that were never sent to it, or takes back an acknowledgement
    /// when it resumes.
    #[error("peer claims to have received {claimed} bytes; it can have between {from} and {to}")]
    ImpossibleReceipt {
        /// What the peer said.
        claimed: u64,
        /// What it had acknowledged before.
        from: u64,
        /// What was sent.
        to: u64,
    },
}

/// Whether a carrier is there, and how the end goes.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Phase {
    Detached,
    Attached(Heartbeat),
    /// A close frame was sent or received.
    Closed,
}

/// This side is leaving. Nobody acknowledges that, so every carrier is told.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Drain {
    deadline: Duration,
    reason: String,
    /// When the first carrier was told.
    since: Option<Instant>,
    /// The current carrier is to be told.
    due: bool,
}

impl Drain {
    fn poll(&mut self, now: Instant) -> Option<Frame> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        let left = self.deadline.saturating_sub(passed).as_millis();
        Some(Frame::Drain {
            deadline_ms: u32::try_from(left).unwrap_or(u32::MAX),
            reason: self.reason.clone(),
        })
    }
}

/// This side would have another lane. As nobody acknowledges that either, every carrier is told.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Want {
    number: u32,
    due: bool,
}

/// A resumable byte stream. See the [module](self).
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Link {
    config: Config,
    phase: Phase,
    send: Send,
    receive: Receive,
    /// Frames of our own that go before data, at most one of each kind.
    pong: Option<u64>,
    drain: Option<Drain>,
    want: Option<Want>,
    /// Goes behind all data.
    close: Option<Frame>,
    /// What the peer said and the shell has not asked for yet, the newest of each kind.
    peer_drain: Option<(Instant, String)>,
    peer_close: Option<(CloseCode, String)>,
    peer_wants: Option<u32>,
    carrier_silent: bool,
    /// How fast the peer acknowledges the replay bound.
    turnover: Turnover,
    is_short: bool,
}

impl Link {
    /// A link without a carrier, at offset 0 in both directions.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            send: Send::new(config.replay_bound),
            receive: Receive::new(config.replay_bound, config.ack_delay),
            config,
            phase: Phase::Detached,
            pong: None,
            drain: None,
            want: None,
            close: None,
            peer_drain: None,
            peer_close: None,
            peer_wants: None,
            carrier_silent: false,
            turnover: Turnover::default(),
            is_short: false,
        }
    }

    /// A carrier is up, and the peer has `peer_received` bytes. Replaces a carrier that is there.
    ///
    /// # Errors
    ///
    /// [`LinkError::ImpossibleReceipt`]; the link is unchanged then.
    pub fn attach(&mut self, now: Instant, peer_received: Offset) -> Result<(), LinkError> {
        if matches!(self.phase, Phase::Closed) {
            return Ok(());
        }
        self.send.rewind(peer_received)?;
        self.receive.forget_acknowledged();
        self.pong = None;
        self.carrier_silent = false;
        if let Some(drain) = &mut self.drain {
            drain.due = true;
        }
        if let Some(want) = &mut self.want {
            want.due = true;
        }
        self.phase = Phase::Attached(Heartbeat::new(now, self.config.quiet, self.config.patience));
        Ok(())
    }

    /// The carrier is gone. Writes go on until the replay buffer is full.
    pub fn detach(&mut self) {
        if matches!(self.phase, Phase::Attached(_)) {
            self.phase = Phase::Detached;
        }
    }

    /// For how long nothing has been heard on this carrier; `None` without one.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        match &self.phase {
            Phase::Attached(heartbeat) => Some(heartbeat.silence(now)),
            Phase::Detached | Phase::Closed => None,
        }
    }

    /// How long the peer may be silent before it is asked.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.config.quiet
    }

    /// Lets the peer be silent for so long before it is asked, on this carrier and all that come.
    pub fn set_quiet(&mut self, quiet: Duration) {
        self.config.quiet = quiet;
        if let Phase::Attached(heartbeat) = &mut self.phase {
            heartbeat.set_quiet(quiet);
        }
    }

    /// How many bytes have been received: what a resuming hello says.
    #[must_use]
    pub fn received(&self) -> Offset {
        self.receive.received()
    }

    /// How many bytes have been written.
    #[must_use]
    pub fn written(&self) -> Offset {
        self.send.written()
    }

    /// How many written bytes the peer has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.send.unacknowledged()
    }

    /// How many written bytes have not been given to the current carrier.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.send.unsent()
    }

    /// The last round trip of a ping on this carrier.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Attached(heartbeat) => heartbeat.round_trip(),
            Phase::Detached | Phase::Closed => None,
        }
    }

    /// Takes bytes from the front of `bytes`, as many as the replay buffer has room for, and says
    /// how many. They leave in messages of up to [`FULL`]; a message that is not
    /// full waits for [`Link::flush`].
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if matches!(self.phase, Phase::Closed) {
            return 0;
        }
        self.send.write(bytes, self.receive.received())
    }

    /// Writes a block as a message of its own, without copying it. Its first [`HEADROOM`] bytes are
    /// not part of it; there is [`Link::room`] for the rest, of which there is at most [`FULL`].
    pub fn write_block(&mut self, block: BytesMut) {
        if !matches!(self.phase, Phase::Closed) {
            self.send.write_block(block, self.receive.received());
        }
    }

    /// About so many bytes are about to be written, in pieces: makes room for them at once.
    pub fn expect(&mut self, len: usize) {
        self.send.expect(len);
    }

    /// Makes a message of what was written so far.
    pub fn flush(&mut self) {
        self.send.seal(self.receive.received());
    }

    /// The next message for the carrier. `None` while there is no carrier or nothing to say.
    pub fn poll_message(&mut self, now: Instant) -> Option<Bytes> {
        let Phase::Attached(heartbeat) = &mut self.phase else {
            return None;
        };
        if let Some(id) = self.pong.take() {
            return Some(message(&Frame::Pong(id)));
        }
        if let Some(id) = heartbeat.poll_ping(now) {
            return Some(message(&Frame::Ping(id)));
        }
        if let Some(received) = self.receive.poll_ack(now) {
            return Some(message(&Frame::Ack(received)));
        }
        if let Some(drain) = self.drain.as_mut().and_then(|drain| drain.poll(now)) {
            return Some(message(&drain));
        }
        if let Some(want) = &mut self.want
            && std::mem::take(&mut want.due)
        {
            return Some(message(&Frame::WantLane(want.number)));
        }
        if let Some(chunk) = self.send.poll_chunk() {
            self.receive.acknowledged(chunk.carries);
            return Some(chunk.message);
        }
        let close = self.close.take()?;
        self.phase = Phase::Closed;
        Some(message(&close))
    }

    /// Takes in one message of the carrier.
    ///
    /// # Errors
    ///
    /// The peer broke the rules; the session must end with [`CloseCode::ProtocolError`].
    pub fn handle_message(&mut self, now: Instant, mut bytes: Bytes) -> Result<(), LinkError> {
        while let Some(frame) = frame::decode(&mut bytes)? {
            let Phase::Attached(heartbeat) = &mut self.phase else {
                return Ok(());
            };
            heartbeat.heard(now);
            match frame {
                Frame::Data {
                    offset,
                    received,
                    payload,
                } => {
                    self.acknowledged(now, received)?;
                    self.receive.data(now, offset, payload)?;
                }
                Frame::Ack(received) => self.acknowledged(now, received)?,
                Frame::Ping(id) => self.pong = Some(id),
                Frame::Pong(id) => heartbeat.pong(now, id),
                Frame::Drain {
                    deadline_ms,
                    reason,
                } => {
                    let deadline = now + Duration::from_millis(deadline_ms.into());
                    self.peer_drain = Some((deadline, reason));
                }
                Frame::WantLane(number) => self.peer_wants = Some(number),
                Frame::Close { code, reason } => {
                    self.peer_close = Some((code, reason));
                    self.phase = Phase::Closed;
                }
            }
        }
        Ok(())
    }

    /// The peer has everything before `received`. Notes whether it could have more.
    fn acknowledged(&mut self, now: Instant, received: Offset) -> Result<(), LinkError> {
        let more = self.send.acknowledge(received)?;
        if let Phase::Attached(heartbeat) = &self.phase
            && let Some(round_trip) = heartbeat.shortest()
        {
            let bound = self.config.replay_bound as u64;
            self.is_short |= self.turnover.used(now, more, bound, round_trip);
        }
        Ok(())
    }

    /// Whether the replay bound has held the link up since it was last asked: the way takes more.
    pub fn take_short(&mut self) -> bool {
        std::mem::take(&mut self.is_short)
    }

    /// Moves received bytes into `out` and says how many; 0 if none are there.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        self.receive.read(out)
    }

    /// Takes received bytes as they came, up to one frame's payload; `None` if none are there.
    pub fn take(&mut self) -> Option<Bytes> {
        self.receive.take()
    }

    /// How many received bytes wait to be read.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.receive.buffered()
    }

    /// About how much memory the received bytes hold: what a bound on reading ahead must count,
    /// as a peer may send its bytes one by one.
    #[must_use]
    pub fn held(&self) -> usize {
        self.receive.held()
    }

    /// How many bytes can be written before the peer acknowledges more.
    #[must_use]
    pub fn room(&self) -> usize {
        self.send.room()
    }

    /// Most bytes that are kept for the peer's acknowledgement.
    #[must_use]
    pub fn replay_bound(&self) -> usize {
        self.config.replay_bound
    }

    /// Keeps more, or fewer, bytes for the peer's acknowledgement from now on. What is kept
    /// already stays.
    pub fn set_replay_bound(&mut self, bound: usize) {
        self.config.replay_bound = bound;
        self.send.set_bound(bound);
    }

    /// Ends the link now, before anything that was written: the message to send, if there is a
    /// carrier. For a peer that broke the rules.
    pub fn abort(&mut self, code: CloseCode, reason: &str) -> Option<Bytes> {
        let attached = matches!(self.phase, Phase::Attached(_));
        self.phase = Phase::Closed;
        attached.then(|| {
            message(&Frame::Close {
                code,
                reason: reason.to_owned(),
            })
        })
    }

    /// Tells the peer that this side is leaving in `deadline`.
    pub fn drain(&mut self, deadline: Duration, reason: &str) {
        self.drain = Some(Drain {
            deadline,
            reason: reason.to_owned(),
            since: None,
            due: true,
        });
    }

    /// Asks the peer for the bulk lane of this number, on this carrier and all that come until
    /// another number is wanted, or none.
    pub fn want_lane(&mut self, number: Option<u32>) {
        self.want = number.map(|number| Want { number, due: true });
    }

    /// Ends the link behind everything that was written.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.flush();
        self.close = Some(Frame::Close {
            code,
            reason: reason.to_owned(),
        });
    }

    /// Whether a close frame was sent or received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// When [`Link::handle_timeout`] wants to be called; `None` without a carrier.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Phase::Attached(heartbeat) = &self.phase else {
            return None;
        };
        let beat = heartbeat.deadline();
        Some(self.receive.ack_at().map_or(beat, |ack| ack.min(beat)))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Attached(heartbeat) = &mut self.phase
            && heartbeat.handle_timeout(now)
        {
            self.carrier_silent = true;
        }
    }

    /// What the shell must know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.carrier_silent) {
            return Some(Event::CarrierSilent);
        }
        if let Some((deadline, reason)) = self.peer_drain.take() {
            return Some(Event::Draining { deadline, reason });
        }
        if let Some(number) = self.peer_wants.take() {
            return Some(Event::LaneWanted(number));
        }
        let (code, reason) = self.peer_close.take()?;
        Some(Event::Closed { code, reason })
    }
}

fn message(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame::encode(frame, &mut out);
    out.freeze()
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
