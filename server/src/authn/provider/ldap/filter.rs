//! Search filters (RFC 4515). Values are escaped where they enter, so that no value is ever syntax.

use ldap3::asn1::Tag;
use ldap3::{ldap_escape, parse_filter};

/// The longest filter an administrator may write, in bytes.
const MAX_BYTES: usize = 4096;
/// How deep an administrator's filter may be nested.
const MAX_DEPTH: usize = 20;

/// A filter that is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter(String);

/// A filter or an attribute of the settings is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidFilter {
    #[error("{0:?} is not a search filter")]
    Syntax(String),
    #[error("a search filter is longer than {MAX_BYTES} bytes or nested deeper than {MAX_DEPTH}")]
    TooLarge,
}

impl Filter {
    /// A filter that an administrator wrote. The parentheses around it may be left out.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidFilter> {
        let text = text.trim();
        let text = match text.starts_with('(') {
            true => text.to_owned(),
            false => format!("({text})"),
        };
        let opened = text.bytes().filter(|&byte| byte == b'(');
        if text.len() > MAX_BYTES || depth(&text) > MAX_DEPTH || opened.count() > MAX_BYTES / 8 {
            return Err(InvalidFilter::TooLarge);
        }
        match parse_filter(&text) {
            Ok(_) => Ok(Self(text)),
            Err(()) => Err(InvalidFilter::Syntax(text)),
        }
    }

    /// Entries in which an attribute has a value.
    pub(super) fn equal(attribute: &str, value: &str) -> Self {
        Self(format!("({attribute}={})", ldap_escape(value)))
    }

    /// Entries in which an attribute begins like this.
    pub(super) fn begins(attribute: &str, value: &str) -> Self {
        Self(format!("({attribute}={}*)", ldap_escape(value)))
    }

    /// Entries in which an attribute matches by another rule.
    pub(super) fn matching(attribute: &str, rule: &str, value: &str) -> Self {
        Self(format!("({attribute}:{rule}:={})", ldap_escape(value)))
    }

    /// Every entry.
    pub(super) fn anything() -> Self {
        Self("(objectClass=*)".to_owned())
    }

    /// Entries that all of these mean.
    pub(super) fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::several('&', filters)
    }

    /// Entries that one of these means.
    pub(super) fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::several('|', filters)
    }

    fn several(operator: char, filters: impl IntoIterator<Item = Self>) -> Self {
        let inner: String = filters.into_iter().map(|filter| filter.0).collect();
        Self(format!("({operator}{inner})"))
    }

    pub(super) fn encode(&self) -> Tag {
        parse_filter(&self.0).expect("filters are parsed, or built of attributes that were checked")
    }
}

/// Whether this can be the name of an attribute or class (RFC 4512, section 1.4).
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let is_first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    is_first && text.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn depth(text: &str) -> usize {
    let mut deepest = 0;
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_never_syntax() {
        let filter = Filter::equal("uid", r"*)(uid=\*\2a");
        assert_eq!(filter.0, r"(uid=\2a\29\28uid=\5c\2a\5c2a)");
        assert_eq!(Filter::equal("uid", "a\0b").0, r"(uid=a\00b)");
        assert_eq!(Filter::begins("cn", "*").0, r"(cn=\2a*)");
        let nested = Filter::all([
            Filter::equal("objectClass", "person"),
            Filter::any([Filter::equal("uid", "ann"), Filter::begins("sn", "M")]),
        ]);
        assert_eq!(nested.0, "(&(objectClass=person)(|(uid=ann)(sn=M*)))");
        nested.encode();
    }

    proptest! {
        #[test]
        fn any_value_makes_a_filter(value in any::<String>()) {
            for filter in [
                Filter::equal("uid", &value),
                Filter::begins("uid", &value),
                Filter::matching("member", "1.2.840.113556.1.4.1941", &value),
            ] {
                Filter::any([filter]).encode();
            }
        }
    }

    #[test]
    fn what_an_administrator_writes_is_checked() {
        let dn = "(memberOf=CN=ops staff,OU=groups,DC=example,DC=test)";
        assert_eq!(Filter::parse(dn), Ok(Filter(dn.to_owned())));
        assert_eq!(Filter::parse(" a=b "), Ok(Filter("(a=b)".to_owned())));
        assert!(Filter::parse("(&(a=b)(!(c=d*e)))").is_ok());
        for wrong in ["", "(a=b", "(a=b))", "(a=b)(c=d)", "a", "(=b)", "(&)"] {
            let parsed = Filter::parse(wrong);
            // An empty conjunction is true (RFC 4526).
            assert_eq!(parsed.is_ok(), wrong == "(&)", "{wrong}: {parsed:?}");
        }
        let deep = format!("{}(a=b){}", "(!".repeat(20), ")".repeat(20));
        assert_eq!(Filter::parse(&deep), Err(InvalidFilter::TooLarge));
        let long = format!("(a={})", "b".repeat(MAX_BYTES));
        assert_eq!(Filter::parse(&long), Err(InvalidFilter::TooLarge));
    }

    #[test]
    fn names_of_attributes_hold_nothing_else() {
        for name in ["uid", "sAMAccountName", "x-uid2"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "2x", "uid)", "uid=*", "a b", "é", "uid;lang"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
