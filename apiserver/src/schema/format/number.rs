//! Numbers with a check digit.

pub(super) fn is_isbn10(text: &str) -> bool {
    let digits = without_separators(text);
    let Some((last, first)) = digits.split_last() else {
        return false;
    };
    if digits.len() != 10 || !first.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let check = match last {
        b'X' => 10,
        b'0'..=b'9' => u32::from(last - b'0'),
        _ => return false,
    };
    let sum: u32 = (1..)
        .zip(first)
        .map(|(weight, digit)| weight * u32::from(digit - b'0'))
        .sum();
    (sum + 10 * check).is_multiple_of(11)
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let digits = without_separators(text);
    if digits.len() != 13 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weighted = |(at, digit): (usize, &u8)| [1, 3][at % 2] * u32::from(digit - b'0');
    digits
        .iter()
        .enumerate()
        .map(weighted)
        .sum::<u32>()
        .is_multiple_of(10)
}

fn without_separators(text: &str) -> Vec<u8> {
    text.bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-')
        .collect()
}

/// A number of one of the known issuers, with anything between its digits.
pub(super) fn is_credit_card(text: &str) -> bool {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_digit)
        .map(|byte| byte - b'0')
        .collect();
    is_issued(&digits) && luhn(&digits)
}

fn is_issued(digits: &[u8]) -> bool {
    match digits {
        [4, rest @ ..] => matches!(rest.len(), 12 | 15),
        [5, 1..=5, rest @ ..] => rest.len() == 14,
        [6, 0, 1, 1, rest @ ..] | [6, 5, _, _, rest @ ..] => rest.len() == 12,
        [3, 4 | 7, rest @ ..] => rest.len() == 13,
        [3, 0, 0..=5, rest @ ..] | [3, 6 | 8, _, rest @ ..] => rest.len() == 11,
        [2, 1, 3, 1, rest @ ..] | [1, 8, 0, 0, rest @ ..] => rest.len() == 11,
        [3, 5, _, _, _, rest @ ..] => rest.len() == 11,
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let value = |(at, digit): (usize, &u8)| {
        let doubled = u32::from(*digit) * (1 + at as u32 % 2);
        doubled / 10 + doubled % 10
    };
    digits
        .iter()
        .rev()
        .enumerate()
        .map(value)
        .sum::<u32>()
        .is_multiple_of(10)
}
