//! Numbers that come one after the other: which are missing, which came again.

use super::load::Tally;

/// Reads a rising sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    expected: Option<u64>,
}

impl Numbers {
    /// A sequence that begins with this number.
    pub(super) fn from(first: u64) -> Self {
        Self {
            expected: Some(first),
        }
    }

    /// Takes the next number. Without a beginning, any may be the first.
    pub(super) fn take(&mut self, number: u64, tally: &mut Tally) {
        let expected = self.expected.unwrap_or(number);
        if number < expected {
            tally.duplicated += 1;
            return;
        }
        tally.lost += number - expected;
        self.expected = Some(number + 1);
    }

    /// The number that has to come now; none before the first.
    pub(super) fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Counts all up to `last` that have not come as lost.
    pub(super) fn end(&self, last: u64, tally: &mut Tally) {
        tally.lost += (last + 1).saturating_sub(self.expected.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(numbers: &[u64]) -> (u64, u64) {
        let (mut sequence, mut tally) = (Numbers::default(), Tally::default());
        for number in numbers {
            sequence.take(*number, &mut tally);
        }
        (tally.lost, tally.duplicated)
    }

    #[test]
    fn a_sequence_without_gaps_loses_nothing_wherever_it_begins() {
        assert_eq!(read(&[7, 8, 9]), (0, 0));
    }

    #[test]
    fn each_missing_and_each_repeated_number_is_counted() {
        assert_eq!(read(&[1, 2, 5]), (2, 0));
        assert_eq!(read(&[1, 2, 1, 2, 3]), (0, 2));
        assert_eq!(read(&[1, 4, 3, 4, 5]), (2, 2));
    }

    #[test]
    fn what_did_not_come_until_the_end_is_lost() {
        let (mut sequence, mut tally) = (Numbers::from(0), Tally::default());
        sequence.take(0, &mut tally);
        sequence.end(0, &mut tally);
        assert_eq!(tally.lost, 0);
        sequence.end(3, &mut tally);
        assert_eq!(tally.lost, 3);
    }
}
