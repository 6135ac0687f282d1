//! Bytes that wait to be sent, in blocks: what is behind never moves when what is in front leaves.

use bytes::{Buf, BufMut, BytesMut};
use std::collections::VecDeque;

/// Most bytes of a block; as many as a stream sends in one turn.
const BLOCK: usize = crate::gate::QUANTUM;

/// Fewest bytes of a block.
const LEAST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Queue {
    blocks: VecDeque<BytesMut>,
    len: usize,
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
                .map_or(0, |last| last.capacity() - last.len());
            if spare == 0 {
                let size = bytes.len().clamp(LEAST, BLOCK);
                self.blocks.push_back(BytesMut::with_capacity(size));
                continue;
            }
            let (now, later) = bytes.split_at(spare.min(bytes.len()));
            if let Some(last) = self.blocks.back_mut() {
                last.put_slice(now);
            }
            bytes = later;
        }
    }

    /// Hands out the first `len` bytes, of which there must be as many.
    pub(super) fn take(&mut self, mut len: usize, out: &mut impl FnMut(&[u8])) {
        self.len -= len;
        while len > 0
            && let Some(front) = self.blocks.front_mut()
        {
            let now = len.min(front.len());
            out(&front[..now]);
            len -= now;
            if now == front.len() {
                self.blocks.pop_front();
            } else {
                front.advance(now);
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
        fn what_goes_in_comes_out(steps in prop::collection::vec((0..40_000_usize, 0..40_000_usize), 1..30)) {
            let (mut queue, mut put, mut got) = (Queue::default(), Vec::new(), Vec::new());
            for (number, (push, take)) in steps.into_iter().enumerate() {
                let bytes = vec![number as u8; push];
                queue.push(&bytes);
                put.extend(bytes);
                queue.take(take.min(queue.len()), &mut |bytes| got.extend_from_slice(bytes));
                prop_assert_eq!(queue.len(), put.len() - got.len());
            }
            queue.take(queue.len(), &mut |bytes| got.extend_from_slice(bytes));
            prop_assert_eq!(put, got);
            prop_assert!(queue.is_empty() && queue.blocks.is_empty());
        }
    }
}
