//! A schema as OpenAPI v3.

use serde_json::{Map, Value, json};

use super::{Checks, Clause, Kind, ListType, Ownership, Rule, Scalar, Schema};

impl Schema {
    /// The schema as OpenAPI v3, as it stands in a CustomResourceDefinition. [`Schema::parse`] reads
    /// it back to the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if self.is_anything() {
            return Value::Bool(true);
        }
        let mut words = Words::default();
        words.text("type", self.type_name());
        words.text("title", &self.title);
        words.text("description", &self.description);
        words.flag("nullable", self.nullable);
        words.some("default", self.default.clone());
        words.flag(
            "x-kubernetes-preserve-unknown-fields",
            self.preserve_unknown_fields,
        );
        words.flag("x-kubernetes-embedded-resource", self.embedded_resource);
        words.checks(&self.checks);
        match &self.kind {
            Kind::Object {
                properties,
                additional,
                required,
                ownership,
            } => {
                words.entries(
                    "properties",
                    properties
                        .iter()
                        .map(|(name, field)| (name, field.to_json())),
                );
                words.some(
                    "additionalProperties",
                    additional.as_ref().map(|schema| schema.to_json()),
                );
                words.list("required", required.iter().map(|name| json!(name)));
                if *ownership == Ownership::Atomic {
                    words.text("x-kubernetes-map-type", "atomic");
                }
            }
            Kind::List { items, list } => {
                words.some("items", Some(items.to_json()));
                match list {
                    // Absent and atomic mean the same.
                    ListType::Atomic => {}
                    ListType::Set => words.text("x-kubernetes-list-type", "set"),
                    ListType::Map(keys) => {
                        words.text("x-kubernetes-list-type", "map");
                        words.list(
                            "x-kubernetes-list-map-keys",
                            keys.iter().map(|key| json!(key)),
                        );
                    }
                }
            }
            Kind::IntOrString => words.flag("x-kubernetes-int-or-string", true),
            Kind::Any | Kind::String | Kind::Integer | Kind::Number | Kind::Boolean => {}
        }
        words.list(
            "x-kubernetes-validations",
            self.rules.iter().map(Rule::to_json),
        );
        words.patch(&self.patch);
        Value::Object(words.0)
    }
}

impl Clause {
    fn to_json(&self) -> Value {
        let mut words = Words::default();
        words.text(
            "type",
            match self.scalar {
                None => "",
                Some(Scalar::Integer) => "integer",
                Some(Scalar::String) => "string",
            },
        );
        words.checks(&self.checks);
        words.list("required", self.required.iter().map(|name| json!(name)));
        words.entries(
            "properties",
            self.properties
                .iter()
                .map(|(name, field)| (name, field.to_json())),
        );
        words.some("items", self.items.as_ref().map(|items| items.to_json()));
        Value::Object(words.0)
    }
}

impl Rule {
    fn to_json(&self) -> Value {
        let mut words = Words::default();
        words.text("rule", &self.rule);
        words.some("message", self.message.as_deref().map(Value::from));
        words.some(
            "messageExpression",
            self.message_expression.as_deref().map(Value::from),
        );
        words.some("reason", self.reason.as_deref().map(Value::from));
        words.some("fieldPath", self.field_path.as_deref().map(Value::from));
        words.some("optionalOldSelf", self.optional_old_self.map(Value::from));
        Value::Object(words.0)
    }
}

/// The keywords of one schema. What says nothing is left out.
#[derive(Default)]
struct Words(Map<String, Value>);

impl Words {
    fn some(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.some(name, (!text.is_empty()).then(|| text.into()));
    }

    fn flag(&mut self, name: &str, flag: bool) {
        self.some(name, flag.then_some(Value::Bool(true)));
    }

    fn list(&mut self, name: &str, items: impl Iterator<Item = Value>) {
        let items: Vec<_> = items.collect();
        self.some(name, (!items.is_empty()).then_some(Value::Array(items)));
    }

    fn entries<'a>(&mut self, name: &str, entries: impl Iterator<Item = (&'a String, Value)>) {
        let entries: Map<_, _> = entries.map(|(name, value)| (name.clone(), value)).collect();
        self.some(
            name,
            (!entries.is_empty()).then_some(Value::Object(entries)),
        );
    }

    fn checks(&mut self, checks: &Checks) {
        self.text("format", checks.format.as_deref().unwrap_or_default());
        self.text(
            "pattern",
            checks.pattern.as_ref().map_or("", |pattern| pattern.text()),
        );
        self.list("enum", checks.one_of_values.iter().cloned());
        self.some("maximum", checks.maximum.map(number));
        self.flag("exclusiveMaximum", checks.exclusive_maximum);
        self.some("minimum", checks.minimum.map(number));
        self.flag("exclusiveMinimum", checks.exclusive_minimum);
        self.some("multipleOf", checks.multiple_of.map(number));
        self.some("maxLength", checks.max_length.map(Value::from));
        self.some("minLength", checks.min_length.map(Value::from));
        self.some("maxItems", checks.max_items.map(Value::from));
        self.some("minItems", checks.min_items.map(Value::from));
        self.flag("uniqueItems", checks.unique_items);
        self.some("maxProperties", checks.max_properties.map(Value::from));
        self.some("minProperties", checks.min_properties.map(Value::from));
        self.list("allOf", checks.all_of.iter().map(Clause::to_json));
        self.list("anyOf", checks.any_of.iter().map(Clause::to_json));
        self.list("oneOf", checks.one_of.iter().map(Clause::to_json));
        self.some("not", checks.not.as_ref().map(|clause| clause.to_json()));
    }

    fn patch(&mut self, patch: &super::PatchStrategy) {
        let strategies = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys")];
        let names: Vec<_> = strategies
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        self.text("x-kubernetes-patch-strategy", &names.join(","));
        self.text(
            "x-kubernetes-patch-merge-key",
            patch.merge_key.as_deref().unwrap_or_default(),
        );
    }
}

/// A bound is written as an integer where it is one.
fn number(value: f64) -> Value {
    let integer = value as i64;
    match integer as f64 == value && integer.unsigned_abs() < 1 << 53 {
        true => integer.into(),
        false => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_written_as_it_was_read() {
        let json = json!({
            "type": "object", "description": "All that there is.", "required": ["spec"],
            "properties": {
                "spec": {
                    "type": "object", "nullable": true, "x-kubernetes-map-type": "atomic",
                    "maxProperties": 9, "minProperties": 1,
                    "properties": {
                        "s": {"type": "string", "format": "password", "pattern": "^a+$",
                            "maxLength": 5, "minLength": 1, "enum": ["a", "aa"], "default": "a",
                            "title": "S"},
                        "i": {"type": "integer", "maximum": 10, "exclusiveMaximum": true,
                            "minimum": -1.5, "multipleOf": 2},
                        "b": {"type": "boolean"},
                        "n": {"type": "number", "exclusiveMinimum": true, "minimum": 0},
                        "p": {"x-kubernetes-int-or-string": true,
                            "anyOf": [{"type": "integer"}, {"type": "string"}]},
                        "any": {"x-kubernetes-preserve-unknown-fields": true},
                        "map": {"type": "object", "additionalProperties": {"type": "string"}},
                        "open": {"type": "object", "additionalProperties": true},
                        "set": {"type": "array", "items": {"type": "string"}, "maxItems": 3,
                            "minItems": 1, "x-kubernetes-list-type": "set"},
                        "list": {"type": "array", "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"],
                            "items": {"type": "object", "required": ["name"],
                                "properties": {"name": {"type": "string"}}}},
                        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                            "x-kubernetes-preserve-unknown-fields": true}
                    },
                    "x-kubernetes-validations": [{"rule": "self.i > oldSelf.i", "message": "too small",
                        "messageExpression": "'is ' + string(self.i)", "reason": "FieldValueForbidden",
                        "fieldPath": ".i", "optionalOldSelf": false}],
                    "oneOf": [{"required": ["s"]}, {"required": ["i"], "not": {"required": ["b"]}}],
                    "allOf": [{"properties": {"set": {"items": {"pattern": "x"}}}}]
                }
            }
        });
        let schema = Schema::parse(&json).unwrap();
        assert_eq!(schema.to_json(), json);
        assert_eq!(Schema::parse(&schema.to_json()).unwrap(), schema);
    }
}
