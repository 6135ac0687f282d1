//! What every store takes at most, the same for all back ends.

use std::collections::BTreeSet;

use crate::{Error, Op, Txn};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// Largest value, in bytes. With the longest key it still fits into a request to an etcd with its
/// default limit of 1.5 MiB.
pub const MAX_VALUE_BYTES: usize = 1_500_000;
/// Most comparisons, and most operations, in one transaction: etcd's default, less the comparison
/// with the claim of a process.
pub const MAX_TXN_ITEMS: usize = 127;
/// Largest transaction, in bytes as [`Txn::bytes`] counts them: etcd's default for a request,
/// less a little for what surrounds it.
pub const MAX_TXN_BYTES: usize = 1_536 * 1024 - 8 * 1024;

/// What a key takes beside its own bytes in a request to etcd: the prefix of the store and the
/// framing of the message.
const ITEM_BYTES: usize = 128;

impl Txn {
    /// About how large a request to etcd it makes. A compared key counts twice, because a
    /// conflict reads it back.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let compares = (self.compares.iter()).map(|compare| 2 * (compare.key.len() + ITEM_BYTES));
        let ops = self.ops.iter().map(|op| {
            let value = match op {
                Op::Put { value, .. } => value.len(),
                Op::Delete { .. } => 0,
            };
            op.key().len() + value + ITEM_BYTES
        });
        compares.chain(ops).sum()
    }

    /// Checks it against the limits.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let items = self.compares.len().max(self.ops.len());
        if items > MAX_TXN_ITEMS {
            return Err(Error::TxnLength(items));
        }
        let compared = self.compares.iter().map(|compare| &compare.key);
        for key in compared.chain(self.ops.iter().map(Op::key)) {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(Error::KeyLength(key.len()));
            }
        }
        for op in &self.ops {
            if let Op::Put { value, .. } = op
                && value.len() > MAX_VALUE_BYTES
            {
                return Err(Error::ValueLength(value.len()));
            }
        }
        let distinct: BTreeSet<_> = self.ops.iter().map(Op::key).collect();
        if distinct.len() < self.ops.len() {
            return Err(Error::DuplicateKey);
        }
        let bytes = self.bytes();
        if bytes > MAX_TXN_BYTES {
            return Err(Error::TxnBytes(bytes));
        }
        Ok(())
    }
}
