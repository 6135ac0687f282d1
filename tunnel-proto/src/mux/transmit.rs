//! From the streams to the link: frames without data first, then whose turn it is.

use super::{
    Event, HEADER, HEADROOM, MAX_DATA, Mux, REFUSED, StreamId,
    frame::{self, Control, MAX_CONTROL},
    stream::{End, SendHalf},
};
use bytes::BytesMut;
use std::time::Instant;

/// Where frames go: a [`crate::link::Link`].
pub trait Out {
    /// About so many bytes come, in pieces.
    fn expect(&mut self, len: usize);

    /// The next bytes.
    fn bytes(&mut self, bytes: &[u8]);

    /// The next bytes, behind [`HEADROOM`] that are free for the taker's own header: a message that
    /// is full, or nearly so.
    fn block(&mut self, block: BytesMut);
}

/// One after the other.
impl Out for Vec<u8> {
    fn expect(&mut self, len: usize) {
        self.reserve(len);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn block(&mut self, block: BytesMut) {
        self.extend_from_slice(&block[HEADROOM..]);
    }
}

impl Mux {
    /// Puts at most `room` bytes of frames into `out`. Says how many bytes it was.
    pub fn transmit(&mut self, now: Instant, room: usize, out: &mut impl Out) -> usize {
        let mut left = room;
        while left >= HEADER + MAX_CONTROL {
            let Some((id, control)) = self.next_control() else {
                break;
            };
            let (bytes, len) = control.encode(id);
            out.bytes(&bytes[..len]);
            left -= len;
        }
        while left > HEADER + MAX_CONTROL {
            match self.next_data(now, left, left < room, out) {
                Some(used) => left -= used,
                None => break,
            }
        }
        room - left
    }

    /// The next frame without data.
    fn next_control(&mut self) -> Option<(StreamId, Control)> {
        if let Some(id) = self.refusals.pop_front() {
            return Some((id, Control::Reset(REFUSED)));
        }
        loop {
            let id = *self.due.front()?;
            let Some(stream) = self.streams.get_mut(&id) else {
                self.due.pop_front();
                continue;
            };
            let due = &mut stream.due;
            let control = if std::mem::take(&mut due.open) {
                Control::Open {
                    class: stream.send.pace.nominal(),
                    credit: stream.receive.tell_first(),
                }
            } else if std::mem::take(&mut due.class) {
                Control::Class(stream.send.pace.nominal())
            } else if std::mem::take(&mut due.credit) {
                Control::Credit(stream.receive.tell())
            } else if let Some(code) = due.reset.take() {
                Control::Reset(code)
            } else {
                due.listed = false;
                self.due.pop_front();
                self.settle(id);
                continue;
            };
            return Some((id, control));
        }
    }

    /// Sends from the stream whose turn it is; says how many bytes that took, with headers. `None`
    /// when no stream has anything to send, or one has a whole block for which there will be room
    /// when what was `begun` is on its way.
    fn next_data(
        &mut self,
        now: Instant,
        room: usize,
        begun: bool,
        out: &mut impl Out,
    ) -> Option<usize> {
        loop {
            let turn = self.gate.turn()?;
            let id = turn.member;
            let Some(stream) = self.streams.get_mut(&id) else {
                self.gate.leave(turn, 0);
                continue;
            };
            let send = &mut stream.send;
            let class = send.pace.class(now);
            if class != turn.class && send.wants_turn() {
                self.gate.leave(turn, 0);
                self.gate.join(id, class);
                continue;
            }
            let most = turn.bytes.min(room - HEADER).min(MAX_DATA);
            let whole = send.first_block().filter(|len| *len <= turn.bytes);
            if begun && whole.is_some_and(|len| len > most) {
                return None;
            }
            let expected = room.min(self.queued + 8 * HEADER);
            let len = send.put_data(id, most, expected, out);
            let mut used = 0;
            if len > 0 {
                self.queued -= len;
                send.pace.sent(now, len);
                used = HEADER + len;
            }
            if send.end == End::Finishing && send.queue.is_empty() && room - used >= HEADER {
                let (bytes, len) = Control::Fin.encode(id);
                out.bytes(&bytes[..len]);
                used += len;
                send.end = End::Finished;
            }
            if send.wake() {
                self.events.push_back(Event::Writable(id));
            }
            let leaves = send.end == End::Leaving && send.queue.is_empty();
            if send.wants_turn() && !leaves {
                self.gate.sent(turn, used);
            } else {
                send.in_gate = false;
                self.gate.leave(turn, used);
                self.leave_if_sent(id);
                self.reset_if_one_sided(id);
                self.settle(id);
            }
            if used > 0 {
                return Some(used);
            }
        }
    }
}

impl SendHalf {
    /// Sends a frame with at most so many bytes: the first block as it is, if that fits. With those
    /// of other streams about so many bytes are `expected`. Says how many bytes of data it was.
    fn put_data(
        &mut self,
        id: StreamId,
        most: usize,
        expected: usize,
        out: &mut impl Out,
    ) -> usize {
        if self.first_block().is_some_and(|len| len <= most)
            && let Some(mut block) = self.take_block()
        {
            let len = block.len() - HEADROOM - HEADER;
            let header = frame::data_header(id, len);
            block[HEADROOM..HEADROOM + HEADER].copy_from_slice(&header);
            out.block(block);
            return len;
        }
        let len = self.sendable().min(most);
        if len > 0 {
            out.expect(expected);
            out.bytes(&frame::data_header(id, len));
            self.take(len, &mut |bytes| out.bytes(bytes));
        }
        len
    }
}
