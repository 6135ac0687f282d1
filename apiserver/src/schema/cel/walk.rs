//! Rules are asked of the values that have them.

use std::collections::HashSet;
use std::ptr;

use serde_json::Value;

use super::asked::{Asked, EXHAUSTED, Spent};
use super::convert;
use super::run::{Budget, CONTEXT, optional_value};
use crate::schema::correlate::{OldItems, is_known_again};
use crate::schema::path::{child, index, key};
use crate::schema::{FieldError, Kind, Schema};

/// Whether there are rules anywhere in a schema.
pub(crate) fn has_rules(schema: &Schema) -> bool {
    !schema.rules.is_empty()
        || match &schema.kind {
            Kind::Object {
                properties,
                additional,
                ..
            } => properties.values().any(has_rules) || additional.as_deref().is_some_and(has_rules),
            Kind::List { items, .. } => has_rules(items),
            _ => false,
        }
}

/// Asks all rules of a new value that takes the place of an old one, or of none.
pub(crate) fn check(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    ask(schema, new, old, old.map_or(Before::Unknown, Before::Was))
}

/// Asks all rules of a value that stays, and lets nothing pass for that.
pub(crate) fn check_unchanged(schema: &Schema, value: &Value) -> Vec<FieldError> {
    ask(schema, value, Some(value), Before::Unknown)
}

fn ask(schema: &Schema, new: &Value, old: Option<&Value>, before: Before<'_>) -> Vec<FieldError> {
    let mut with_rules = HashSet::new();
    mark(schema, &mut with_rules);
    let mut walk = Walk {
        with_rules,
        budget: Budget::for_object(),
        errors: Vec::new(),
    };
    // The walk ends early when the budget does.
    let _ = walk.value(schema, new, old, before, "");
    walk.errors
}

/// Finds the schemas that have rules or lead to some.
fn mark(schema: &Schema, with_rules: &mut HashSet<*const Schema>) -> bool {
    let mut found = !schema.rules.is_empty();
    match &schema.kind {
        Kind::Object {
            properties,
            additional,
            ..
        } => {
            for field in properties.values().chain(additional.as_deref()) {
                found |= mark(field, with_rules);
            }
        }
        Kind::List { items, .. } => found |= mark(items, with_rules),
        _ => {}
    }
    if found {
        with_rules.insert(ptr::from_ref(schema));
    }
    found
}

/// What is known of the value before, to let pass what did not change.
#[derive(Clone, Copy)]
enum Before<'a> {
    /// Nothing.
    Unknown,
    /// This.
    Was(&'a Value),
    /// Nothing of the value itself; the nearest value around it that is known was the first and is
    /// the second.
    Around(&'a Value, &'a Value),
}

impl<'a> Before<'a> {
    fn is_unchanged(self, new: &Value) -> bool {
        match self {
            Self::Unknown => false,
            Self::Was(old) => old == new,
            Self::Around(old, new) => old == new,
        }
    }

    /// What is known of a part of `new` that was `old`.
    fn of_part(self, new: &'a Value, old: Option<&'a Value>) -> Self {
        match (self, old) {
            (Self::Was(_), Some(old)) => Self::Was(old),
            (Self::Was(around), None) => Self::Around(around, new),
            (unknown, _) => unknown,
        }
    }
}

struct Walk {
    with_rules: HashSet<*const Schema>,
    budget: Budget,
    errors: Vec<FieldError>,
}

impl Walk {
    fn value<'a>(
        &mut self,
        schema: &Schema,
        new: &'a Value,
        old: Option<&'a Value>,
        before: Before<'a>,
        path: &str,
    ) -> Result<(), Spent> {
        if new.is_null() || !self.with_rules.contains(&ptr::from_ref(schema)) {
            return Ok(());
        }
        if !schema.rules.is_empty() {
            self.rules(schema, new, old.filter(|old| !old.is_null()), before, path)?;
        }
        match (new, &schema.kind) {
            (Value::Array(list), Kind::List { items, .. }) => {
                let old_items = OldItems::new(schema, old);
                for (at, item) in list.iter().enumerate() {
                    let old = old_items.get(item);
                    self.value(items, item, old, before.of_part(new, old), &index(path, at))?;
                }
            }
            (
                Value::Object(fields),
                Kind::Object {
                    properties,
                    additional,
                    ..
                },
            ) => {
                for (name, field) in fields {
                    let old = old.and_then(|old| old.get(name));
                    let known = old.filter(|_| is_known_again(schema, name));
                    let before = match (path, name.as_str()) {
                        ("", "apiVersion" | "kind") => Before::Unknown,
                        _ => before.of_part(new, known),
                    };
                    if let Some(schema) = properties.get(name) {
                        self.value(schema, field, old, before, &child(path, name))?;
                    } else if let Some(schema) = additional {
                        self.value(schema, field, old, before, &key(path, name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules(
        &mut self,
        schema: &Schema,
        new: &Value,
        old: Option<&Value>,
        before: Before<'_>,
        path: &str,
    ) -> Result<(), Spent> {
        let type_name = schema.type_name();
        let spent = FieldError::invalid(path, type_name, EXHAUSTED);
        let mut scope = CONTEXT.new_inner_scope();
        let mut optional = None;
        for (name, value) in [("self", Some(new)), ("oldSelf", old)] {
            let Some(value) = value else { continue };
            let Some((value, size)) = convert::convert(schema, value, &CONTEXT) else {
                self.errors.push(FieldError::invalid(
                    path,
                    type_name,
                    "value nests too deep for rules",
                ));
                return Ok(());
            };
            // Making it takes about a tenth of what looking at it in an expression does.
            self.budget.spend(size as i64 / 10);
            if name == "oldSelf" {
                optional = Some(value.clone());
            }
            scope.add_variable_from_value(name, value);
        }
        if self.budget.is_spent() {
            self.errors.push(spent);
            return Err(Spent);
        }
        let mut optional_scope = scope.new_inner_scope();
        optional_scope.add_variable_from_value("oldSelf", optional_value(optional));
        for rule in &schema.rules {
            let compiled = match rule.compiled() {
                Ok(compiled) => compiled,
                Err(error) => {
                    let detail = format!("rule compile error: {}", error.detail);
                    self.errors
                        .push(FieldError::invalid(path, type_name, detail));
                    continue;
                }
            };
            let is_optional = rule.optional_old_self == Some(true);
            if compiled.uses_old_self() && old.is_none() && !is_optional {
                continue;
            }
            let scope = if is_optional { &optional_scope } else { &scope };
            let asked = Asked {
                rule,
                compiled,
                scope,
                schema,
                new,
                path,
            };
            let unchanged = || !compiled.uses_old_self() && before.is_unchanged(new);
            asked.ask(&mut self.budget, unchanged, &mut self.errors)?;
        }
        Ok(())
    }
}
