//! One stream: what waits to be sent, what waits to be read, and what each side has allowed.

use super::{
    MuxError, StreamId,
    pace::Pace,
    queue::{self, Queue},
};
use crate::{budget::Grant, gate, turnover::Turnover};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What every stream may have unread, whatever else is going on.
pub const BASE_WINDOW: u32 = 64 * 1024;

/// What a stream's window is made at once where memory allows it.
pub(super) const FIRST_WINDOW: u32 = 256 * 1024;

/// Written bytes of a stream that may wait for their turn: those of a full message, as the rest of
/// them would take one of its own. Every one of them is latency of the stream itself.
pub(super) const SEND_QUEUE: usize = queue::BLOCK;
const _: () = assert!(SEND_QUEUE <= BASE_WINDOW as usize);

/// A piece shorter than this is put behind what is there, so that it does not keep the whole message
/// it came in: what is unread pins at most eight times as much. Turns of bulk are longer.
const KEPT: usize = 8 * 1024;
const _: () = assert!(KEPT < gate::QUANTUM);

/// By how much a window grows that is too small.
const GROWTH: u64 = 4;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) send: SendHalf,
    pub(super) receive: ReceiveHalf,
    /// Frames without data that are to be sent, in the order of the fields.
    pub(super) due: Due,
    /// Nobody holds the stream any more.
    pub(super) released: bool,
    /// It counts as one of its opener's.
    pub(super) counted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Due {
    /// Among the streams that have something due.
    pub(super) listed: bool,
    pub(super) open: bool,
    pub(super) class: bool,
    pub(super) credit: bool,
    pub(super) reset: Option<u32>,
}

/// How one direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has not.
    Open,
    /// Its sender will send what is queued, and then nothing more.
    Finishing,
    /// Its sender will send what is queued, and then cut it off: nobody holds the stream.
    Leaving,
    /// In order.
    Finished,
    /// Cut off.
    Reset(u32),
}

#[derive(Debug)]
pub(super) struct SendHalf {
    pub(super) queue: Queue,
    /// How many bytes have been sent.
    sent: u64,
    /// Up to where the peer takes bytes.
    limit: u64,
    pub(super) end: End,
    /// Waits for its turn.
    pub(super) in_gate: bool,
    /// Somebody waits until more can be written.
    pub(super) writer_waits: bool,
    pub(super) pace: Pace,
}

#[derive(Debug)]
pub(super) struct ReceiveHalf {
    queue: VecDeque<Bytes>,
    /// Short pieces, behind the queue.
    tail: BytesMut,
    buffered: usize,
    received: u64,
    consumed: u64,
    /// Up to where the peer has been told to send.
    told: u64,
    window: u64,
    grown: Grant,
    pub(super) end: End,
    /// Somebody waits until there is something to read.
    pub(super) reader_waits: bool,
    turnover: Turnover,
}

impl Stream {
    /// Whether nothing more will be sent or received for it.
    pub(super) fn is_over(&self) -> bool {
        let sent = matches!(self.send.end, End::Finished | End::Reset(_));
        let received = !matches!(self.receive.end, End::Open);
        sent && received && self.due.reset.is_none() && !self.due.open
    }
}

impl SendHalf {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            queue: Queue::default(),
            sent: 0,
            limit: BASE_WINDOW.into(),
            end: End::Open,
            in_gate: false,
            writer_waits: false,
            pace,
        }
    }

    /// How many queued bytes the peer takes now.
    pub(super) fn sendable(&self) -> usize {
        let credit = usize::try_from(self.limit - self.sent).unwrap_or(usize::MAX);
        self.queue.len().min(credit)
    }

    /// How many bytes more the peer takes.
    pub(super) fn credit(&self) -> u64 {
        self.limit - self.sent
    }

    /// Whether it has a reason to wait for its turn.
    pub(super) fn wants_turn(&self) -> bool {
        match self.end {
            End::Open => self.sendable() > 0,
            End::Finishing | End::Leaving => self.sendable() > 0 || self.queue.is_empty(),
            End::Finished | End::Reset(_) => false,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = SEND_QUEUE.saturating_sub(self.queue.len()).min(bytes.len());
        self.queue.push(&bytes[..taken]);
        self.writer_waits = taken == 0 && !bytes.is_empty();
        taken
    }

    /// Whether all that is queued will be sent, whatever the peer does. If not, whoever asks
    /// waits.
    pub(super) fn is_covered(&mut self) -> bool {
        let covered = !self.is_short_of_credit();
        self.writer_waits |= !covered;
        covered
    }

    /// Whether more is queued than the peer takes now.
    pub(super) fn is_short_of_credit(&self) -> bool {
        self.queue.len() as u64 > self.credit()
    }

    /// The peer takes bytes up to `limit`.
    pub(super) fn allow(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// How many bytes the first block of the queue has, if it is worth a message of its own and the
    /// peer takes it.
    pub(super) fn first_block(&self) -> Option<usize> {
        let len = self.queue.first_block()?;
        (len as u64 <= self.credit()).then_some(len)
    }

    /// Hands out the first block as sent.
    pub(super) fn take_block(&mut self) -> Option<BytesMut> {
        self.sent += self.first_block()? as u64;
        self.queue.take_block()
    }

    /// Hands out so many bytes of the queue as sent.
    pub(super) fn take(&mut self, len: usize, out: &mut impl FnMut(&[u8])) {
        self.sent += len as u64;
        self.queue.take(len, out);
    }

    /// Whether somebody who waits to write should be woken.
    pub(super) fn wake(&mut self) -> bool {
        let room = self.queue.len() <= SEND_QUEUE / 2;
        room && std::mem::take(&mut self.writer_waits)
    }

    /// Ends it at once; says how many queued bytes that drops.
    pub(super) fn cut(&mut self, code: u32) -> usize {
        self.end = End::Reset(code);
        std::mem::take(&mut self.queue).len()
    }
}

impl ReceiveHalf {
    pub(super) fn new(grown: Grant) -> Self {
        Self {
            queue: VecDeque::new(),
            tail: BytesMut::new(),
            buffered: 0,
            received: 0,
            consumed: 0,
            told: BASE_WINDOW.into(),
            window: BASE_WINDOW.into(),
            grown,
            end: End::Open,
            reader_waits: false,
            turnover: Turnover::default(),
        }
    }

    /// Makes the window as large as it is at first, if there is memory for it.
    pub(super) fn widen(&mut self) -> bool {
        let more = (FIRST_WINDOW - BASE_WINDOW) as usize;
        let got = self.grown.grow(more, more);
        self.window += got as u64;
        got > 0
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes in bytes of the peer.
    pub(super) fn data(&mut self, id: StreamId, bytes: Bytes) -> Result<(), MuxError> {
        self.received += bytes.len() as u64;
        if self.received > self.told {
            return Err(MuxError::OverCredit(id));
        }
        self.buffered += bytes.len();
        if bytes.len() < KEPT {
            self.tail.extend_from_slice(&bytes);
        } else {
            if !self.tail.is_empty() {
                self.queue.push_back(self.tail.split().freeze());
            }
            self.queue.push_back(bytes);
        }
        Ok(())
    }

    /// Drops what is there: nobody will read it.
    pub(super) fn discard(&mut self) {
        self.queue = VecDeque::new();
        self.tail = BytesMut::new();
        self.buffered = 0;
    }

    /// Whatever the peer may still send is as good as read. A window holds all that it has queued.
    pub(super) fn forgo(&mut self) {
        self.consumed = self.told;
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let rest = &mut out[filled..];
            let len = match self.queue.front_mut() {
                Some(front) => {
                    let len = front.len().min(rest.len());
                    front.copy_to_slice(&mut rest[..len]);
                    if front.is_empty() {
                        self.queue.pop_front();
                    }
                    len
                }
                None => {
                    let len = self.tail.len().min(rest.len());
                    self.tail.copy_to_slice(&mut rest[..len]);
                    len
                }
            };
            if len == 0 {
                break;
            }
            filled += len;
        }
        if self.tail.is_empty() {
            self.tail = BytesMut::new();
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(8);
        }
        self.buffered -= filled;
        self.consumed += filled as u64;
        filled
    }

    /// After so many bytes were read at `now`: makes a window larger that holds the sender up, and
    /// says whether the peer should be told how far it may go.
    pub(super) fn measure(&mut self, now: Instant, read: usize, round_trip: Duration) -> bool {
        let turnover = &mut self.turnover;
        if turnover.used(now, read as u64, self.window, round_trip) {
            let more = usize::try_from(self.window * (GROWTH - 1)).unwrap_or(usize::MAX);
            self.window += self.grown.grow(more, BASE_WINDOW as usize) as u64;
        }
        // A quarter of the window: a sender never waits while another quarter is read.
        self.end == End::Open && self.consumed + self.window - self.told >= self.window / 4
    }

    /// How far the peer may send: to be told now.
    pub(super) fn tell(&mut self) -> u64 {
        self.told = self.told.max(self.consumed + self.window);
        self.told
    }

    /// What the opener's first frame allows the other side.
    pub(super) fn tell_first(&mut self) -> u32 {
        u32::try_from(self.tell()).unwrap_or(u32::MAX)
    }
}
