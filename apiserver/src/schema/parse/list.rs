//! How lists and maps are merged.

use serde_json::Value;

use super::{Keywords, Parser};
use crate::schema::path::{child, key};
use crate::schema::{FieldError, ListType, Ownership};

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

impl Parser {
    pub(super) fn ownership(&mut self, words: &Keywords<'_>, type_name: &str) -> Ownership {
        let Some(name) = words.some_text(MAP_TYPE, self) else {
            return Ownership::Granular;
        };
        self.expect_type(words, type_name, "object", MAP_TYPE);
        match name.as_str() {
            "atomic" => Ownership::Atomic,
            "granular" => Ownership::Granular,
            _ => {
                let known = ["atomic", "granular"];
                self.errors
                    .push(FieldError::not_supported(words.at(MAP_TYPE), name, &known));
                Ownership::Granular
            }
        }
    }

    pub(super) fn list_type(&mut self, words: &Keywords<'_>, type_name: &str) -> ListType {
        let name = words.some_text(LIST_TYPE, self);
        let keys = words.texts(KEYS, self);
        if name.is_some() {
            self.expect_type(words, type_name, "array", LIST_TYPE);
        }
        if !keys.is_empty() && name.as_deref() != Some("map") {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            let path = words.at(LIST_TYPE);
            self.errors.push(match &name {
                None => FieldError::required(path, detail),
                Some(name) => FieldError::invalid(path, name.as_str(), detail),
            });
        }
        let list = match name.as_deref() {
            None | Some("atomic") => return ListType::Atomic,
            Some("set") => {
                self.check_set(words);
                ListType::Set
            }
            Some("map") => {
                self.check_map(words, &keys);
                ListType::Map(keys)
            }
            Some(other) => {
                let known = ["atomic", "set", "map"];
                self.errors.push(FieldError::not_supported(
                    words.at(LIST_TYPE),
                    other,
                    &known,
                ));
                return ListType::Atomic;
            }
        };
        if is_true(words.get("items"), "nullable") {
            let name = name.unwrap_or_default();
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {name}");
            self.errors
                .push(FieldError::forbidden(words.at("items.nullable"), detail));
        }
        list
    }

    fn expect_type(&mut self, words: &Keywords<'_>, found: &str, expected: &str, keyword: &str) {
        let detail = format!("must be {expected} if {keyword} is specified");
        match found {
            _ if found == expected => {}
            "" => self
                .errors
                .push(FieldError::required(words.at("type"), detail)),
            _ => self
                .errors
                .push(FieldError::invalid(words.at("type"), found, detail)),
        }
    }

    /// Items of a set are compared as a whole.
    fn check_set(&mut self, words: &Keywords<'_>) {
        let Some(items) = words.get("items") else {
            return;
        };
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let (type_name, keyword) = match text(items, "type") {
            Some("array") => (text(items, LIST_TYPE), LIST_TYPE),
            Some("object") => match text(items, MAP_TYPE) {
                None => (Some("granular"), MAP_TYPE),
                found => (found, MAP_TYPE),
            },
            _ => return,
        };
        if type_name.is_some_and(|name| name != "atomic") {
            let path = child(&words.at("items"), keyword);
            // It is the list type that is shown, whatever is wrong.
            let shown = items.get(LIST_TYPE).cloned().unwrap_or_default();
            self.errors.push(FieldError::invalid(path, shown, detail));
        }
    }

    fn check_map(&mut self, words: &Keywords<'_>, keys: &[String]) {
        if keys.is_empty() {
            let detail = "must not be empty if x-kubernetes-list-type is map";
            self.errors
                .push(FieldError::required(words.at(KEYS), detail));
        }
        let Some(items) = words.get("items") else {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            self.errors
                .push(FieldError::required(words.at("items"), detail));
            return;
        };
        let type_name = text(items, "type").unwrap_or_default();
        if type_name != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            self.errors.push(FieldError::invalid(
                words.at("items.type"),
                type_name,
                detail,
            ));
            return;
        }
        for (at, name) in keys.iter().enumerate() {
            let wrong =
                |detail: &str| FieldError::invalid(words.at(KEYS), Value::from(keys), detail);
            if keys[..at].contains(name) {
                self.errors
                    .push(wrong("must not contain duplicate entries"));
            }
            match items
                .get("properties")
                .and_then(|properties| properties.get(name))
            {
                None => self
                    .errors
                    .push(wrong("entries must all be names of item properties")),
                Some(field) => {
                    let path = key(&words.at("items.properties"), name);
                    self.check_key(items, name, field, &path);
                }
            }
        }
    }

    /// A field that tells items apart is a scalar that is always there.
    fn check_key(&mut self, items: &Value, name: &str, field: &Value, path: &str) {
        if matches!(text(field, "type"), Some("array" | "object")) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            // The type that is shown is that of the items.
            self.errors
                .push(FieldError::invalid(child(path, "type"), "object", detail));
        }
        let required = items.get("required").and_then(Value::as_array);
        let is_required = required.is_some_and(|names| names.iter().any(|one| one == name));
        if !is_required && field.get("default").is_none_or(Value::is_null) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default \
                          or be a required property";
            self.errors
                .push(FieldError::required(child(path, "default"), detail));
        }
        if is_true(Some(field), "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            self.errors
                .push(FieldError::forbidden(child(path, "nullable"), detail));
        }
    }
}

fn text<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    json.get(name)?.as_str()
}

fn is_true(json: Option<&Value>, name: &str) -> bool {
    json.and_then(|json| json.get(name)) == Some(&Value::Bool(true))
}
