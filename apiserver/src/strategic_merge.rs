//! Strategic merge patches: JSON merge patches that know how a kind's lists are merged.
//!
//! What [`PatchStrategy`](crate::schema::PatchStrategy) says of a list decides whether a patch
//! replaces it or merges into it; directives (`$patch`, `$retainKeys`,
//! `$deleteFromPrimitiveList/…`, `$setElementOrder/…`) say more. The results are those of
//! `k8s.io/apimachinery/pkg/util/strategicpatch`, which keeps some directives of new list items and
//! refuses to merge below maps; the order of items that an empty `$setElementOrder` does not name is
//! the only thing that is not upstream's.

mod list;
mod order;

use crate::schema::{Kind, PatchStrategy, Schema};
use crate::upstream;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::LazyLock;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";

/// Why a patch does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `$deleteFromPrimitiveList` names no list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$retainKeys` is no list of keys, or leaves out a key that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` is no list, or names no list.
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    /// A list holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The items of two lists are of several types, or null.
    #[error("list element types are not identical")]
    ElementTypes,
    /// There is nothing that tells what two empty lists hold.
    #[error("no elements in any of the given slices")]
    NoElements,
    /// A list and `$setElementOrder` differ.
    #[error("the order in the patch does not match the $setElementOrder list")]
    Order,
    /// An item has not the field that tells items apart, or not as a scalar.
    #[error("an item does not contain the declared merge key {0:?}")]
    MergeKey(String),
    /// The schema does not say what tells the items of a list apart.
    #[error("cannot merge lists of objects without merge key")]
    NoMergeKey,
    /// A value is of another type.
    #[error("expected a list of {0}")]
    Expected(&'static str),
    /// The kind has no such field, or nothing below it is merged.
    #[error("unable to find api field {0:?}")]
    UnknownField(String),
    /// `$patch` says something else than `replace` or `delete`.
    #[error("unknown patch type: {0}")]
    Directive(String),
}

/// `metadata`, of which the schemas of kinds say nothing.
static META: LazyLock<Schema> = LazyLock::new(|| {
    crate::builtin::schema(&upstream::meta("ObjectMeta"), &upstream::definition).unwrap_or_default()
});

/// An object of a kind with a patch applied to it.
///
/// # Errors
/// The patch does not fit the object or the kind.
pub fn apply(object: Value, patch: Value, schema: &Schema) -> Result<Value, Error> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(Error::Expected("fields"));
    };
    let place = Place {
        schema,
        is_object: true,
    };
    Ok(place.merge(object, patch)?.into())
}

/// Where in a kind something is merged.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: &'a Schema,
    /// It is an object of the API, not a part of it.
    is_object: bool,
}

/// A field and how it is merged.
struct Field<'a> {
    place: Place<'a>,
    strategy: &'a PatchStrategy,
}

impl<'a> Place<'a> {
    fn of(schema: &'a Schema) -> Self {
        Self {
            schema,
            is_object: false,
        }
    }

    fn field(self, name: &str) -> Result<&'a Schema, Error> {
        if self.is_object && name == "metadata" {
            return Ok(&META);
        }
        let found = match &self.schema.kind {
            Kind::Object { properties, .. } => properties.get(name),
            _ => None,
        };
        found.ok_or_else(|| Error::UnknownField(name.to_owned()))
    }

    /// The field `name`, whose items are merged.
    fn list(self, name: &str) -> Result<Field<'a>, Error> {
        let schema = self.field(name)?;
        let items = schema.items();
        Ok(Field {
            place: Self::of(items.ok_or_else(|| Error::UnknownField(name.to_owned()))?),
            strategy: &schema.patch,
        })
    }

    fn merge(
        self,
        mut object: Map<String, Value>,
        mut patch: Map<String, Value>,
    ) -> Result<Map<String, Value>, Error> {
        if let Some(directive) = patch.remove(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => Ok(patch),
                Some("delete") => Ok(Map::new()),
                _ => Err(Error::Directive(directive.to_string())),
            };
        }
        retain_keys(&mut object, &mut patch)?;
        self.set_element_orders(&mut object, &mut patch)?;
        for (name, value) in patch {
            match name.strip_prefix(DELETE_FROM_LIST) {
                None => self.merge_field(&mut object, name, value)?,
                Some(rest) => {
                    let name = rest.strip_prefix('/').ok_or(Error::PrimitiveList)?;
                    self.delete_from_list(&mut object, name, value)?;
                }
            }
        }
        Ok(object)
    }

    fn merge_field(
        self,
        object: &mut Map<String, Value>,
        name: String,
        value: Value,
    ) -> Result<(), Error> {
        let merged = match (object.remove(&name), value) {
            (_, Value::Null) => return Ok(()),
            (Some(Value::Object(old)), Value::Object(new)) => {
                let schema = self.field(&name)?;
                Place::of(schema).merge(old, new)?.into()
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let field = self.list(&name)?;
                field.merge(old, new, false)?.into()
            }
            (Some(_), scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => scalar,
            (_, mut new) => {
                discard_nulls(&mut new);
                match without_directives(new) {
                    Some(new) => new,
                    None => return Ok(()),
                }
            }
        };
        object.insert(name, merged);
        Ok(())
    }

    fn delete_from_list(
        self,
        object: &mut Map<String, Value>,
        name: &str,
        value: Value,
    ) -> Result<(), Error> {
        if value.is_null() {
            object.remove(name);
            return Ok(());
        }
        // Where there is no list there is nothing to delete from.
        let (Some(Value::Array(old)), Value::Array(doomed)) = (object.get_mut(name), value) else {
            return Ok(());
        };
        let merged = self.list(name)?.merge(std::mem::take(old), doomed, true)?;
        object.insert(name.to_owned(), merged.into());
        Ok(())
    }
}

/// Drops the fields of an object that `$retainKeys` does not name.
fn retain_keys(
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), Error> {
    let keys = match patch.remove(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(Error::RetainKeys),
    };
    if keys.iter().any(|key| key.is_array() || key.is_object()) {
        return Err(Error::RetainKeys);
    }
    let keys: HashSet<_> = keys.iter().filter_map(Value::as_str).collect();
    for (name, value) in patch.iter() {
        let is_directive =
            name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ELEMENT_ORDER);
        if !value.is_null() && !is_directive && !keys.contains(name.as_str()) {
            return Err(Error::RetainKeys);
        }
    }
    object.retain(|name, _| keys.contains(name.as_str()));
    Ok(())
}

/// Where there was nothing, null means nothing.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// A value without the parts that are directives; `None` if it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter();
            let kept = kept.filter_map(|(name, field)| Some((name, without_directives(field)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => {
            let kept = items.into_iter().filter_map(without_directives);
            Some(kept.collect())
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
