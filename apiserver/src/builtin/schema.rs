//! The schema of a type in upstream's OpenAPI.

use crate::schema::{Checks, Kind, ListType, Ownership, PatchStrategy, Schema};
use crate::upstream;
use serde_json::Value;
use std::collections::BTreeMap;

/// How deep types may nest; one that holds itself is cut off before that.
const MAX_DEPTH: usize = 40;

/// The schema of the type with that name, in which the types that it refers to are put in place.
/// `None` if there is no such type.
///
/// Nothing is required and nothing has a default: kube-apiserver decodes its own kinds whatever is
/// left out, and has its defaults as code. Of `metadata` nothing is said, as of every kind.
pub fn schema<'a>(name: &str, types: &dyn Fn(&str) -> Option<&'a Value>) -> Option<Schema> {
    let reader = Reader { types };
    let json = types(name)?;
    let mut schema = reader.schema(json, &mut vec![name.to_owned()]);
    if json.get("x-kubernetes-group-version-kind").is_some()
        && let Kind::Object { properties, .. } = &mut schema.kind
    {
        properties.remove("metadata");
    }
    Some(schema)
}

struct Reader<'a, 'b> {
    types: &'b dyn Fn(&str) -> Option<&'a Value>,
}

impl Reader<'_, '_> {
    /// `inside`: the types around it.
    fn schema(&self, json: &Value, inside: &mut Vec<String>) -> Schema {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let mut schema = match upstream::referred(json) {
            None => self.plain(json, inside),
            Some(name) if inside.len() > MAX_DEPTH || inside.iter().any(|one| one == name) => {
                open()
            }
            Some(name) => {
                inside.push(name.to_owned());
                let found = (self.types)(name).map(|json| self.schema(json, inside));
                inside.pop();
                found.unwrap_or_else(open)
            }
        };
        if let Some(description) = text("description") {
            schema.description = description.to_owned();
        }
        if let Some(strategy) = text("x-kubernetes-patch-strategy") {
            let has = |name: &str| strategy.split(',').any(|one| one == name);
            schema.patch = PatchStrategy {
                merge: has("merge"),
                retain_keys: has("retainKeys"),
                merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
            };
        }
        schema
    }

    fn plain(&self, json: &Value, inside: &mut Vec<String>) -> Schema {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let format = text("format");
        let kind = match text("type") {
            Some("string") if format == Some("int-or-string") => Kind::IntOrString,
            Some("string") => Kind::String,
            Some("integer") => Kind::Integer,
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Boolean,
            Some("array") => Kind::List {
                items: Box::new(self.schema(&json["items"], inside)),
                list: list_type(json),
            },
            Some("object") if is_anything(json) => return open(),
            Some("object") => self.object(json, inside),
            // An `oneOf` of an integer and a string, or JSON.
            _ if format == Some("int-or-string") => Kind::IntOrString,
            _ => return open(),
        };
        let format = format.filter(|format| *format != "int-or-string");
        Schema {
            kind,
            checks: Checks {
                format: format.map(str::to_owned),
                ..Checks::default()
            },
            ..Schema::default()
        }
    }

    fn object(&self, json: &Value, inside: &mut Vec<String>) -> Kind {
        let fields = json.get("properties").and_then(Value::as_object);
        let mut properties = BTreeMap::new();
        for (name, field) in fields.into_iter().flatten() {
            properties.insert(name.clone(), self.schema(field, inside));
        }
        let additional = json.get("additionalProperties");
        Kind::Object {
            properties,
            additional: additional.map(|json| Box::new(self.schema(json, inside))),
            required: Vec::new(),
            ownership: match json["x-kubernetes-map-type"].as_str() {
                Some("atomic") => Ownership::Atomic,
                _ => Ownership::Granular,
            },
        }
    }
}

/// An object of which nothing is said holds anything.
fn is_anything(json: &Value) -> bool {
    json.get("properties").is_none() && json.get("additionalProperties").is_none()
}

fn open() -> Schema {
    Schema {
        preserve_unknown_fields: true,
        ..Schema::default()
    }
}

fn list_type(json: &Value) -> ListType {
    match json["x-kubernetes-list-type"].as_str() {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = json["x-kubernetes-list-map-keys"].as_array();
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            ListType::Map(keys.map(str::to_owned).collect())
        }
        _ => ListType::Atomic,
    }
}
