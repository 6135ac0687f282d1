//! Names and addresses of hosts, mail boxes and resources.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// A host name (RFC 1034), or a name of letters and symbols of any script.
pub(super) fn is_host_name(text: &str) -> bool {
    if text.len() > 255 || text.split('.').any(|label| label.len() > 63) {
        return false;
    }
    match text.rsplit_once('.') {
        None => is_single_label(text),
        Some((labels, top)) => {
            let letters = top.chars().count();
            (2..=63).contains(&letters)
                && top.chars().all(char::is_alphabetic)
                && labels.split('.').all(is_label)
        }
    }
}

/// One label that stands alone has a dash at most after its first character.
fn is_single_label(label: &str) -> bool {
    let mut characters = label.chars();
    let Some(first) = characters.next() else {
        return false;
    };
    let rest = characters.as_str();
    is_host_character(first)
        && rest
            .strip_prefix('-')
            .unwrap_or(rest)
            .chars()
            .all(is_host_character)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .chars()
            .all(|character| character == '-' || is_host_character(character))
}

fn is_host_character(character: char) -> bool {
    static SYMBOL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{S}\p{L}]$").ok());
    character.is_ascii_alphanumeric()
        || SYMBOL
            .as_ref()
            .is_some_and(|symbol| symbol.is_match(character.encode_utf8(&mut [0; 4])))
}

/// An address with or without a display name (RFC 5322, without comments and groups).
pub(super) fn is_email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    let address = match text.strip_suffix('>') {
        None => text,
        Some(inner) => {
            let Some((name, address)) = inner.rsplit_once('<') else {
                return false;
            };
            if !is_display_name(name.trim_matches([' ', '\t'])) {
                return false;
            }
            address
        }
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let is_local = quoted(local).is_some_and(is_quotable) || is_dot_atom(local);
    is_local && (is_dot_atom(domain) || is_domain_literal(domain))
}

fn is_display_name(name: &str) -> bool {
    quoted(name).map_or_else(
        || {
            name.split([' ', '\t'])
                .all(|word| word.chars().all(is_word))
        },
        is_quotable,
    )
}

fn is_word(character: char) -> bool {
    is_atom_character(character) || character == '.'
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

fn is_quotable(text: &str) -> bool {
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            '\0'..='\x08' | '\n'..='\x1f' | '\x7f' => return false,
            _ => {}
        }
    }
    !escaped
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character))
}

fn is_atom_character(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || !character.is_ascii()
        || "!#$%&'*+-/=?^_`{|}~".contains(character)
}

fn is_domain_literal(text: &str) -> bool {
    let Some(inner) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    else {
        return false;
    };
    inner.parse::<IpAddr>().is_ok()
}

/// A hardware address of 6, 8 or 20 bytes, in one of Go's three notations.
pub(super) fn is_mac(text: &str) -> bool {
    let parts = |separator: char, digits: usize, counts: [usize; 3]| {
        let parts: Vec<_> = text.split(separator).collect();
        counts.contains(&parts.len())
            && parts.iter().all(|part| {
                part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
    };
    parts(':', 2, [6, 8, 20]) || parts('-', 2, [6, 8, 20]) || parts('.', 4, [3, 4, 10])
}

/// What Go's `url.ParseRequestURI` takes: an absolute URI or an absolute path.
pub(super) fn is_request_uri(text: &str) -> bool {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = split_scheme(text) else {
        return false;
    };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        // An opaque part is not looked into.
        return !scheme.is_empty();
    }
    let authority = rest
        .strip_prefix("//")
        .filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let path = match authority {
        None => rest,
        Some(after) => {
            let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
            if !is_authority(authority) {
                return false;
            }
            path
        }
    };
    has_valid_escapes(path)
}

/// The scheme, which may be empty, and what follows it. None if it is malformed.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (at, character) in text.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at > 0 => return Some((&text[..at], &text[at + 1..])),
            ':' => return None,
            _ => break,
        }
    }
    Some(("", text))
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let is_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    user.chars().all(is_user) && has_valid_escapes(user) && is_host(host)
}

fn is_host(host: &str) -> bool {
    let is_port = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    };
    if let Some(inner) = host.strip_prefix('[') {
        let Some((address, port)) = inner.rsplit_once(']') else {
            return false;
        };
        let address = address
            .split_once("%25")
            .map_or(address, |(address, _)| address);
        return is_port(port) && address.parse::<Ipv6Addr>().is_ok();
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let is_named = |c: char| {
        c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    // Only bytes beyond ASCII may be escaped in a host.
    let is_escape = |(at, _)| {
        name.as_bytes()
            .get(at + 1)
            .is_some_and(|digit| *digit >= b'8')
    };
    is_port(port)
        && name.chars().all(is_named)
        && has_valid_escapes(name)
        && name.match_indices('%').all(is_escape)
}

fn has_valid_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.match_indices('%').all(|(at, _)| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
