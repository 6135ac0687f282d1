//! What a value is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Keywords, Level, Parser, Place};
use crate::schema::{FieldError, Kind, ListType, Ownership, Schema};

impl Parser {
    pub(super) fn preserve_unknown_fields(&mut self, words: &Keywords<'_>) -> bool {
        let name = "x-kubernetes-preserve-unknown-fields";
        let given = words.get(name).is_some();
        let preserve = words.flag(name, self);
        if given && !preserve {
            self.errors.push(FieldError::invalid(
                words.at(name),
                false,
                "must be true or undefined",
            ));
        }
        preserve
    }

    pub(super) fn kind(
        &mut self,
        words: &Keywords<'_>,
        type_name: &str,
        int_or_string: bool,
        embedded: bool,
        place: &Place,
    ) -> Kind {
        let list = self.list_type(words, type_name);
        let ownership = self.ownership(words, type_name);
        let items = self.items(words, &list, place);
        let object = self.object(words, ownership, embedded, place);
        match type_name {
            _ if int_or_string => Kind::IntOrString,
            "object" => object,
            "array" => Kind::List {
                items: Box::new(items.unwrap_or_default()),
                list,
            },
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            // Without a type the keywords that are there say what it is if it is one.
            _ => match (&object, items) {
                (
                    Kind::Object {
                        properties,
                        additional: None,
                        ..
                    },
                    None,
                ) if properties.is_empty() => Kind::Any,
                (
                    Kind::Object {
                        properties,
                        additional: None,
                        ..
                    },
                    Some(items),
                ) if properties.is_empty() => Kind::List {
                    items: Box::new(items),
                    list,
                },
                _ => object,
            },
        }
    }

    fn object(
        &mut self,
        words: &Keywords<'_>,
        ownership: Ownership,
        embedded: bool,
        place: &Place,
    ) -> Kind {
        let fields = words.object("properties", self);
        let additional = self.additional(words, fields, embedded, place);
        let mut properties = BTreeMap::new();
        let is_resource = place.level == Level::Root || embedded;
        for (name, json) in fields.into_iter().flatten() {
            let mut below = place.below(Level::Field);
            if is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                below.inside_meta = true;
                if place.level == Level::Root {
                    below.no_default = Some(format!("in top-level {name}"));
                }
            }
            let path = words.at_entry("properties", name);
            properties.insert(name.clone(), self.schema(json, &path, &below));
        }
        Kind::Object {
            properties,
            additional,
            required: words.texts("required", self),
            ownership,
        }
    }

    fn additional(
        &mut self,
        words: &Keywords<'_>,
        fields: Option<&Map<String, Value>>,
        embedded: bool,
        place: &Place,
    ) -> Option<Box<Schema>> {
        let json = words.get("additionalProperties")?;
        let path = words.at("additionalProperties");
        if fields.is_some_and(|fields| !fields.is_empty()) && *json != Value::Bool(true) {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.errors
                .push(FieldError::forbidden(path.as_str(), detail));
        }
        if place.level == Level::Root {
            self.errors.push(FieldError::forbidden(
                path.as_str(),
                "must not be used at the root",
            ));
        }
        if embedded {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            self.errors
                .push(FieldError::forbidden(path.as_str(), detail));
        }
        match json {
            Value::Bool(true) => Some(Box::new(Schema::anything())),
            Value::Bool(false) => None,
            _ => {
                let mut below = place.below(Level::Field);
                if place.inside_meta {
                    let why = "inside additionalProperties applying to object metadata";
                    below.no_default = Some(why.to_owned());
                }
                Some(Box::new(self.schema(json, &path, &below)))
            }
        }
    }

    fn items(&mut self, words: &Keywords<'_>, list: &ListType, place: &Place) -> Option<Schema> {
        let json = words.get("items").filter(|json| !json.is_array())?;
        let mut below = place.below(Level::Item);
        if !matches!(list, ListType::Map(_)) && below.uncorrelated.is_none() {
            below.uncorrelated = Some(words.path().to_owned());
        }
        Some(self.schema(json, &words.at("items"), &below))
    }
}
