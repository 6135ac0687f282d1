//! How much may be held back: of each event, and of all watches together, whatever clusters send.

use prometheus_client::metrics::gauge::Gauge;

/// The longest event that is held back until it is whole, in bytes. etcd stores objects of 1.5 MiB.
const LONGEST_EVENT: usize = 4 * 1024 * 1024;

/// What all watches together hold back at most, in bytes.
const MOST: i64 = 64 * 1024 * 1024;

/// Counts what all watches hold back. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Gauge);

/// What one watch holds back; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Held,
    has: usize,
}

impl Held {
    /// The count itself, for metrics.
    pub(super) fn gauge(&self) -> Gauge {
        self.0.clone()
    }

    /// The share of another watch, which has nothing yet.
    pub(super) fn share(&self) -> Share {
        Share {
            held: self.clone(),
            has: 0,
        }
    }
}

impl Share {
    /// Takes what is missing to hold so many bytes, if there is that much. How many may be held then.
    pub(super) fn grow(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(LONGEST_EVENT);
        let more = count(wanted.saturating_sub(self.has));
        if more > 0 {
            if self.held.0.inc_by(more) + more > MOST {
                self.held.0.dec_by(more);
            } else {
                self.has = wanted;
            }
        }
        self.has
    }

    /// Gives back all but so many bytes.
    pub(super) fn shrink(&mut self, holds: usize) {
        let less = self.has.saturating_sub(holds);
        if less > 0 {
            self.held.0.dec_by(count(less));
            self.has -= less;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// Of what is bounded by [`LONGEST_EVENT`].
fn count(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_watch_holds_too_much_nor_do_all_together() {
        let held = Held::default();
        let mut shares: Vec<_> = (0..16).map(|_| held.share()).collect();
        for share in &mut shares {
            assert_eq!(share.grow(1000), 1000);
            assert_eq!(share.grow(usize::MAX), LONGEST_EVENT);
        }
        assert_eq!(held.0.get(), MOST);
        let mut late = held.share();
        assert_eq!(late.grow(1), 0);
        shares[0].shrink(10);
        assert_eq!(late.grow(1), 1);
        assert_eq!(late.grow(LONGEST_EVENT), 1, "and keeps what it has");
        drop(shares);
        assert_eq!(late.grow(LONGEST_EVENT), LONGEST_EVENT);
        drop(late);
        assert_eq!(held.0.get(), 0);
    }
}
