//! Structural schemas: what a kind's objects may hold, and how lists and maps in them are merged.
//!
//! The same restricted OpenAPI v3 that kube-apiserver takes in a CustomResourceDefinition, with the
//! same results: [`Schema::parse`] refuses what it refuses, and [`set_defaults`], [`prune`] and
//! [`validate`] do to an object what it does, in its words (`FieldError`). The behaviour is that of
//! Kubernetes 1.35 (apiextensions-apiserver, kube-openapi).

use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) mod cel;
mod correlate;
mod defaults;
mod derive;
mod duplicates;
mod embedded;
mod field;
mod format;
mod json;
mod notation;
mod parse;
pub(crate) mod path;
mod pattern;
mod prune;
mod validate;

pub use cel::Rule;
pub use defaults::set_defaults;
pub use field::{ErrorKind, FieldError};
pub use pattern::Pattern;
pub use prune::{Extent, prune};
pub use validate::{validate, validate_after};

/// How many levels a schema may nest. One that is deeper is refused.
pub const MAX_DEPTH: usize = 100;

/// Most complaints about one object. A hostile one could have millions.
pub const MAX_ERRORS: usize = 1000;

/// The schema of one value and of everything below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// What the value is.
    pub kind: Kind,
    /// Values of other kinds are taken as well, because no `type` is given (only with
    /// `preserve_unknown_fields`).
    pub untyped: bool,
    /// Whether it may be `null`. A `null` that may not be is dropped before defaults are set.
    pub nullable: bool,
    /// For people.
    pub description: String,
    /// For people.
    pub title: String,
    /// Taken where the value is absent.
    pub default: Option<Value>,
    /// Fields that the schema does not name are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown_fields: bool,
    /// The value is an object of the API with `apiVersion`, `kind` and `metadata`
    /// (`x-kubernetes-embedded-resource`).
    pub embedded_resource: bool,
    /// Checks of the value beyond its kind.
    pub checks: Checks,
    /// CEL rules (`x-kubernetes-validations`).
    pub rules: Vec<Rule>,
    /// How a strategic merge patch treats the value (`x-kubernetes-patch-strategy` and
    /// `-patch-merge-key`): built-in kinds only.
    pub patch: PatchStrategy,
}

/// What a value is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kind {
    /// Anything: only allowed with `preserve_unknown_fields`. As the schema of other fields
    /// (`additionalProperties: true`) it stands without: scalars are kept, objects lose all fields.
    #[default]
    Any,
    /// An object.
    Object {
        /// Fields with a schema of their own.
        properties: BTreeMap<String, Schema>,
        /// The schema of all other fields. `None`: there are no others.
        additional: Option<Box<Schema>>,
        /// Names of the fields that must be there.
        required: Vec<String>,
        /// Who owns it as a whole (`x-kubernetes-map-type`).
        ownership: Ownership,
    },
    /// A list.
    List {
        /// Of its items.
        items: Box<Schema>,
        /// How it is merged (`x-kubernetes-list-type`).
        list: ListType,
    },
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
}

/// Whether an object is owned field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Each field has owners of its own.
    #[default]
    Granular,
    /// The object has one owner, who replaces it as a whole.
    Atomic,
}

/// How a list is merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// A set of scalars.
    Set,
    /// Objects that are told apart by the values of these fields.
    Map(Vec<String>),
}

/// What is required of a value beyond its kind, in JSON schema's words. Each check concerns values
/// of one kind, and passes all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// For example `date-time`. Unknown formats are not checked.
    pub format: Option<String>,
    /// A regular expression that a string must match somewhere.
    pub pattern: Option<Pattern>,
    /// The only values there are (`enum`). Empty: all.
    pub one_of_values: Vec<Value>,
    /// The greatest number.
    pub maximum: Option<f64>,
    /// `maximum` itself is too great.
    pub exclusive_maximum: bool,
    /// The least number.
    pub minimum: Option<f64>,
    /// `minimum` itself is too small.
    pub exclusive_minimum: bool,
    /// A number must be a multiple of this.
    pub multiple_of: Option<f64>,
    /// The most characters (Unicode scalar values) of a string.
    pub max_length: Option<i64>,
    /// The fewest characters of a string.
    pub min_length: Option<i64>,
    /// The most items of a list.
    pub max_items: Option<i64>,
    /// The fewest items of a list.
    pub min_items: Option<i64>,
    /// No two items of a list are equal. `Schema::parse` refuses it, as kube-apiserver does.
    pub unique_items: bool,
    /// The most fields of an object.
    pub max_properties: Option<i64>,
    /// The fewest fields of an object.
    pub min_properties: Option<i64>,
    /// All of these hold.
    pub all_of: Vec<Clause>,
    /// At least one of these holds.
    pub any_of: Vec<Clause>,
    /// Exactly one of these holds.
    pub one_of: Vec<Clause>,
    /// This does not hold.
    pub not: Option<Box<Clause>>,
}

/// Checks under `allOf`, `anyOf`, `oneOf` or `not`. They concern values that the schema around them
/// describes, and add nothing to what an object may hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clause {
    /// Of the value itself.
    pub checks: Checks,
    /// Names of fields that must be there.
    pub required: Vec<String>,
    /// Of fields.
    pub properties: BTreeMap<String, Clause>,
    /// Of the items of a list.
    pub items: Option<Box<Clause>>,
    /// Only in the two places where an `int-or-string` may say so.
    pub scalar: Option<Scalar>,
}

/// The kinds of an `int-or-string`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `integer`.
    Integer,
    /// `string`.
    String,
}

/// How a strategic merge patch treats a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// The list's items are merged by key, or as a set of scalars.
    pub merge: bool,
    /// Only the keys that the patch names are kept.
    pub retain_keys: bool,
    /// Name of the field that tells items apart.
    pub merge_key: Option<String>,
}

impl Schema {
    /// The schema of the field `name` of an object: its own, or that of all other fields.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match &self.kind {
            Kind::Object {
                properties,
                additional,
                ..
            } => properties.get(name).or(additional.as_deref()),
            _ => None,
        }
    }

    /// The schema of a list's items.
    #[must_use]
    pub fn items(&self) -> Option<&Schema> {
        match &self.kind {
            Kind::List { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The schema of all other fields where `additionalProperties: true` is said.
    fn anything() -> Self {
        Self {
            nullable: true,
            ..Self::default()
        }
    }

    fn is_anything(&self) -> bool {
        self.kind == Kind::Any && self.nullable && !self.preserve_unknown_fields
    }

    /// OpenAPI's name of the kind, empty where none is given.
    fn type_name(&self) -> &'static str {
        if self.untyped {
            return "";
        }
        match self.kind {
            Kind::Any | Kind::IntOrString => "",
            Kind::Object { .. } => "object",
            Kind::List { .. } => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
        }
    }
}

#[cfg(test)]
mod tests;
