//! Selectors of fields: `metadata.name=a,spec.nodeName!=b`.

use super::label::{MAX_LENGTH, MAX_REQUIREMENTS};
use std::str::FromStr;

/// Requirements that fields of an object must all meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Requirement>);

/// The text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// The text is too long.
    #[error("the selector is longer than {MAX_LENGTH} bytes")]
    Length,
    /// There are too many requirements.
    #[error("the selector has more than {MAX_REQUIREMENTS} requirements")]
    Requirements,
    /// A part has no operator.
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Operator(String, String),
    /// A backslash stands before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Whether every object is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that are asked for.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.field.as_str())
    }

    /// The value that a field must have, if the selector names one.
    #[must_use]
    pub fn wanted(&self, field: &str) -> Option<&str> {
        let mut equal = self.0.iter().filter(|requirement| requirement.equal);
        equal
            .find(|requirement| requirement.field == field)
            .map(|requirement| requirement.value.as_str())
    }

    /// The same of fields with other names, where there is one.
    #[must_use]
    pub fn renamed(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        for requirement in &mut self.0 {
            if let Some(name) = name(&requirement.field) {
                requirement.field = name;
            }
        }
        self
    }

    /// Whether fields meet the requirements; `value` gives a field's value, empty if it is absent.
    pub fn selects<'a>(&self, value: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|requirement| {
            (value(&requirement.field) == requirement.value) == requirement.equal
        })
    }
}

impl FromStr for FieldSelector {
    type Err = FieldSelectorError;

    fn from_str(text: &str) -> Result<Self, FieldSelectorError> {
        if text.len() > MAX_LENGTH {
            return Err(FieldSelectorError::Length);
        }
        let mut requirements = Vec::new();
        for part in parts(text).into_iter().filter(|part| !part.is_empty()) {
            let unclear = || FieldSelectorError::Operator(text.to_owned(), part.to_owned());
            if requirements.len() == MAX_REQUIREMENTS {
                return Err(FieldSelectorError::Requirements);
            }
            let (field, value, equal) = split(part).ok_or_else(unclear)?;
            requirements.push(Requirement {
                field: field.to_owned(),
                value: unescape(value)?,
                equal,
            });
        }
        Ok(Self(requirements))
    }
}

/// Splits at commas without a backslash before them.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split(part: &str) -> Option<(&str, &str, bool)> {
    let at = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(at);
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(operator) {
            return Some((field, value, equal));
        }
    }
    None
}

fn unescape(text: &str) -> Result<String, FieldSelectorError> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(FieldSelectorError::Escape(format!("\\{other}"))),
                None => return Err(FieldSelectorError::Escape("\\".into())),
            },
            ',' | '=' => return Err(FieldSelectorError::Escape(character.into())),
            plain_one => plain.push(plain_one),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn operators_and_escapes_select() {
        let value = |field: &str| match field {
            "metadata.name" => "a",
            "spec.odd" => "x,y=z\\",
            _ => "",
        };
        for (selector, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("metadata.name=a,spec.gone=", true),
            (r"spec.odd=x\,y\=z\\", true),
        ] {
            let parsed: FieldSelector = selector.parse().unwrap();
            assert_eq!(parsed.selects(value), expected, "{selector}");
        }
        let parsed: FieldSelector = "metadata.name=a,metadata.namespace!=b".parse().unwrap();
        assert_eq!(parsed.wanted("metadata.name"), Some("a"));
        assert_eq!(parsed.wanted("metadata.namespace"), None);
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for bad in ["a", "a=b=c", r"a=\x", "a=b\\", "a,b=c", "a!b"] {
            assert!(bad.parse::<FieldSelector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_selector_has_bounds() {
        let long = "a=".repeat(MAX_LENGTH);
        assert_eq!(
            long.parse::<FieldSelector>(),
            Err(FieldSelectorError::Length)
        );
        let many = vec!["a=b"; MAX_REQUIREMENTS + 1].join(",");
        let refused = many.parse::<FieldSelector>();
        assert_eq!(refused, Err(FieldSelectorError::Requirements));
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = text.parse::<FieldSelector>();
        }
    }
}
