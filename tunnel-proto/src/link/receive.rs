//! The receiving half: messages become bytes in order, and the peer is told how far they came.

use super::{
    LinkError,
    send::{BYTES_A_MESSAGE, LEAST_MESSAGES},
};
use crate::frame::Offset;
use bytes::{Buf, Bytes};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A payload up to this long is copied, so that it does not keep its whole message in memory.
const COPIED: usize = 4 * 1024;

/// What a queued payload costs beside its bytes.
const PIECE: usize = 128;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Receive {
    /// The peer is told at the latest after this many bytes, or as many messages as it may keep then.
    ack_every: u64,
    ack_delay: Duration,
    received: Offset,
    /// What the peer was last told on this carrier.
    acknowledged: Offset,
    /// Messages that came since.
    untold: usize,
    /// When to tell it; none if it knows.
    ack_at: Option<Instant>,
    queue: VecDeque<Bytes>,
    buffered: usize,
}

impl Receive {
    pub(super) fn new(replay_bound: usize, ack_delay: Duration) -> Self {
        Self {
            ack_every: (replay_bound / 4) as u64,
            ack_delay,
            received: Offset(0),
            acknowledged: Offset(0),
            untold: 0,
            ack_at: None,
            queue: VecDeque::new(),
            buffered: 0,
        }
    }

    pub(super) fn received(&self) -> Offset {
        self.received
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    pub(super) fn held(&self) -> usize {
        self.buffered + self.queue.len() * PIECE
    }

    pub(super) fn ack_at(&self) -> Option<Instant> {
        self.ack_at
    }

    pub(super) fn data(
        &mut self,
        now: Instant,
        offset: Offset,
        mut payload: Bytes,
    ) -> Result<(), LinkError> {
        let end = offset
            .checked_add(payload.len())
            .ok_or(LinkError::OffsetOverflow(offset.0))?;
        if offset > self.received {
            return Err(LinkError::Gap {
                offset: offset.0,
                missing: offset.since(self.received),
            });
        }
        if end <= self.received {
            return Ok(());
        }
        // Less than the payload's length, as `end` lies behind `received`.
        payload.advance(self.received.since(offset) as usize);
        self.received = end;
        self.buffered += payload.len();
        if payload.len() <= COPIED {
            payload = Bytes::copy_from_slice(&payload);
        }
        self.queue.push_back(payload);
        self.untold += 1;
        let bytes = self.received.since(self.acknowledged);
        let messages = (self.ack_every as usize / BYTES_A_MESSAGE).max(LEAST_MESSAGES / 4);
        let due = if bytes >= self.ack_every || self.untold >= messages {
            now
        } else {
            now + self.ack_delay
        };
        self.ack_at = Some(self.ack_at.map_or(due, |at| at.min(due)));
        Ok(())
    }

    /// The offset to acknowledge in a frame of its own, if that is due.
    pub(super) fn poll_ack(&mut self, now: Instant) -> Option<Offset> {
        if self.ack_at? > now {
            return None;
        }
        self.acknowledged(self.received);
        Some(self.received)
    }

    /// The peer has been told `offset`.
    pub(super) fn acknowledged(&mut self, offset: Offset) {
        self.acknowledged = self.acknowledged.max(offset);
        if self.acknowledged == self.received {
            self.untold = 0;
            self.ack_at = None;
        }
    }

    /// On a new carrier nothing was told yet, except in the hello.
    pub(super) fn forget_acknowledged(&mut self) {
        self.acknowledged = self.received;
        self.untold = 0;
        self.ack_at = None;
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        let piece = self.queue.pop_front()?;
        self.buffered -= piece.len();
        if self.queue.is_empty() {
            self.queue.shrink_to(8);
        }
        Some(piece)
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len()
            && let Some(front) = self.queue.front_mut()
        {
            let len = front.len().min(out.len() - filled);
            front
                .split_to(len)
                .copy_to_slice(&mut out[filled..filled + len]);
            filled += len;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
        self.buffered -= filled;
        filled
    }
}
