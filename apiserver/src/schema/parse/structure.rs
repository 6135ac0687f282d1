//! What makes a schema structural.

use serde_json::Value;

use super::{Keywords, Level, Parser, Place};
use crate::schema::path::child;
use crate::schema::{FieldError, Kind, Ownership, Schema};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

impl Parser {
    pub(super) fn check_unsupported(&mut self, words: &Keywords<'_>, place: &Place) {
        for name in [
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
            "$ref",
        ] {
            if words.get(name).is_some() {
                self.errors.push(FieldError::forbidden(
                    words.at(name),
                    format!("{name} is not supported"),
                ));
            }
        }
        if words.get("items").is_some_and(Value::is_array) {
            let detail = "items must be a schema object and not an array";
            self.errors
                .push(FieldError::forbidden(words.at("items"), detail));
        }
        if words.get("uniqueItems") == Some(&Value::Bool(true)) {
            let detail =
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.errors
                .push(FieldError::forbidden(words.at("uniqueItems"), detail));
        }
        let embedded = words.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
        if place.inside_meta && embedded {
            let path = words.at("x-kubernetes-embedded-resource");
            self.errors.push(FieldError::forbidden(
                path,
                "must not be used inside of resource meta",
            ));
        }
        match words.get("type").and_then(Value::as_str) {
            None | Some("") => {}
            Some(name) => {
                let path = words.at("type");
                if !TYPES.contains(&name) {
                    self.errors
                        .push(FieldError::not_supported(path.as_str(), name, &TYPES));
                }
                if name == "null" {
                    let detail = "type cannot be set to null, use nullable as an alternative";
                    self.errors.push(FieldError::forbidden(path, detail));
                }
            }
        }
    }

    pub(super) fn check_type(
        &mut self,
        words: &Keywords<'_>,
        type_name: &str,
        int_or_string: bool,
        schema: &Schema,
        place: &Place,
    ) {
        let path = words.at("type");
        if schema.embedded_resource && type_name != "object" {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            self.errors.push(match type_name {
                "" => FieldError::required(path.as_str(), detail),
                _ => FieldError::invalid(path.as_str(), type_name, detail),
            });
        } else if type_name.is_empty() && !int_or_string && !schema.preserve_unknown_fields {
            let detail = match place.level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.errors
                .push(FieldError::required(path.as_str(), detail));
        }
        if place.level == Level::Root && !matches!(type_name, "" | "object") {
            self.errors.push(FieldError::invalid(
                path,
                type_name,
                "must be object at the root",
            ));
        }
        if type_name == "array" && words.get("items").is_none() {
            self.errors
                .push(FieldError::required(words.at("items"), "must be specified"));
        }
        if int_or_string {
            for (set, name) in [
                (
                    schema.preserve_unknown_fields,
                    "x-kubernetes-preserve-unknown-fields",
                ),
                (schema.embedded_resource, "x-kubernetes-embedded-resource"),
            ] {
                if set {
                    let detail = "must be false if x-kubernetes-int-or-string is true";
                    self.errors
                        .push(FieldError::invalid(words.at(name), true, detail));
                }
            }
        }
    }

    /// What a schema may say of the fields that every object of the API has.
    pub(super) fn check_metadata(&mut self, words: &Keywords<'_>, schema: &Schema, place: &Place) {
        let is_root = place.level == Level::Root;
        let Kind::Object { properties, .. } = &schema.kind else {
            return;
        };
        if is_root || schema.embedded_resource {
            for (name, expected) in [
                ("kind", "string"),
                ("apiVersion", "string"),
                ("metadata", "object"),
            ] {
                let found = properties.get(name).map(Schema::type_name);
                if let Some(found) = found.filter(|found| *found != expected) {
                    let path = child(&words.at_entry("properties", name), "type");
                    let detail = format!("must be {expected}");
                    self.errors.push(FieldError::invalid(path, found, detail));
                }
            }
        }
        if let Some(metadata) = properties.get("metadata").filter(|_| is_root)
            && !restricts_names_only(metadata)
        {
            let detail = "must not specify anything other than name and generateName, but metadata \
                          is implicitly specified";
            let path = words.at_entry("properties", "metadata");
            self.errors.push(FieldError::forbidden(path, detail));
        }
        if schema.embedded_resource && !schema.preserve_unknown_fields && properties.is_empty() {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                          x-kubernetes-preserve-unknown-fields";
            self.errors
                .push(FieldError::required(words.at("properties"), detail));
        }
    }

    pub(super) fn check_default(&mut self, words: &Keywords<'_>, schema: &Schema, place: &Place) {
        if let (Some(_), Some(why)) = (&schema.default, &place.no_default) {
            let detail = format!("must not be set {why}");
            self.errors
                .push(FieldError::forbidden(words.at("default"), detail));
        }
    }
}

fn restricts_names_only(metadata: &Schema) -> bool {
    let mut rest = metadata.clone();
    rest.default = None;
    rest.untyped = false;
    if let Kind::Object { properties, .. } = &mut rest.kind
        && properties
            .keys()
            .all(|name| matches!(name.as_str(), "name" | "generateName"))
    {
        properties.clear();
    }
    let nothing = Kind::Object {
        properties: Default::default(),
        additional: None,
        required: Vec::new(),
        ownership: Ownership::Granular,
    };
    rest == Schema {
        kind: nothing,
        ..Schema::default()
    }
}
