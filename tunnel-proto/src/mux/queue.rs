//! Bytes that wait to be sent, in blocks: what is behind never moves when what is in front leaves,
//! and a block that fills a message becomes one.

use super::HEADER;
use crate::link::{self, HEADROOM};
use bytes::{BufMut, BytesMut};
use std::collections::VecDeque;

/// Most bytes of a block: with its frame's header it fills a message.
pub(super) const BLOCK: usize = link::FULL - HEADER;

/// Fewest bytes that there is room for in a block.
const LEAST: usize = 256;

/// Fewest bytes of a block that is worth a message of its own.
const WORTH: usize = 16 * 1024;

/// In front of the bytes of a block there is room for the headers of message and frame.
const FRONT: usize = HEADROOM + HEADER;

#[derive(Debug, Default)]
pub(super) struct Queue {
    blocks: VecDeque<Block>,
    len: usize,
}

#[derive(Debug)]
struct Block {
    bytes: BytesMut,
    /// Where the bytes begin that have not left.
    left: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            let spare = self
                .blocks
                .back()
                .map_or(0, |last| last.bytes.capacity() - last.bytes.len());
            if spare == 0 {
                let size = bytes.len().clamp(LEAST, BLOCK);
                let mut block = BytesMut::with_capacity(FRONT + size);
                block.put_bytes(0, FRONT);
                self.blocks.push_back(Block {
                    bytes: block,
                    left: FRONT,
                });
                continue;
            }
            let (now, later) = bytes.split_at(spare.min(bytes.len()));
            if let Some(last) = self.blocks.back_mut() {
                last.bytes.put_slice(now);
            }
            bytes = later;
        }
    }

    /// How many bytes the first block has, if it is worth a message of its own.
    pub(super) fn first_block(&self) -> Option<usize> {
        let first = self.blocks.front()?;
        let len = first.bytes.len() - first.left;
        (first.left == FRONT && len >= WORTH).then_some(len)
    }

    /// Takes the first block, with room for the headers in front of it.
    pub(super) fn take_block(&mut self) -> Option<BytesMut> {
        let len = self.first_block()?;
        self.len -= len;
        self.blocks.pop_front().map(|block| block.bytes)
    }

    /// Hands out the first `len` bytes, of which there must be as many.
    pub(super) fn take(&mut self, mut len: usize, out: &mut impl FnMut(&[u8])) {
        self.len -= len;
        while len > 0
            && let Some(front) = self.blocks.front_mut()
        {
            let bytes = &front.bytes[front.left..];
            let now = len.min(bytes.len());
            out(&bytes[..now]);
            len -= now;
            front.left += now;
            if front.left == front.bytes.len() {
                self.blocks.pop_front();
            }
        }
        if self.blocks.is_empty() {
            self.blocks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            steps in prop::collection::vec((0..80_000_usize, 0..40_000_usize, any::<bool>()), 1..30),
        ) {
            let (mut queue, mut put, mut got) = (Queue::default(), Vec::new(), Vec::new());
            for (number, (push, take, whole)) in steps.into_iter().enumerate() {
                let bytes = vec![number as u8; push];
                queue.push(&bytes);
                put.extend(bytes);
                if whole && let Some(block) = queue.take_block() {
                    prop_assert!(block.len() <= FRONT + BLOCK);
                    got.extend_from_slice(&block[FRONT..]);
                }
                queue.take(take.min(queue.len()), &mut |bytes| got.extend_from_slice(bytes));
                prop_assert_eq!(queue.len(), put.len() - got.len());
            }
            queue.take(queue.len(), &mut |bytes| got.extend_from_slice(bytes));
            prop_assert_eq!(put, got);
            prop_assert!(queue.is_empty() && queue.blocks.is_empty());
        }
    }
}
