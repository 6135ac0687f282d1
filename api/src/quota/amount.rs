//! Quantities of Kubernetes as numbers that can be added and compared.

use std::fmt;
use std::str::FromStr;

/// A text is no quantity, or one of more than 28 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no quantity of Kubernetes")]
pub struct NoQuantity;

/// How much of a resource, exact to a billionth, as Kubernetes counts. Sums that are too large stay at the
/// largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

/// Billionths of one.
const ONE: i128 = 1_000_000_000;

/// Digits of a number that are read.
const MAX_DIGITS: usize = 28;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without `other`, not below nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

impl FromStr for Amount {
    type Err = NoQuantity;

    fn from_str(text: &str) -> Result<Self, NoQuantity> {
        let number = text.strip_prefix('+').unwrap_or(text);
        let end = number.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let (number, unit) = number.split_at(end.unwrap_or(number.len()));
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{part}");
        if digits.is_empty() || digits.len() > MAX_DIGITS {
            return Err(NoQuantity);
        }
        let digits: i128 = digits.parse().map_err(|_| NoQuantity)?;
        let (multiplier, exponent) = scale(unit)?;
        let exponent = exponent + 9 - i32::try_from(part.len()).map_err(|_| NoQuantity)?;
        let scaled = digits.checked_mul(multiplier).ok_or(NoQuantity)?;
        let power = 10_i128.checked_pow(exponent.unsigned_abs());
        let power = power.ok_or(NoQuantity)?;
        Ok(Self(match exponent {
            0.. => scaled.checked_mul(power).ok_or(NoQuantity)?,
            // As Kubernetes does, up.
            _ => scaled / power + i128::from(scaled % power != 0),
        }))
    }
}

/// What a unit multiplies by, with an exponent of ten.
fn scale(unit: &str) -> Result<(i128, i32), NoQuantity> {
    Ok(match unit {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = unit.strip_prefix(['e', 'E']).ok_or(NoQuantity)?;
            let exponent: i32 = exponent.parse().map_err(|_| NoQuantity)?;
            if !(-30..=30).contains(&exponent) {
                return Err(NoQuantity);
            }
            (1, exponent)
        }
    })
}

impl fmt::Display for Amount {
    /// Whole numbers of mebibytes and more as such, others in the largest unit that is exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEBI: i128 = 1 << 20;
        let Self(nanos) = *self;
        for (unit, name) in [(1, "n"), (1_000, "u"), (1_000_000, "m")] {
            if nanos % (unit * 1_000) != 0 {
                return write!(f, "{}{name}", nanos / unit);
            }
        }
        match nanos / ONE {
            0 => f.write_str("0"),
            whole if whole % MEBI == 0 => write!(f, "{}Mi", whole / MEBI),
            whole => write!(f, "{whole}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_are_those_of_kubernetes() {
        for (one, same) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("2.5M", "2500k"),
            ("1n", "0.000000001"),
            ("+3", "3"),
            (".5", "500m"),
            ("5.", "5"),
            // Less than a billionth is rounded up.
            ("0.1n", "1n"),
        ] {
            assert_eq!(amount(one), amount(same), "{one}");
        }
        assert!(amount("1Gi") > amount("1G") && amount("999m") < amount("1"));
        for bad in [
            "", "x", "1x", "1 ", "-1", "1.1.1", "1e99", "1Kib", "e3", "1e",
        ] {
            assert_eq!(bad.parse::<Amount>(), Err(NoQuantity), "{bad}");
        }
        assert_eq!("9".repeat(29).parse::<Amount>(), Err(NoQuantity));
    }

    #[test]
    fn amounts_are_shown_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("10", "10"),
            ("1.5", "1500m"),
            ("1Gi", "1024Mi"),
            ("1G", "1000000000"),
            ("1u", "1u"),
        ] {
            assert_eq!(amount(text).to_string(), shown);
        }
        assert_eq!(amount("1").plus(amount("500m")).to_string(), "1500m");
        assert_eq!(amount("1").minus(amount("2")), Amount::ZERO);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(nanos in 0..i128::from(i64::MAX)) {
            let amount = Amount(nanos);
            prop_assert_eq!(amount.to_string().parse::<Amount>().unwrap(), amount);
        }

        #[test]
        fn reading_never_panics(text: String) {
            let _ = text.parse::<Amount>();
        }
    }
}
