//! A structural schema from the JSON schema that `schemars` derives from a Rust type.

use serde_json::{Map, Value, json};

use super::path::{child, index, key};
use super::{FieldError, MAX_DEPTH, Schema};

mod alternatives;

/// The keywords of a JSON schema.
type Words = Map<String, Value>;

/// Has no meaning for an API, or is resolved here.
const DROPPED: [&str; 9] = [
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "definitions",
    "deprecated",
    "examples",
    "readOnly",
    "title",
];

impl Schema {
    /// The schema of the objects of a Rust type, from what `schemars::schema_for!` says of it.
    ///
    /// References are put in place, `Option` becomes `nullable`, an enumeration of constants `enum`,
    /// the variants of any other enumeration fields of one object of which each variant requires its
    /// own, a set of scalars `x-kubernetes-list-type: set`, and what may be anything keeps unknown
    /// fields. Of the root's `metadata` nothing is said but what names may be, if its type says only
    /// that, as it is the same for all objects. Numbers without a sign get the format of signed ones.
    ///
    /// # Errors
    ///
    /// What cannot be said in a structural schema: types that hold themselves, tuples, and variants
    /// that give one field two meanings.
    pub fn from_schemars(json: &Value) -> Result<Self, Vec<FieldError>> {
        let mut derivation = Derivation {
            root: json,
            errors: Vec::new(),
        };
        let mut words = derivation.schema(json, "", 0);
        if let Some(Value::Object(fields)) = words.get_mut("properties") {
            if let Some(metadata) = fields.get_mut("metadata") {
                *metadata = restricted_metadata(metadata);
            }
            for name in ["apiVersion", "kind"] {
                if let Some(Value::Object(field)) = fields.get_mut(name) {
                    field.remove("default");
                }
            }
        }
        match derivation.errors.is_empty() {
            true => Self::parse(&Value::Object(words)),
            false => Err(derivation.errors),
        }
    }
}

/// Collects what cannot be said.
struct Derivation<'a> {
    root: &'a Value,
    errors: Vec<FieldError>,
}

impl Derivation<'_> {
    fn schema(&mut self, json: &Value, path: &str, depth: usize) -> Words {
        // One error is enough: a type that holds itself twice would be read without end.
        if !self.errors.is_empty() {
            return Words::new();
        }
        if depth > MAX_DEPTH {
            self.errors
                .push(FieldError::forbidden(path, "must not hold itself"));
            return Words::new();
        }
        let words = match json {
            Value::Bool(true) => return anything(),
            Value::Object(words) => words.clone(),
            other => {
                self.errors
                    .push(FieldError::invalid(path, other.clone(), "must be a schema"));
                return Words::new();
            }
        };
        let mut words = self.resolve(words, path, depth);
        words.retain(|name, _| !DROPPED.contains(&name.as_str()));
        self.types(&mut words, path);
        self.children(&mut words, path, depth);
        for name in ["anyOf", "oneOf"] {
            self.alternatives(&mut words, name, path, depth);
        }
        constants(&mut words);
        bounds(&mut words);
        format(&mut words);
        set(&mut words);
        infer_type(&mut words);
        words
    }

    /// Puts a reference, and an `allOf` of one schema, in its place. What stands beside it counts more.
    fn resolve(&mut self, mut words: Words, path: &str, depth: usize) -> Words {
        for _ in 0..MAX_DEPTH {
            let target = match (words.remove("$ref"), words.get("allOf")) {
                (Some(Value::String(reference)), _) => {
                    match reference
                        .strip_prefix('#')
                        .and_then(|at| self.root.pointer(at))
                    {
                        Some(target) => target.clone(),
                        None => {
                            let detail = "must refer to a part of the same schema";
                            self.errors.push(FieldError::invalid(
                                child(path, "$ref"),
                                reference,
                                detail,
                            ));
                            return words;
                        }
                    }
                }
                (_, Some(Value::Array(all))) if all.len() == 1 => {
                    let target = all[0].clone();
                    words.remove("allOf");
                    target
                }
                _ => return words,
            };
            let Value::Object(mut target) = target else {
                return anything();
            };
            target.append(&mut words);
            words = target;
        }
        self.errors.push(FieldError::forbidden(
            path,
            format!("must not refer to itself, at depth {depth}"),
        ));
        words
    }

    /// A list of types becomes one type.
    fn types(&mut self, words: &mut Words, path: &str) {
        let Some(Value::Array(types)) = words.get("type") else {
            return;
        };
        let mut names: Vec<_> = types
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.retain(|name| name != "null");
        if names.len() < count {
            words.insert("nullable".to_owned(), Value::Bool(true));
        }
        match names.as_slice() {
            [name] => {
                words.insert("type".to_owned(), name.as_str().into());
            }
            [first, second] if first == "integer" && second == "string" => int_or_string(words),
            _ => {
                let detail = "must be one type, or an integer or string";
                let types = words.remove("type").unwrap_or_default();
                self.errors
                    .push(FieldError::invalid(child(path, "type"), types, detail));
            }
        }
    }

    fn children(&mut self, words: &mut Words, path: &str, depth: usize) {
        if let Some(Value::Object(fields)) = words.get_mut("properties") {
            for (name, field) in fields.iter_mut() {
                let path = key(&child(path, "properties"), name);
                *field = Value::Object(self.schema(field, &path, depth + 1));
            }
        }
        if words.contains_key("prefixItems") {
            let path = child(path, "prefixItems");
            self.errors
                .push(FieldError::forbidden(path, "must not be a tuple"));
        }
        if words.get("type").is_some_and(|name| name == "array") {
            let items = words.remove("items").unwrap_or(Value::Bool(true));
            let items = self.schema(&items, &child(path, "items"), depth + 1);
            words.insert("items".to_owned(), Value::Object(items));
        }
        match words.remove("additionalProperties") {
            None | Some(Value::Bool(false)) => {}
            Some(additional) => {
                let path = child(path, "additionalProperties");
                let additional = self.schema(&additional, &path, depth + 1);
                match additional == anything() {
                    true => words.append(&mut anything()),
                    false => {
                        words.insert("additionalProperties".to_owned(), Value::Object(additional));
                    }
                }
            }
        }
    }

    /// Reads the alternatives of an `anyOf` or `oneOf`, leaving out `null`.
    fn alternatives(&mut self, words: &mut Words, name: &str, path: &str, depth: usize) {
        let Some(Value::Array(list)) = words.remove(name) else {
            return;
        };
        let path = child(path, name);
        let mut read = Vec::with_capacity(list.len());
        for (at, json) in list.iter().enumerate() {
            if is_null(json) {
                words.insert("nullable".to_owned(), Value::Bool(true));
            } else {
                read.push(self.schema(json, &index(&path, at), depth + 1));
            }
        }
        alternatives::combine(words, name, read, &path, &mut self.errors);
    }
}

fn anything() -> Words {
    Words::from_iter([(
        "x-kubernetes-preserve-unknown-fields".to_owned(),
        Value::Bool(true),
    )])
}

fn int_or_string(words: &mut Words) {
    words.remove("type");
    words.insert("x-kubernetes-int-or-string".to_owned(), Value::Bool(true));
}

fn is_null(json: &Value) -> bool {
    json.get("type").is_some_and(|name| name == "null")
        || json.get("const").is_some_and(Value::is_null)
        || json
            .get("enum")
            .is_some_and(|values| *values == json!([null]))
}

/// `const` is an `enum` of one. An enumeration is not nullable: Kubernetes takes no `null` for one of
/// its values, and drops it where it is not.
fn constants(words: &mut Words) {
    if let Some(value) = words.remove("const") {
        words.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(values)) = words.get_mut("enum") {
        values.retain(|value| !value.is_null());
        words.remove("nullable");
    }
    if words.get("default").is_some_and(Value::is_null) {
        words.remove("default");
    }
}

/// What may be said of the metadata of an object.
fn restricted_metadata(metadata: &Value) -> Value {
    let mut restricted = json!({"type": "object"});
    let properties = metadata.get("properties").and_then(Value::as_object);
    let only_names = |fields: &&Words| {
        let mut names = fields.keys();
        names.all(|name| ["name", "generateName"].contains(&name.as_str()))
    };
    if let Some(properties) = properties.filter(only_names) {
        restricted["properties"] = Value::Object(properties.clone());
    }
    restricted
}

/// OpenAPI knows no numbers without a sign; the least is said beside.
fn format(words: &mut Words) {
    let format = words.get("format").and_then(Value::as_str);
    let signed = match format {
        Some("uint8" | "uint16" | "int8" | "int16") => "int32",
        Some("uint32" | "uint64" | "uint") => "int64",
        _ => return,
    };
    words.insert("format".to_owned(), signed.into());
}

/// Exclusive bounds are numbers in JSON schema, and flags in OpenAPI 3.0.
fn bounds(words: &mut Words) {
    for (exclusive, bound) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        if let Some(value) = words
            .get(exclusive)
            .filter(|value| value.is_number())
            .cloned()
        {
            words.insert(bound.to_owned(), value);
            words.insert(exclusive.to_owned(), Value::Bool(true));
        }
    }
}

fn set(words: &mut Words) {
    if words.remove("uniqueItems") != Some(Value::Bool(true)) {
        return;
    }
    let of_scalars = words
        .get("items")
        .and_then(|items| items.get("type"))
        .is_some_and(|name| {
            matches!(
                name.as_str(),
                Some("string" | "integer" | "number" | "boolean")
            )
        });
    if of_scalars {
        words
            .entry("x-kubernetes-list-type")
            .or_insert_with(|| "set".into());
    }
}

/// Where no type is given it is that of the constants, or anything.
fn infer_type(words: &mut Words) {
    let known = [
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    ];
    if known.iter().any(|name| words.contains_key(*name)) {
        return;
    }
    let values = words.get("enum").and_then(Value::as_array);
    let type_name = match values.and_then(|values| values.first()) {
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "integer",
        Some(Value::Bool(_)) => "boolean",
        _ if words.contains_key("properties") || words.contains_key("additionalProperties") => {
            "object"
        }
        _ => {
            words.append(&mut anything());
            return;
        }
    };
    words.insert("type".to_owned(), type_name.into());
}

#[cfg(test)]
mod tests;
