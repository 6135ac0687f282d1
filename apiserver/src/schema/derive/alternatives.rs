//! The variants of an enumeration become one schema.

use serde_json::{Value, json};

use super::{Words, int_or_string};
use crate::schema::FieldError;
use crate::schema::path::key;

/// Puts alternatives into the schema that has them, under the keyword `name`.
pub(super) fn combine(
    words: &mut Words,
    name: &str,
    alternatives: Vec<Words>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if alternatives.is_empty() {
        return;
    }
    if alternatives.len() == 1 {
        for (word, value) in alternatives.into_iter().flatten() {
            words.entry(word).or_insert(value);
        }
    } else if alternatives.iter().all(|one| one.contains_key("enum")) {
        let values = alternatives
            .iter()
            .filter_map(|one| one["enum"].as_array())
            .flatten();
        words.insert("enum".to_owned(), values.cloned().collect());
        if let Some(type_name) = alternatives.first().and_then(|one| one.get("type")) {
            words.entry("type").or_insert_with(|| type_name.clone());
        }
    } else if is_int_or_string(&alternatives) {
        int_or_string(words);
    } else if alternatives.iter().all(|one| is_type(one, "object")) {
        variants(words, name, alternatives, path, errors);
    } else {
        errors.push(FieldError::forbidden(
            path,
            "must be alternatives of one type",
        ));
    }
}

fn is_type(words: &Words, name: &str) -> bool {
    words.get("type").is_some_and(|found| found == name)
}

fn is_int_or_string(alternatives: &[Words]) -> bool {
    let has = |name| alternatives.iter().any(|one| is_type(one, name));
    alternatives.len() == 2 && has("integer") && has("string")
}

/// All fields are those of one object; which of them belong together is said by clauses.
fn variants(
    words: &mut Words,
    name: &str,
    alternatives: Vec<Words>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let mut fields = match words.remove("properties") {
        Some(Value::Object(fields)) => fields,
        _ => Words::new(),
    };
    let mut clauses = Vec::with_capacity(alternatives.len());
    for mut alternative in alternatives {
        let mut constants = Words::new();
        if let Some(Value::Object(own)) = alternative.remove("properties") {
            for (field, schema) in own {
                // The field that tells variants apart has one value in each.
                if let Some([constant]) = schema["enum"].as_array().map(Vec::as_slice) {
                    constants.insert(field.clone(), json!({"enum": [constant]}));
                }
                match fields.get_mut(&field) {
                    None => {
                        fields.insert(field, schema);
                    }
                    Some(known) if *known == schema => {}
                    Some(known) => {
                        if join_constants(known, &schema) {
                            continue;
                        }
                        let detail = "must mean the same in all variants";
                        errors.push(FieldError::forbidden(key(path, &field), detail));
                    }
                }
            }
        }
        let mut clause = Words::new();
        if let Some(required) = alternative.remove("required") {
            clause.insert("required".to_owned(), required);
        }
        if !constants.is_empty() {
            clause.insert("properties".to_owned(), Value::Object(constants));
        }
        clauses.push(Value::Object(clause));
    }
    words.insert("type".to_owned(), "object".into());
    words.insert("properties".to_owned(), Value::Object(fields));
    words.insert(name.to_owned(), Value::Array(clauses));
}

/// Adds the values of one enumeration to another, if both are.
fn join_constants(known: &mut Value, other: &Value) -> bool {
    if known.get("type") != other.get("type") {
        return false;
    }
    let Some(values) = other.get("enum").and_then(Value::as_array) else {
        return false;
    };
    let Some(Value::Array(known)) = known.get_mut("enum") else {
        return false;
    };
    for value in values {
        if !known.contains(value) {
            known.push(value.clone());
        }
    }
    true
}
