//! Dates, times and durations.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

/// `full-date` of RFC 3339.
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let part = |range| {
        text.get(range)
            .and_then(|part: &str| part.parse::<i16>().ok())
    };
    match (is_shaped, part(0..4), part(5..7), part(8..10)) {
        // Both fit: they have two digits.
        (true, Some(year), Some(month), Some(day)) => {
            Date::new(year, month as i8, day as i8).is_ok()
        }
        _ => false,
    }
}

/// `date-time` of RFC 3339, and what else strfmt takes for one.
pub(super) fn is_date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    is_date(date) && is_time(time)
}

fn is_time(text: &str) -> bool {
    static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new("^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})$").ok()
    });
    let Some(parts) = TIME.as_ref().and_then(|time| time.captures(text)) else {
        return false;
    };
    &parts[1] <= "23" && &parts[2] <= "59" && &parts[3] <= "59"
}

/// A duration of Go, or any text with a number and a unit in it as Scala writes them.
pub(super) fn is_duration(text: &str) -> bool {
    is_go_duration(text) || has_unit(text)
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let whole: f64 = rest[..number].parse().unwrap_or(0.0);
        rest = &rest[number..];
        let mut digits = number;
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            digits += fraction.len() - rest.len();
        }
        let end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let factor = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return false,
        };
        if digits == 0 {
            return false;
        }
        rest = &rest[end..];
        nanoseconds += whole * factor;
    }
    // The greatest duration has no float of its own; the other notation takes it.
    nanoseconds < 9_223_372_036_854_775_808.0
}

fn has_unit(text: &str) -> bool {
    static PART: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new("([0-9]+)[\\t\\n\\x0c\\r ]*([A-Za-zµ]+)").ok());
    let Some(part) = PART.as_ref() else {
        return false;
    };
    let mut found = false;
    for parts in part.captures_iter(text) {
        if parts[1].parse::<i64>().is_err() {
            return false;
        }
        found |= is_unit(&parts[2].to_lowercase());
    }
    found
}

/// The long name of a unit may be followed by anything.
fn is_unit(unit: &str) -> bool {
    matches!(
        unit,
        "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "hr" | "d" | "w" | "wk"
    ) || [
        "nano", "micro", "milli", "sec", "min", "hour", "day", "week",
    ]
    .iter()
    .any(|name| unit.starts_with(name))
}
