//! Checks of values, and the clauses of `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::Value;

use super::{Keywords, Parser, Place};
use crate::schema::path::index;
use crate::schema::{Checks, Clause, FieldError, Pattern, Scalar};

/// What the checks belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// A schema: the first clause of its `allOf` may hold the types of an `int-or-string`.
    Schema,
    /// A clause whose `anyOf` may hold them.
    TypedClause,
    /// Any other clause.
    Clause,
}

/// What must be left to the schema around a clause.
const STRUCTURE: [(&str, &str); 12] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
];

impl Parser {
    pub(super) fn checks(
        &mut self,
        words: &Keywords<'_>,
        place: &Place,
        context: Context,
    ) -> Checks {
        let pattern = words.some_text("pattern", self);
        let pattern = pattern.and_then(|text| match Pattern::new(&text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let detail = format!("must be a valid regular expression, but isn't: {error}");
                self.errors
                    .push(FieldError::invalid(words.at("pattern"), text, detail));
                None
            }
        });
        let not = words.get("not");
        Checks {
            format: words.some_text("format", self),
            pattern,
            one_of_values: words.list("enum", self).to_vec(),
            maximum: words.number("maximum", self),
            exclusive_maximum: words.flag("exclusiveMaximum", self),
            minimum: words.number("minimum", self),
            exclusive_minimum: words.flag("exclusiveMinimum", self),
            multiple_of: words.number("multipleOf", self),
            max_length: words.integer("maxLength", self),
            min_length: words.integer("minLength", self),
            max_items: words.integer("maxItems", self),
            min_items: words.integer("minItems", self),
            unique_items: words.flag("uniqueItems", self),
            max_properties: words.integer("maxProperties", self),
            min_properties: words.integer("minProperties", self),
            all_of: self.clauses(words, "allOf", place, context),
            any_of: self.clauses(words, "anyOf", place, context),
            one_of: self.clauses(words, "oneOf", place, context),
            not: not
                .map(|json| Box::new(self.clause(json, &words.at("not"), place, Context::Clause))),
        }
    }

    fn clauses(
        &mut self,
        words: &Keywords<'_>,
        name: &str,
        place: &Place,
        context: Context,
    ) -> Vec<Clause> {
        let list = words.list(name, self);
        let may_be_typed = name == "anyOf" && context != Context::Clause && is_int_or_string(list);
        let path = words.at(name);
        let mut clauses = Vec::with_capacity(list.len());
        for (at, json) in list.iter().enumerate() {
            if may_be_typed {
                let scalar = if at == 0 {
                    Scalar::Integer
                } else {
                    Scalar::String
                };
                clauses.push(Clause {
                    scalar: Some(scalar),
                    ..Clause::default()
                });
                continue;
            }
            let context = match (name, context, at) {
                ("allOf", Context::Schema, 0) => Context::TypedClause,
                _ => Context::Clause,
            };
            clauses.push(self.clause(json, &index(&path, at), place, context));
        }
        clauses
    }

    fn clause(&mut self, json: &Value, path: &str, place: &Place, context: Context) -> Clause {
        let place = place.below(place.level);
        let Some(words) = self.keywords(json, path, place.depth) else {
            return Clause::default();
        };
        self.check_unsupported(&words, &place);
        self.check_structure(&words);
        let mut clause = Clause {
            checks: self.checks(&words, &place, context),
            required: words.texts("required", self),
            ..Clause::default()
        };
        for (name, json) in words.object("properties", self).into_iter().flatten() {
            let path = words.at_entry("properties", name);
            if name == "metadata" {
                let detail = "must not be specified in a nested context";
                self.errors
                    .push(FieldError::forbidden(path.as_str(), detail));
            }
            let field = self.clause(json, &path, &place, Context::Clause);
            clause.properties.insert(name.clone(), field);
        }
        if let Some(json) = words.get("items").filter(|json| !json.is_array()) {
            let items = self.clause(json, &words.at("items"), &place, Context::Clause);
            clause.items = Some(Box::new(items));
        }
        clause
    }

    fn check_structure(&mut self, words: &Keywords<'_>) {
        let is_set = |value: &Value| match value {
            Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        };
        for (name, detail) in STRUCTURE {
            let found = words.get(name);
            let given = match name {
                "default" => found.is_some(),
                _ => found.is_some_and(is_set),
            };
            if given {
                self.errors
                    .push(FieldError::forbidden(words.at(name), detail));
            }
        }
        let name = "x-kubernetes-validations";
        if words.get(name).is_some_and(is_set) {
            self.errors.push(FieldError::forbidden(
                words.at(name),
                "must be empty to be structural",
            ));
        }
    }
}

/// The one list of types that an `anyOf` may hold.
fn is_int_or_string(list: &[Value]) -> bool {
    let is = |json: &Value, name: &str| {
        json.as_object().is_some_and(|words| {
            words.len() == 1 && words.get("type").is_some_and(|found| found == name)
        })
    };
    matches!(list, [first, second] if is(first, "integer") && is(second, "string"))
}
