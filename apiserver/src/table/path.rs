//! JSONPath as Kubernetes writes it: `.spec.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;
use serde_json_path::JsonPath;

/// A path to values in an object.
#[derive(Clone, Debug)]
pub struct FieldPath(JsonPath);

/// The text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no JSONPath: {detail}")]
pub struct PathError {
    /// The text.
    pub path: String,
    /// What is wrong with it.
    pub detail: String,
}

impl FieldPath {
    /// Parses a path that begins with a dot.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let error = |detail: String| PathError {
            path: text.to_owned(),
            detail,
        };
        let standard = standard(text).ok_or_else(|| error("a bracket is not closed".into()))?;
        match JsonPath::parse(&standard) {
            Ok(path) => Ok(Self(path)),
            Err(detail) => Err(error(detail.to_string())),
        }
    }

    /// The values that it leads to.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0.query(value).all()
    }
}

/// The path in the notation of RFC 9535, where names with dots and dashes stand in brackets.
fn standard(text: &str) -> Option<String> {
    let mut path = String::from("$");
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '.' => {
                let (name, behind) = name(&rest[1..]);
                rest = behind;
                match name.as_str() {
                    "" => {}
                    "*" => path.push_str("[*]"),
                    name => path.push_str(&format!("[{}]", Value::from(name))),
                }
            }
            '[' => {
                let end = closing(rest)?;
                path.push_str(&rest[..=end]);
                rest = &rest[end + 1..];
            }
            _ => {
                let (name, behind) = name(rest);
                rest = behind;
                path.push_str(&format!("[{}]", Value::from(name)));
            }
        }
    }
    Some(path)
}

/// A name up to the next dot or bracket that has no backslash before it.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => name.push(plain),
        }
    }
    (name, "")
}

/// Where the bracket that opens `text` closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), character) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_put_in_brackets() {
        for (text, expected) in [
            (".spec.a", r#"$["spec"]["a"]"#),
            (r".a.b\.c/d-e", r#"$["a"]["b.c/d-e"]"#),
            (".a[0].b", r#"$["a"][0]["b"]"#),
            (".a['x.y'].*", r#"$["a"]['x.y'][*]"#),
            ("metadata.name", r#"$["metadata"]["name"]"#),
        ] {
            assert_eq!(standard(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(standard(".a['x]"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = FieldPath::parse(&text);
        }
    }
}
