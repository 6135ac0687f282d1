//! Which old value a new one takes the place of.

use std::collections::HashMap;

use serde_json::Value;

use super::{Kind, ListType, Schema};

/// The items that a list had before. Only those of maps are known again, by the fields that tell
/// them apart; of two with the same key the first counts.
pub(super) struct OldItems<'a> {
    keys: &'a [String],
    items: HashMap<String, &'a Value>,
}

impl<'a> OldItems<'a> {
    pub(super) fn new(schema: &'a Schema, old: Option<&'a Value>) -> Self {
        let mut known = Self {
            keys: &[],
            items: HashMap::new(),
        };
        let (
            Kind::List {
                list: ListType::Map(keys),
                ..
            },
            Some(Value::Array(old)),
        ) = (&schema.kind, old)
        else {
            return known;
        };
        known.keys = keys;
        for item in old {
            if let Some(key) = known.key(item) {
                known.items.entry(key).or_insert(item);
            }
        }
        known
    }

    /// The item that had the key of `item`.
    pub(super) fn get(&self, item: &Value) -> Option<&'a Value> {
        if self.items.is_empty() {
            return None;
        }
        self.items.get(&self.key(item)?).copied()
    }

    fn key(&self, item: &Value) -> Option<String> {
        let mut text = String::new();
        for key in self.keys {
            match item.get(key)? {
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
                scalar => {
                    text.push_str(&scalar.to_string());
                    text.push('\0');
                }
            }
        }
        Some(text)
    }
}

/// The value that a field of an object had before, as long as the schema knows the field.
pub(super) fn old_field<'a>(
    schema: &Schema,
    old: Option<&'a Value>,
    name: &str,
) -> Option<&'a Value> {
    old?.as_object()?
        .get(name)
        .filter(|_| is_known_again(schema, name))
}

/// Whether a field has a schema by which it is known again.
pub(super) fn is_known_again(schema: &Schema, name: &str) -> bool {
    schema.field(name).is_some_and(|field| !field.is_anything())
}
