//! Whether an object is what its schema says, in the order in which kube-apiserver asks.

use std::collections::HashSet;

use serde_json::Value;

use super::correlate::{OldItems, old_field};
use super::{
    Checks, Clause, ErrorKind, FieldError, Kind, MAX_ERRORS, Scalar, Schema, cel, duplicates,
    embedded, path,
};

mod logic;
mod scalar;

/// Checks `new` against `schema`; `old` is the value that it replaces.
///
/// Four things are asked, and all complaints returned: the checks of the schema itself, embedded
/// resources, lists that are sets or maps, and last the CEL rules, which are not asked if the object
/// is so wrong that they could not be understood.
///
/// What an update leaves as it was is not complained about again (ratcheting): a part that equals
/// its old value is taken as it is, and duplicates are let pass where there were some.
#[must_use]
pub fn validate(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    validate_after(schema, new, old, Vec::new())
}

/// [`validate`], after `errors` were found elsewhere in the object.
#[must_use]
pub fn validate_after(
    schema: &Schema,
    new: &Value,
    old: Option<&Value>,
    mut errors: Vec<FieldError>,
) -> Vec<FieldError> {
    errors.extend(check(schema, new, old, ""));
    embedded::check(schema, new, "", &mut errors);
    if !has_duplicates(schema, old) {
        duplicates::check(schema, new, "", &mut errors);
    }
    if cel::has_rules(schema) {
        match errors.iter().any(is_blocking) {
            true => errors.push(unchecked_rules()),
            false => errors.extend(cel::check(schema, new, old)),
        }
    }
    errors
}

/// Whether a default is a value that its schema takes, as one that is new and as one that was there.
pub(super) fn check_default(schema: &Schema, default: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    embedded::check(schema, default, "", &mut errors);
    if errors.is_empty() {
        errors = check(schema, default, None, "");
    }
    if errors.is_empty() && cel::has_rules(schema) {
        errors = cel::check_unchanged(schema, default);
        if errors.is_empty() {
            errors = cel::check(schema, default, None);
        }
    }
    errors
}

/// The checks of the schema itself, without those that look at the object as a whole.
fn check(schema: &Schema, new: &Value, old: Option<&Value>, path: &str) -> Vec<FieldError> {
    let found = node(Part::Schema(schema), schema, new, old, path);
    let mut seen = HashSet::new();
    found
        .complaints
        .into_iter()
        .filter(|one| seen.insert(one.text.clone()))
        .map(|one| one.error)
        .collect()
}

fn has_duplicates(schema: &Schema, old: Option<&Value>) -> bool {
    let mut errors = Vec::new();
    if let Some(old) = old {
        duplicates::check(schema, old, "", &mut errors);
    }
    !errors.is_empty()
}

/// Rules may rely on types and sizes.
fn is_blocking(error: &FieldError) -> bool {
    use ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(
        error.kind,
        NotSupported | Required | TooLong | TooMany | TypeInvalid
    )
}

fn unchecked_rules() -> FieldError {
    let detail = "some validation rules were not checked because the object was invalid; correct \
                  the existing errors to complete validation";
    FieldError::invalid("", Value::Null, detail)
}

/// A schema or a clause in it: what is asked of one value.
#[derive(Clone, Copy)]
enum Part<'a> {
    Schema(&'a Schema),
    Clause(&'a Clause),
}

impl<'a> Part<'a> {
    fn checks(self) -> &'a Checks {
        match self {
            Self::Schema(schema) => &schema.checks,
            Self::Clause(clause) => &clause.checks,
        }
    }

    /// OpenAPI's names of the types that are taken, separated by commas. Empty: all.
    fn types(self) -> &'static str {
        match self {
            Self::Schema(Schema {
                kind: Kind::IntOrString,
                ..
            }) => "integer,string",
            Self::Schema(schema) => schema.type_name(),
            Self::Clause(clause) => match clause.scalar {
                None => "",
                Some(Scalar::Integer) => "integer",
                Some(Scalar::String) => "string",
            },
        }
    }

    fn nullable(self) -> bool {
        matches!(self, Self::Schema(schema) if schema.nullable)
    }

    fn required(self) -> &'a [String] {
        match self {
            Self::Schema(Schema {
                kind: Kind::Object { required, .. },
                ..
            }) => required,
            Self::Schema(_) => &[],
            Self::Clause(clause) => &clause.required,
        }
    }

    fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Schema(schema) => schema.field(name).map(Self::Schema),
            Self::Clause(clause) => clause.properties.get(name).map(Self::Clause),
        }
    }

    fn items(self) -> Option<Self> {
        match self {
            Self::Schema(schema) => schema.items().map(Self::Schema),
            Self::Clause(clause) => clause.items.as_deref().map(Self::Clause),
        }
    }
}

/// What was found wrong, and how much was found right: of the alternatives of an `anyOf` that all
/// fail, the one with most right is the one whose complaints are shown.
#[derive(Default)]
struct Outcome {
    complaints: Vec<Complaint>,
    right: usize,
}

/// An error with the words by which kube-apiserver takes two for the same.
struct Complaint {
    error: FieldError,
    text: String,
}

impl Outcome {
    fn add(&mut self, error: FieldError, text: String) {
        if self.complaints.len() < MAX_ERRORS {
            self.complaints.push(Complaint { error, text });
        }
    }

    /// A complaint whose text is its detail.
    fn invalid(&mut self, path: &str, value: impl Into<Value>, text: String) {
        self.add(
            FieldError::invalid(field_path(path), value, text.clone()),
            text,
        );
    }

    /// A complaint about how clauses go together, which names no field of its own.
    fn composite(&mut self, text: String) {
        self.add(FieldError::invalid("", "", text.clone()), text);
    }

    fn merge(&mut self, other: Self) {
        let room = MAX_ERRORS.saturating_sub(self.complaints.len());
        self.complaints
            .extend(other.complaints.into_iter().take(room));
        self.right += other.right;
    }

    fn is_valid(&self) -> bool {
        self.complaints.is_empty()
    }
}

/// Paths of fields at the root begin with a dot in messages, and without in errors.
fn field_path(path: &str) -> String {
    path.strip_prefix('.').unwrap_or(path).to_owned()
}

/// Checks a value against a part; `spine` is the schema that describes the value, by which old
/// values are known again.
fn node(part: Part<'_>, spine: &Schema, new: &Value, old: Option<&Value>, path: &str) -> Outcome {
    let mut outcome = Outcome::default();
    scalar::check_type(part, new, path, &mut outcome);
    match new {
        Value::Null => scalar::check_values(part.checks(), new, path, &mut outcome),
        _ => check_present(part, spine, new, old, path, &mut outcome),
    }
    if !outcome.is_valid() && old == Some(new) {
        outcome.complaints.clear();
    }
    outcome
}

/// Checks a value that is not `null`, all but its type.
fn check_present(
    part: Part<'_>,
    spine: &Schema,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    let checks = part.checks();
    logic::check(checks, spine, new, old, path, outcome);
    match new {
        Value::String(text) => scalar::check_string(checks, text, path, outcome),
        Value::Number(number) => scalar::check_number(checks, number, path, outcome),
        Value::Array(list) => check_list(part, spine, list, old, path, outcome),
        _ => {}
    }
    scalar::check_values(checks, new, path, outcome);
    if let Value::Object(fields) = new {
        check_object(part, spine, fields, old, path, outcome);
    }
    // One for each group of checks that concerns the value, as in kube-openapi.
    outcome.right += match new {
        Value::Object(_) | Value::Array(_) | Value::Number(_) => 4,
        Value::String(_) => 4 + usize::from(scalar::has_format(checks)),
        _ => 3,
    };
}

fn check_object(
    part: Part<'_>,
    spine: &Schema,
    fields: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    let checks = part.checks();
    let size = fields.len() as i64;
    if let Some(least) = checks.min_properties.filter(|least| size < *least) {
        let text = format!("{path} in body should have at least {least} properties");
        outcome.invalid(path, size, text);
    }
    if let Some(most) = checks.max_properties.filter(|most| size > *most) {
        let text = format!("{path} in body should have at most {most} properties");
        outcome.add(
            FieldError::too_many(field_path(path), fields.len(), most),
            text,
        );
    }
    for (name, field) in fields {
        let Some(part) = part.field(name) else {
            continue;
        };
        let named = match spine.kind {
            Kind::Object { ref properties, .. } => properties.contains_key(name),
            _ => false,
        };
        // Only a named field at the root has no dot before it.
        let field_path = match path {
            "" if named => name.clone(),
            _ => path::dotted(path, name),
        };
        let old = match (path, name.as_str()) {
            // They are converted to be the same, whatever they were.
            ("", "apiVersion" | "kind") => None,
            _ => old_field(spine, old, name),
        };
        let spine = spine.field(name).unwrap_or(spine);
        outcome.merge(node(part, spine, field, old, &field_path));
    }
    for name in part.required() {
        if !fields.contains_key(name) {
            let path = path::dotted(path, name);
            let text = format!("{path} in body is required");
            outcome.add(FieldError::required(field_path(&path), ""), text);
        }
    }
}

fn check_list(
    part: Part<'_>,
    spine: &Schema,
    list: &[Value],
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    let checks = part.checks();
    if let Some(part) = part.items() {
        let old_items = OldItems::new(spine, old);
        let of_items = spine.items().unwrap_or(spine);
        for (index, item) in list.iter().enumerate() {
            let path = path::index(path, index);
            outcome.merge(node(part, of_items, item, old_items.get(item), &path));
        }
    }
    let size = list.len() as i64;
    if let Some(least) = checks.min_items.filter(|least| size < *least) {
        let text = format!("{path} in body should have at least {least} items");
        outcome.invalid(path, size, text);
    }
    if let Some(most) = checks.max_items.filter(|most| size > *most) {
        let text = format!("{path} in body should have at most {most} items");
        outcome.add(
            FieldError::too_many(field_path(path), list.len(), most),
            text,
        );
    }
    if checks.unique_items && has_repeated_item(list) {
        outcome.invalid(
            path,
            "",
            format!("{path} in body shouldn't contain duplicates"),
        );
    }
    outcome.right += 1;
}

fn has_repeated_item(list: &[Value]) -> bool {
    let mut seen = HashSet::new();
    list.iter()
        .any(|item| !seen.insert(super::notation::json(item)))
}

#[cfg(test)]
mod tests;
