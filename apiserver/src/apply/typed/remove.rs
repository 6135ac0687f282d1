//! A value without some of its fields, or with no others.

use serde_json::{Map, Value};

use super::{List, MapType, Shape, Type};
use crate::apply::field_set::FieldSet;
use crate::apply::path::PathElement;

/// The valid value without these fields. An object or a list that loses all it had becomes `null`.
pub(in crate::apply) fn remove(of: Type<'_>, value: &Value, fields: &FieldSet) -> Value {
    Walk { is_extract: false }.value(of, value, fields)
}

/// Only these fields of the valid value, and what they are in.
pub(in crate::apply) fn extract(of: Type<'_>, value: &Value, fields: &FieldSet) -> Value {
    Walk { is_extract: true }.value(of, value, fields)
}

#[derive(Clone, Copy)]
struct Walk {
    is_extract: bool,
}

impl Walk {
    fn value(self, of: Type<'_>, value: &Value, fields: &FieldSet) -> Value {
        let (is_atomic, is_empty) = match (of.shape(Some(value)), value) {
            (Some(Shape::Scalar(_)), scalar) => return scalar.clone(),
            (Some(Shape::Map(map)), Value::Object(of)) => {
                if !map.is_atomic && !of.is_empty() {
                    return self.fields(&map, of, fields);
                }
                (map.is_atomic, of.is_empty())
            }
            (Some(Shape::List(list)), Value::Array(of)) => {
                if !list.is_atomic() && !of.is_empty() {
                    return self.items(&list, of, fields);
                }
                (list.is_atomic(), of.is_empty())
            }
            _ => return Value::Null,
        };
        if self.is_extract && (is_atomic || is_empty) {
            value.clone()
        } else {
            Value::Null
        }
    }

    fn fields(self, map: &MapType<'_>, of: &Map<String, Value>, fields: &FieldSet) -> Value {
        let mut kept = Map::new();
        for (name, value) in of {
            let node = fields.node(&PathElement::Field(name.clone()));
            let is_member = node.is_some_and(|node| node.is_member);
            let below = node
                .map(|node| &node.below)
                .filter(|below| !below.is_empty());
            let part = |set| match map.field(name) {
                Some(of) => self.value(of, value, set),
                None => Value::Null,
            };
            let value = match below {
                _ if is_member && !self.is_extract => continue,
                // As upstream: what is in the field is looked for in the set of the object.
                _ if is_member => part(fields),
                Some(below) => part(below),
                None if self.is_extract => continue,
                None => value.clone(),
            };
            kept.insert(name.clone(), value);
        }
        if kept.is_empty() {
            Value::Null
        } else {
            Value::Object(kept)
        }
    }

    fn items(self, list: &List<'_>, of: &[Value], fields: &FieldSet) -> Value {
        let mut kept = Vec::new();
        for item in of {
            let element = list.element(item).ok();
            let node = element.and_then(|element| fields.node(&element));
            let is_member = node.is_some_and(|node| node.is_member);
            let below = node
                .map(|node| &node.below)
                .filter(|below| !below.is_empty());
            match below {
                _ if is_member && !self.is_extract => {}
                Some(below) => kept.push(self.value(list.items, item, below)),
                None if is_member || !self.is_extract => kept.push(item.clone()),
                None => {}
            }
        }
        if kept.is_empty() {
            Value::Null
        } else {
            Value::Array(kept)
        }
    }
}
