//! How long ago something was, for people, as kubectl shows it.

use jiff::Timestamp;

/// The time from `then` to `now` in two units at most; the smaller one is left out where it says
/// little. A time in the future is `<invalid>`, but for the second that clocks may differ by.
#[must_use]
pub fn human_age(then: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let seconds = now.duration_since(then).as_secs();
    let two = |large: i64, small: i64, names: [char; 2]| {
        let rest = seconds % large / small;
        match rest {
            0 => format!("{}{}", seconds / large, names[0]),
            rest => format!("{}{}{rest}{}", seconds / large, names[0], names[1]),
        }
    };
    let one = |unit: i64, name: char| format!("{}{name}", seconds / unit);
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        0..120 => one(1, 's'),
        120..600 => two(MINUTE, 1, ['m', 's']),
        600..10_800 => one(MINUTE, 'm'),
        10_800..28_800 => two(HOUR, MINUTE, ['h', 'm']),
        28_800..172_800 => one(HOUR, 'h'),
        172_800..691_200 => two(DAY, HOUR, ['d', 'h']),
        691_200..63_072_000 => one(DAY, 'd'),
        63_072_000..252_288_000 => two(YEAR, DAY, ['y', 'd']),
        _ => one(YEAR, 'y'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (601, "10m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (700_000, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (260_000_000, "8y"),
        ] {
            let then = now - jiff::SignedDuration::from_secs(seconds);
            assert_eq!(human_age(then, now), expected, "{seconds}");
        }
    }
}
