//! The sending half: bytes become messages, and messages are kept until the peer has them.

use super::LinkError;
use crate::frame::{DATA_HEADER, MAX_PAYLOAD, Offset, data_header};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Payload of a full message, in bytes: with its headers and those of a masked WebSocket frame it fills four
/// TLS records. One byte more would take a fifth record, and a system call of its own.
pub const FULL: usize = 4 * 16 * 1024 - 14 - DATA_HEADER;
const _: () = assert!(FULL <= MAX_PAYLOAD);

/// First allocation for outgoing bytes; grows to a full message when more is written at once.
const FIRST_BLOCK: usize = 4 * 1024;

/// A message is kept for each so many bytes of the bound, and [`LEAST_MESSAGES`] anyway: a peer that
/// acknowledges nothing and causes short answers would else fill the bound with what costs several
/// times its bytes.
pub(super) const BYTES_A_MESSAGE: usize = 256;

/// See [`BYTES_A_MESSAGE`].
pub(super) const LEAST_MESSAGES: usize = 64;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Send {
    bound: usize,
    /// The peer has everything before this.
    acknowledged: Offset,
    /// Where the first byte of `open` belongs.
    sealed: Offset,
    /// Whole messages, oldest first; the first may be acknowledged in part.
    chunks: VecDeque<Chunk>,
    /// How many of `chunks` have been given to the current carrier.
    sent: usize,
    /// Room for a data header, then bytes that are not in a message yet; empty when there are none.
    open: BytesMut,
    /// Where `open` comes from. Dropped whenever everything is acknowledged, so that an idle link
    /// holds no buffer.
    block: BytesMut,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Chunk {
    end: Offset,
    /// What the message says we have received.
    carries: Offset,
    message: Bytes,
}

/// A message of data for the carrier.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: Bytes,
    pub(super) carries: Offset,
}

impl Send {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            acknowledged: Offset(0),
            sealed: Offset(0),
            chunks: VecDeque::new(),
            sent: 0,
            open: BytesMut::new(),
            block: BytesMut::new(),
        }
    }

    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    pub(super) fn written(&self) -> Offset {
        Offset(self.sealed.0 + self.open_len() as u64)
    }

    pub(super) fn unacknowledged(&self) -> usize {
        // At most `bound`, so it fits.
        self.written().since(self.acknowledged) as usize
    }

    pub(super) fn unsent(&self) -> usize {
        // At most `bound`, so it fits.
        self.written().since(self.sent_end()) as usize
    }

    fn open_len(&self) -> usize {
        self.open.len().saturating_sub(DATA_HEADER)
    }

    /// How many bytes can be written before the peer acknowledges more.
    pub(super) fn room(&self) -> usize {
        if self.chunks.len() >= LEAST_MESSAGES.max(self.bound / BYTES_A_MESSAGE) {
            return 0;
        }
        self.bound.saturating_sub(self.unacknowledged())
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], received: Offset) -> usize {
        let taken = self.room().min(bytes.len());
        bytes = &bytes[..taken];
        while !bytes.is_empty() {
            if self.open.is_empty() {
                self.start(bytes.len());
            }
            let fits = (FULL - self.open_len()).min(bytes.len());
            let (now, later) = bytes.split_at(fits);
            self.open.extend_from_slice(now);
            bytes = later;
            if self.open_len() == FULL {
                self.seal(received);
            }
        }
        taken
    }

    /// Writes all of a block, which becomes a message of its own without being copied. Its first
    /// bytes are room for the header.
    pub(super) fn write_block(&mut self, mut block: BytesMut, received: Offset) {
        self.seal(received);
        let len = block.len() - DATA_HEADER;
        block[..DATA_HEADER].copy_from_slice(&data_header(self.sealed, received, len));
        self.push(block.freeze(), len, received);
    }

    /// So many bytes are about to be written: makes room for them at once.
    pub(super) fn expect(&mut self, len: usize) {
        if self.open.is_empty() && len > 0 {
            self.start(len);
            self.block = std::mem::take(&mut self.open);
            self.block.clear();
        }
    }

    fn start(&mut self, hint: usize) {
        let wanted = DATA_HEADER + hint.min(FULL);
        if self.block.capacity() < wanted {
            self.block = BytesMut::with_capacity(wanted.max(FIRST_BLOCK));
        }
        self.open = std::mem::take(&mut self.block);
        self.open.resize(DATA_HEADER, 0);
    }

    pub(super) fn seal(&mut self, received: Offset) {
        let len = self.open_len();
        if len == 0 {
            return;
        }
        self.open[..DATA_HEADER].copy_from_slice(&data_header(self.sealed, received, len));
        let message = self.open.split().freeze();
        self.block = std::mem::take(&mut self.open);
        self.push(message, len, received);
    }

    fn push(&mut self, message: Bytes, len: usize, received: Offset) {
        self.sealed = Offset(self.sealed.0 + len as u64);
        self.chunks.push_back(Chunk {
            end: self.sealed,
            carries: received,
            message,
        });
    }

    pub(super) fn poll_chunk(&mut self) -> Option<Outgoing> {
        let chunk = self.chunks.get(self.sent)?;
        self.sent += 1;
        Some(Outgoing {
            message: chunk.message.clone(),
            carries: chunk.carries,
        })
    }

    /// The peer has everything before `received`; says how many bytes that is more. An older
    /// acknowledgement changes nothing.
    pub(super) fn acknowledge(&mut self, received: Offset) -> Result<u64, LinkError> {
        self.check(received, Offset(0), self.sent_end())?;
        if received <= self.acknowledged {
            return Ok(0);
        }
        let more = received.since(self.acknowledged);
        self.acknowledged = received;
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.end <= received)
        {
            self.chunks.pop_front();
            self.sent -= 1;
        }
        if self.chunks.is_empty() && self.open.is_empty() {
            self.block = BytesMut::new();
            self.chunks.shrink_to(8);
        }
        Ok(more)
    }

    /// A new carrier: everything behind `received` is sent again. The peer drops the part of the
    /// first message that it already has.
    pub(super) fn rewind(&mut self, received: Offset) -> Result<(), LinkError> {
        let sealed = self.sealed;
        self.check(received, self.acknowledged, sealed)?;
        // Another carrier may have delivered more than was counted as sent on it.
        self.sent = self.chunks.len();
        self.acknowledge(received)?;
        self.sent = 0;
        Ok(())
    }

    fn sent_end(&self) -> Offset {
        match self.sent.checked_sub(1) {
            Some(last) => self.chunks[last].end,
            None => self.acknowledged,
        }
    }

    fn check(&self, claimed: Offset, from: Offset, to: Offset) -> Result<(), LinkError> {
        if (from..=to).contains(&claimed) {
            return Ok(());
        }
        Err(LinkError::ImpossibleReceipt {
            claimed: claimed.0,
            from: from.0,
            to: to.0,
        })
    }
}
