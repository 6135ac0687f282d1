//! The encoding of field sets: `fieldsV1`.
//!
//! A JSON object whose keys are path elements with their kind in front: `f:NAME`, `k:{KEY}`,
//! `v:VALUE`, `i:INDEX`. An empty object is a member; `.` makes one of an object that is not empty.

use serde_json::{Map, Value};

use super::field_set::{FieldSet, Node};
use super::go_text;
use super::path::PathElement;

/// How deep an encoded set may be. As deep as objects can be, which serde_json bounds.
pub const MAX_DEPTH: usize = 128;

/// How many keys an encoded set may have. The largest object that a client may send, 3 MiB, has
/// room for far fewer fields that it owns.
pub const MAX_KEYS: usize = 200_000;

/// What is no field set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// An object is expected.
    #[error("{0} is not an object of path elements")]
    NotAnObject(String),
    /// A key without kind, or with a value that its kind does not allow.
    #[error("{0:?} is no path element")]
    Element(String),
    /// More than [`MAX_DEPTH`] levels.
    #[error("the field set is more than {MAX_DEPTH} levels deep")]
    Depth,
    /// More than [`MAX_KEYS`] keys.
    #[error("the field set has more than {MAX_KEYS} path elements")]
    Size,
}

impl FieldSet {
    /// Reads a set. Elements of kinds that are not known are left out, as upstream does.
    ///
    /// # Errors
    /// When the value is not an encoded set, or one beyond [`MAX_DEPTH`] or [`MAX_KEYS`].
    pub fn decode(fields: &Value) -> Result<Self, FieldsError> {
        let mut keys = MAX_KEYS;
        Ok(decode_node(fields, MAX_DEPTH, &mut keys)?.below)
    }

    /// The set as a JSON value.
    #[must_use]
    pub fn encode(&self) -> Value {
        Value::Object(encode_below(self, false))
    }

    /// The set as JSON text, byte for byte as upstream's library writes it. Its order is that of
    /// path elements, which [`FieldSet::encode`] cannot keep.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        write_below(&mut json, self, false);
        json
    }
}

fn decode_node(fields: &Value, depth: usize, keys: &mut usize) -> Result<Node, FieldsError> {
    let empty = Map::new();
    let fields = match fields {
        Value::Object(fields) => fields,
        Value::Null => &empty,
        other => return Err(FieldsError::NotAnObject(shortened(&other.to_string()))),
    };
    let depth = depth.checked_sub(1).ok_or(FieldsError::Depth)?;
    let mut node = Node::default();
    for (key, below) in fields {
        *keys = keys.checked_sub(1).ok_or(FieldsError::Size)?;
        if key == "." {
            node.is_member = true;
        } else if let Some(element) = decode_element(key)? {
            node.below.add(element, decode_node(below, depth, keys)?);
        }
    }
    node.is_member |= node.below.is_empty();
    Ok(node)
}

/// `None` for an element of a kind that is not known.
fn decode_element(key: &str) -> Result<Option<PathElement>, FieldsError> {
    let wrong = || FieldsError::Element(shortened(key));
    let rest = key
        .get(2..)
        .filter(|_| key.as_bytes().get(1) == Some(&b':'));
    let rest = rest.ok_or_else(wrong)?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| wrong());
    let element = match key.as_bytes().first() {
        Some(b'f') => PathElement::Field(rest.to_owned()),
        Some(b'v') => PathElement::Value(with_floats(json()?)),
        Some(b'i') => PathElement::Index(rest.parse().map_err(|_| wrong())?),
        Some(b'k') => match json()? {
            Value::Object(fields) => {
                let field = |(name, value)| (name, with_floats(value));
                PathElement::key(fields.into_iter().map(field).collect())
            }
            _ => return Err(wrong()),
        },
        _ => return Ok(None),
    };
    Ok(Some(element))
}

/// Upstream reads numbers in keys as `float64`, which shows where a conflict prints them.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Number(number), Value::from),
        other => other,
    }
}

fn shortened(text: &str) -> String {
    const MAX: usize = 60;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn encode_below(set: &FieldSet, with_self: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    if with_self && !set.is_empty() {
        fields.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for (element, node) in set.nodes() {
        let below = encode_below(&node.below, node.is_member);
        fields.insert(encode_element(element), Value::Object(below));
    }
    fields
}

fn write_below(json: &mut String, set: &FieldSet, with_self: bool) {
    json.push('{');
    let mut comma = "";
    if with_self && !set.is_empty() {
        json.push_str("\".\":{}");
        comma = ",";
    }
    for (element, node) in set.nodes() {
        json.push_str(comma);
        comma = ",";
        go_text::push_json_string(json, &encode_element(element), false);
        json.push(':');
        write_below(json, &node.below, node.is_member);
    }
    json.push('}');
}

fn encode_element(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
        PathElement::Index(index) => format!("i:{index}"),
        PathElement::Value(value) => {
            let mut text = "v:".to_owned();
            go_text::push_json(&mut text, value);
            text
        }
        PathElement::Key(fields) => {
            let mut text = "k:{".to_owned();
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                go_text::push_json_string(&mut text, name, false);
                text.push(':');
                go_text::push_json(&mut text, value);
            }
            text.push('}');
            text
        }
    }
}

#[cfg(test)]
mod tests;
