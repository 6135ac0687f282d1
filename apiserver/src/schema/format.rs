//! Formats of strings, as kube-openapi's `strfmt` checks them for CustomResourceDefinitions.
//!
//! Formats that kube-apiserver does not check there (`int32`, `int64`, `float`, …) pass everything.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

mod internet;
mod number;
mod time;

/// Whether values of this format are checked at all.
pub(super) fn is_known(name: &str) -> bool {
    check_of(name).is_some()
}

/// Whether `text` is of the format. Unknown formats have no other texts.
pub(super) fn is_valid(name: &str, text: &str) -> bool {
    check_of(name).is_none_or(|check| check(text))
}

fn check_of(name: &str) -> Option<fn(&str) -> bool> {
    // Dashes do not count in names.
    let check = match name.replace('-', "").as_str() {
        "bsonobjectid" => object_id,
        "byte" => base64,
        "cidr" => cidr,
        "creditcard" => number::is_credit_card,
        "date" => time::is_date,
        "datetime" => time::is_date_time,
        "duration" => time::is_duration,
        "email" => internet::is_email,
        "hexcolor" => hex_color,
        "hostname" => internet::is_host_name,
        "ipv4" => ipv4,
        "ipv6" => |text: &str| text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => |text: &str| number::is_isbn10(text) || number::is_isbn13(text),
        "isbn10" => number::is_isbn10,
        "isbn13" => number::is_isbn13,
        "k8slongname" => |text: &str| text.len() <= 253 && text.split('.').all(is_name),
        "k8sshortname" => |text: &str| text.len() <= 63 && is_name(text),
        "mac" => internet::is_mac,
        "password" => |_: &str| true,
        "rgbcolor" => rgb_color,
        "ssn" => social_security,
        "uri" => internet::is_request_uri,
        "uuid" => |text: &str| uuid(text, None, ANY),
        "uuid3" => |text: &str| uuid(text, Some(b'3'), ANY),
        "uuid4" => |text: &str| uuid(text, Some(b'4'), b"89ab"),
        "uuid5" => |text: &str| uuid(text, Some(b'5'), b"89ab"),
        _ => return None,
    };
    Some(check)
}

const ANY: &[u8] = b"0123456789abcdef";

/// Thirty-two hexadecimal digits with four dashes that may be left out.
fn uuid(text: &str, version: Option<u8>, variants: &[u8]) -> bool {
    let mut rest = text.as_bytes();
    let mut digits = Vec::with_capacity(32);
    for (part, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if part > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((head, tail)) = rest.split_at_checked(length) else {
            return false;
        };
        digits.extend(head.iter().map(u8::to_ascii_lowercase));
        rest = tail;
    }
    rest.is_empty()
        && digits.iter().all(u8::is_ascii_hexdigit)
        && version.is_none_or(|version| digits[12] == version)
        && variants.contains(&digits[16])
}

fn object_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Standard alphabet with padding; an empty text is none.
fn base64(text: &str) -> bool {
    let body = text
        .strip_suffix("==")
        .or_else(|| text.strip_suffix('='))
        .unwrap_or(text);
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !text.is_empty() && text.len().is_multiple_of(4) && body.bytes().all(is_digit)
}

fn ipv4(text: &str) -> bool {
    text.contains('.') && internet_address(text).is_some()
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    match (internet_address(address), length.parse::<u32>()) {
        (Some(bits), Ok(length)) => is_number && length <= bits,
        _ => false,
    }
}

/// How many bits the address has. Numbers may have leading zeros, as before Go 1.17.
fn internet_address(text: &str) -> Option<u32> {
    let Some((head, tail)) = text.rsplit_once(':') else {
        return without_zeros(text)?.parse::<Ipv4Addr>().ok().map(|_| 32);
    };
    let address = match tail.contains('.') {
        true => format!("{head}:{}", without_zeros(tail)?),
        false => text.to_owned(),
    };
    address.parse::<Ipv6Addr>().ok().map(|_| 128)
}

fn without_zeros(text: &str) -> Option<String> {
    let mut numbers = Vec::with_capacity(4);
    for number in text.split('.') {
        let digits = number.trim_start_matches('0');
        if number.is_empty() || digits.len() > 3 || numbers.len() == 4 {
            return None;
        }
        numbers.push(if digits.is_empty() { "0" } else { digits });
    }
    Some(numbers.join("."))
}

fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(is_inner)
}

fn hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn rgb_color(text: &str) -> bool {
    static COLOR: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let part = "[\\t\\n\\x0c\\r ]*(?:0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])[\\t\\n\\x0c\\r ]*";
        Regex::new(&format!("^rgb\\({part},{part},{part}\\)$")).ok()
    });
    COLOR.as_ref().is_some_and(|color| color.is_match(text))
}

fn social_security(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            3 | 6 => matches!(byte, b'-' | b' '),
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests;
