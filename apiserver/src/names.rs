//! The rules for names, label keys and label values.

/// Longest name of an object, in bytes.
const MAX_SUBDOMAIN: usize = 253;
/// Longest part of a dotted name, label value or name part of a key, in bytes.
const MAX_LABEL: usize = 63;

/// Finalizers of Kubernetes itself, which need no domain before their names.
pub(crate) const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// A name as in DNS: parts of lower-case letters, digits and `-`, joined by dots. Most objects are
/// named so.
///
/// # Errors
/// What the name must be.
pub fn subdomain(name: &str) -> Result<(), String> {
    check_length(name, MAX_SUBDOMAIN)?;
    if name.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".into())
}

/// One part of such a name. Namespaces are named so.
///
/// # Errors
/// What the name must be.
pub fn dns_label(name: &str) -> Result<(), String> {
    check_length(name, MAX_LABEL)?;
    if is_dns_label(name) {
        return Ok(());
    }
    Err("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')".into())
}

/// The same, but with a letter first. Resources and their versions are named so.
///
/// # Errors
/// What the name must be.
pub fn dns_name_1035(name: &str) -> Result<(), String> {
    check_length(name, MAX_LABEL)?;
    if is_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Ok(());
    }
    Err("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".into())
}

/// A name that is only one segment of a path. Roles and bindings are named so.
///
/// # Errors
/// What the name must be.
pub fn path_segment(name: &str) -> Result<(), String> {
    match name {
        "" => Err("must not be empty".into()),
        "." | ".." => Err(format!("may not be '{name}'")),
        _ => match name.find(['/', '%']) {
            Some(at) => Err(format!("may not contain '{}'", &name[at..=at])),
            None => Ok(()),
        },
    }
}

/// A key of a label or annotation: a name of at most 63 characters, with a DNS name and a slash
/// before it or not.
///
/// # Errors
/// What the key must be.
pub fn qualified(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            return Err("a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".into());
        }
        Some((prefix, name)) => {
            subdomain(prefix).map_err(|rule| format!("prefix part {rule}"))?;
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Err("name part must be non-empty".into());
    }
    check_length(name, MAX_LABEL).map_err(|rule| format!("name part {rule}"))?;
    if is_word(name) {
        return Ok(());
    }
    Err("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')".into())
}

/// A value of a label: at most 63 characters, or none.
///
/// # Errors
/// What the value must be.
pub fn label_value(value: &str) -> Result<(), String> {
    check_length(value, MAX_LABEL)?;
    if value.is_empty() || is_word(value) {
        return Ok(());
    }
    Err("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".into())
}

fn check_length(text: &str, most: usize) -> Result<(), String> {
    if text.len() <= most {
        return Ok(());
    }
    Err(format!("must be no more than {most} bytes"))
}

fn is_dns_label(part: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    part.bytes().all(inside) && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.bytes().all(inside) && edge(text.bytes().next()) && edge(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for good in ["a", "a.b-c.1", "0"] {
            assert_eq!(subdomain(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a..b", "-a", "a-", "a/b", "a_b", &"a".repeat(254)] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert!(dns_label("a.b").is_err());
        assert!(path_segment("system:node").is_ok());
        for bad in ["", ".", "..", "a/b", "a%b"] {
            assert!(path_segment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_and_values_of_labels_follow_their_rules() {
        for good in ["a", "A_b.c-1", "example.com/Name"] {
            assert_eq!(qualified(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "UPPER.com/a",
            "a b",
            "-a",
            &"a".repeat(64),
        ] {
            assert!(qualified(bad).is_err(), "{bad}");
        }
        assert_eq!(label_value(""), Ok(()));
        assert!(label_value("a b").is_err());
        assert!(label_value("-a").is_err());
    }
}
