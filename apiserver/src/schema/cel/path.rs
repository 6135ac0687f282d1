//! The field that a rule blames.

use crate::schema::path::{child, key};
use crate::schema::{Kind, Schema};

/// Reads `.field['other field']` against the schema of the value, and returns the path as errors have
/// it: `field.other field`, with keys of maps in brackets. `None` if it leads nowhere.
pub(crate) fn normalize(path: &str, schema: &Schema) -> Option<String> {
    let (mut rest, mut schema) = (path, schema);
    let mut normal = String::new();
    while !rest.is_empty() {
        let name;
        (name, rest) = match rest.strip_prefix("['") {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let plain = rest.strip_prefix('.')?;
                let end = plain.find(['.', '[', ']']).unwrap_or(plain.len());
                if end == 0 {
                    return None;
                }
                (plain[..end].to_owned(), &plain[end..])
            }
        };
        let Kind::Object {
            properties,
            additional,
            ..
        } = &schema.kind
        else {
            return None;
        };
        match (properties.is_empty(), additional) {
            (false, _) => {
                schema = properties.get(&name)?;
                normal = child(&normal, &name);
            }
            (true, Some(additional)) => {
                schema = additional;
                normal = key(&normal, &name);
            }
            (true, None) => return None,
        }
    }
    Some(normal)
}

/// A name up to its quote and bracket, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => return Some((name, text[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(match characters.next()?.1 {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                same @ ('\'' | '\\') => same,
                _ => return None,
            }),
            _ => name.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_a_field_of_the_schema() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b.c": {"type": "string"}}},
            "m": {"type": "object", "additionalProperties": {"type": "string"}}}}))
        .unwrap();
        let table = [
            (".a", Some("a")),
            (".a['b.c']", Some("a.b.c")),
            ("['a']", Some("a")),
            (".m['it\\'s']", Some("m[it's]")),
            (".m.x", Some("m[x]")),
            ("a", None),
            (".", None),
            (".x", None),
            (".a.b", None),
            (".a[0]", None),
            (".a['b.c'", None),
            (".a['b\\c']", None),
            (".a['b.c'].x", None),
        ];
        for (path, expected) in table {
            assert_eq!(normalize(path, &schema).as_deref(), expected, "{path}");
        }
    }
}
