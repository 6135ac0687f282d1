//! Values seen through their schema: which parts have owners of their own.
//!
//! A value that a schema leaves open is seen through a type that is deduced from it: objects are
//! owned field by field, lists as a whole. All of this treats a value as kube-apiserver does once it
//! has turned a schema into the types of its merge library.

mod compare;
mod field_set;
mod merge;
mod object_meta;
mod reconcile;
mod remove;
mod validate;

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) use compare::{Comparison, compare};
pub(super) use field_set::{to_field_set, with_declared_fields};
pub(super) use merge::merge;
pub(super) use reconcile::reconcile;
pub(super) use remove::{extract, remove};
pub(super) use validate::{Duplicates, validate};
pub use validate::{FieldError, FieldErrors};

use super::go_text;
use super::path::PathElement;
use crate::schema::{Kind, ListType, Ownership, Schema};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type<'a> {
    /// An object of the API, whose `apiVersion`, `kind` and `metadata` have types of their own.
    ApiObject(&'a Schema),
    /// What a schema says.
    Schema {
        schema: &'a Schema,
        /// A schema above it keeps fields that are not declared, and so this one does.
        keeps_unknown: bool,
    },
    /// Deduced from the value: objects are granular, all else is atomic.
    Deduced,
    /// Deduced from the value: all is atomic.
    Atomic,
}

/// What values of a type may be.
#[derive(Clone, Copy, Debug, Default)]
struct Atom<'a> {
    map: Option<MapType<'a>>,
    scalar: Option<Scalar>,
    list: Option<List<'a>>,
}

/// The one way in which a value is treated.
#[derive(Clone, Copy, Debug)]
enum Shape<'a> {
    Map(MapType<'a>),
    Scalar(Scalar),
    List(List<'a>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scalar {
    Number,
    String,
    Boolean,
    Any,
}

#[derive(Clone, Copy, Debug)]
struct MapType<'a> {
    properties: Option<&'a BTreeMap<String, Schema>>,
    is_api_object: bool,
    keeps_unknown: bool,
    others: Option<Type<'a>>,
    is_atomic: bool,
}

#[derive(Clone, Copy, Debug)]
struct List<'a> {
    items: Type<'a>,
    list: &'a ListType,
}

impl<'a> Type<'a> {
    fn atom(self) -> Atom<'a> {
        let (schema, keeps_unknown, is_root) = match self {
            Self::ApiObject(schema) => (schema, schema.preserve_unknown_fields, true),
            Self::Schema {
                schema,
                keeps_unknown,
            } => (
                schema,
                keeps_unknown || schema.preserve_unknown_fields,
                false,
            ),
            Self::Deduced => return open_atom(Self::Deduced, false),
            Self::Atomic => return open_atom(Self::Atomic, true),
        };
        match &schema.kind {
            Kind::Any | Kind::IntOrString => open_atom(Self::Deduced, false),
            Kind::Object {
                properties,
                additional,
                ownership,
                ..
            } => {
                let is_api_object = is_root || schema.embedded_resource;
                let is_open = keeps_unknown || (properties.is_empty() && !is_api_object);
                let others = match additional {
                    Some(schema) => Some(Self::Schema {
                        schema,
                        keeps_unknown,
                    }),
                    None => is_open.then_some(Self::Deduced),
                };
                Atom::of_map(MapType {
                    properties: Some(properties),
                    is_api_object,
                    keeps_unknown,
                    others,
                    is_atomic: *ownership == Ownership::Atomic,
                })
            }
            Kind::List { items, list } => Atom {
                list: Some(List {
                    items: Self::Schema {
                        schema: items,
                        keeps_unknown,
                    },
                    list,
                }),
                ..Atom::default()
            },
            Kind::String => match schema.checks.format.as_deref() {
                None | Some("" | "byte") => Atom::of_scalar(Scalar::String),
                // Upstream's converter knows no other formats of strings.
                Some(_) => Atom::of_scalar(Scalar::Any),
            },
            Kind::Integer | Kind::Number => Atom::of_scalar(Scalar::Number),
            Kind::Boolean => Atom::of_scalar(Scalar::Boolean),
        }
    }

    /// How this value is treated. `None` stands for a value that is not there, which takes every
    /// shape.
    fn shape(self, value: Option<&Value>) -> Option<Shape<'a>> {
        self.atom().deduce(value).shape()
    }
}

/// What values of any kind are, with parts of that type.
fn open_atom(parts: Type<'_>, is_atomic: bool) -> Atom<'_> {
    Atom {
        map: Some(MapType {
            properties: None,
            is_api_object: false,
            keeps_unknown: false,
            others: Some(parts),
            is_atomic,
        }),
        scalar: Some(Scalar::Any),
        list: Some(List {
            items: Type::Atomic,
            list: &ListType::Atomic,
        }),
    }
}

impl<'a> Atom<'a> {
    fn of_map(map: MapType<'a>) -> Self {
        Self {
            map: Some(map),
            ..Self::default()
        }
    }

    fn of_scalar(scalar: Scalar) -> Self {
        Self {
            scalar: Some(scalar),
            ..Self::default()
        }
    }

    /// Only what fits this value, or all if nothing does.
    fn deduce(self, value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null) => self,
            Some(Value::Object(_)) => self.map.map_or(self, Self::of_map),
            Some(Value::Array(_)) => match self.list {
                list @ Some(_) => Self {
                    list,
                    ..Self::default()
                },
                None => self,
            },
            Some(_) => self.scalar.map_or(self, Self::of_scalar),
        }
    }

    /// Whether two atoms that were deduced from one are the same.
    fn is_like(&self, other: &Self) -> bool {
        let parts = |atom: &Self| {
            (
                atom.map.is_some(),
                atom.scalar.is_some(),
                atom.list.is_some(),
            )
        };
        parts(self) == parts(other)
    }

    fn shape(self) -> Option<Shape<'a>> {
        let map = self.map.map(Shape::Map);
        let scalar = || self.scalar.map(Shape::Scalar);
        let list = || self.list.map(Shape::List);
        map.or_else(scalar).or_else(list)
    }
}

impl<'a> MapType<'a> {
    /// The type of a field that the schema names.
    fn declared(&self, name: &str) -> Option<Type<'a>> {
        if self.is_api_object {
            let own = object_meta::field(name);
            if own.is_some() {
                return own;
            }
        }
        let schema = self.properties?.get(name)?;
        Some(Type::Schema {
            schema,
            keeps_unknown: self.keeps_unknown,
        })
    }

    /// The type of a field. `None`: there can be no such field.
    fn field(&self, name: &str) -> Option<Type<'a>> {
        self.declared(name).or(self.others)
    }

    fn default_of(&self, name: &str) -> Option<&'a Value> {
        let default = self.properties?.get(name)?.default.as_ref();
        default.filter(|default| !default.is_null())
    }

    /// Whether all of its fields are of types that are deduced.
    fn is_deduced(&self) -> bool {
        let is_empty = self.properties.is_none_or(BTreeMap::is_empty);
        let is_open = match self.others {
            None | Some(Type::Atomic) => false,
            Some(others) => others.atom().scalar == Some(Scalar::Any),
        };
        is_empty && !self.is_api_object && is_open
    }
}

impl List<'_> {
    fn is_atomic(&self) -> bool {
        *self.list == ListType::Atomic
    }

    /// What tells this item from the others.
    ///
    /// # Errors
    /// When nothing does, in upstream's words.
    fn element(&self, item: &Value) -> Result<PathElement, String> {
        match self.list {
            ListType::Atomic => Err("invalid indexing of non-associative list".to_owned()),
            ListType::Set => element_of_set(item),
            ListType::Map(keys) if keys.is_empty() => element_of_set(item),
            ListType::Map(keys) => self.element_of_map(keys, item),
        }
    }

    fn element_of_map(&self, keys: &[String], item: &Value) -> Result<PathElement, String> {
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => {
                return Err("associative list with keys may not have a null element".to_owned());
            }
            _ => {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
        };
        let map = self.items.atom().map;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = fields.get(key);
            if let Some(value) = value.or_else(|| map.and_then(|map| map.default_of(key))) {
                values.push((key.clone(), value.clone()));
            }
        }
        if values.is_empty() {
            let keys: Vec<_> = keys.iter().map(|key| go_text::quoted(key)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] \
                 (and doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        Ok(PathElement::key(values))
    }
}

fn element_of_set(item: &Value) -> Result<PathElement, String> {
    let wrong = match item {
        Value::Object(_) => "associative list without keys has an element that's a map type",
        Value::Array(_) => "not supported: associative list with lists as elements",
        Value::Null => "associative list without keys has an element that's an explicit null",
        scalar => return Ok(PathElement::Value(scalar.clone())),
    };
    Err(wrong.to_owned())
}
