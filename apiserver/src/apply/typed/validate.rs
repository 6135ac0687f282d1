//! Whether a value can be seen through its type. This is not the validation of objects: only what
//! would make ownership and merging ambiguous is refused.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::{List, MapType, Scalar, Shape, Type};
use crate::apply::go_text;
use crate::apply::path::PathElement;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path to it, empty for the object itself.
    pub path: String,
    /// What is wrong, in upstream's words.
    pub message: String,
}

/// The fields of a value that do not fit its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    fn push(&mut self, path: &dyn fmt::Display, message: String) {
        self.0.push(FieldError {
            path: path.to_string(),
            message,
        });
    }

    fn extend_below(&mut self, element: &PathElement, below: Self) {
        for error in below.0 {
            self.0.push(FieldError {
                path: format!("{element}{}", error.path),
                message: error.message,
            });
        }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [error] = self.0.as_slice() {
            return error.fmt(f);
        }
        f.write_str("errors:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for FieldErrors {}

/// Whether a set or a map list may have an item twice.
///
/// What is applied may not: nobody could say which is meant. What is stored may, since a later
/// schema may call a list a set that was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::apply) enum Duplicates {
    Allowed,
    Refused,
}

/// Checks that a value can be seen through its type.
///
/// # Errors
/// All fields that cannot.
pub(in crate::apply) fn validate(
    of: Type<'_>,
    value: &Value,
    duplicates: Duplicates,
) -> Result<(), FieldErrors> {
    let errors = errors(of, value, duplicates);
    if errors.0.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn errors(of: Type<'_>, value: &Value, duplicates: Duplicates) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let shape = of.shape(Some(value));
    match (shape, value) {
        (None, _) | (_, Value::Null) => {}
        (Some(Shape::Map(map)), Value::Object(fields)) => {
            check_fields(&map, fields, duplicates, &mut errors);
        }
        (Some(Shape::Map(_)), other) => errors.push(&"", wrong_kind("map", other)),
        (Some(Shape::List(list)), Value::Array(items)) => {
            check_items(&list, items, duplicates, &mut errors);
        }
        (Some(Shape::List(_)), other) => errors.push(&"", wrong_kind("list", other)),
        (Some(Shape::Scalar(scalar)), value) => {
            if let Some(message) = wrong_scalar(scalar, value) {
                errors.push(&"", message);
            }
        }
    }
    errors
}

fn check_fields(
    map: &MapType<'_>,
    fields: &Map<String, Value>,
    duplicates: Duplicates,
    into: &mut FieldErrors,
) {
    for (name, value) in fields {
        let element = PathElement::Field(name.clone());
        match map.field(name) {
            Some(of) => into.extend_below(&element, errors(of, value, duplicates)),
            None => into.push(&element, "field not declared in schema".to_owned()),
        }
    }
}

fn check_items(list: &List<'_>, items: &[Value], duplicates: Duplicates, into: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = if list.is_atomic() {
            PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
        } else {
            match list.element(item) {
                Ok(element) => element,
                Err(message) => {
                    into.push(&"", format!("element {index}: {message}"));
                    return;
                }
            }
        };
        if !list.is_atomic() && !seen.insert(element.clone()) && duplicates == Duplicates::Refused {
            into.push(&"", format!("duplicate entries for key {element}"));
        }
        into.extend_below(&element, errors(list.items, item, duplicates));
    }
}

fn wrong_kind(expected: &str, value: &Value) -> String {
    format!("expected {expected}, got &{{{}}}", go_text::plain(value))
}

fn wrong_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::Number if !value.is_number() => Some(format!(
            "expected numeric (int or float), got {}",
            go_text::type_name(value)
        )),
        Scalar::String if !value.is_string() => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_text::source(value)
        )),
        Scalar::Boolean if !value.is_boolean() => Some(format!(
            "expected boolean, got &{{{}}}",
            go_text::plain(value)
        )),
        Scalar::Any if value.is_object() || value.is_array() => Some(format!(
            "expected any scalar, got &{{{}}}",
            go_text::plain(value)
        )),
        _ => None,
    }
}
