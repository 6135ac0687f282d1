//! The keywords of one schema, by name and type.

use serde_json::{Map, Value};

use super::Parser;
use crate::schema::FieldError;
use crate::schema::path::{child, key};

/// The keywords of the schema at a path. Those of another type than they must be are complained
/// about and count as absent; those that are not known do nothing.
pub(super) struct Keywords<'a> {
    words: &'a Map<String, Value>,
    path: String,
}

impl<'a> Keywords<'a> {
    pub(super) fn new(words: &'a Map<String, Value>, path: &str) -> Self {
        Self {
            words,
            path: path.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a keyword.
    pub(super) fn at(&self, name: &str) -> String {
        child(&self.path, name)
    }

    /// The path of an entry of a keyword.
    pub(super) fn at_entry(&self, name: &str, entry: &str) -> String {
        key(&self.at(name), entry)
    }

    /// What a keyword says. One that is null is absent, as it is to the JSON decoder of Kubernetes.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.words.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &str,
        parser: &mut Parser,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = read(value);
        if found.is_none() {
            let detail = format!("must be {what}");
            parser
                .errors
                .push(FieldError::invalid(self.at(name), value.clone(), detail));
        }
        found
    }

    pub(super) fn text(&self, name: &str, parser: &mut Parser) -> String {
        self.read(name, parser, "a string", Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// A text that may be absent or empty, with the same meaning.
    pub(super) fn some_text(&self, name: &str, parser: &mut Parser) -> Option<String> {
        Some(self.text(name, parser)).filter(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, name: &str, parser: &mut Parser) -> bool {
        self.read(name, parser, "a boolean", Value::as_bool)
            .unwrap_or_default()
    }

    pub(super) fn integer(&self, name: &str, parser: &mut Parser) -> Option<i64> {
        self.read(name, parser, "an integer", Value::as_i64)
    }

    pub(super) fn number(&self, name: &str, parser: &mut Parser) -> Option<f64> {
        self.read(name, parser, "a number", Value::as_f64)
    }

    pub(super) fn object(&self, name: &str, parser: &mut Parser) -> Option<&'a Map<String, Value>> {
        self.read(name, parser, "an object", Value::as_object)
    }

    pub(super) fn list(&self, name: &str, parser: &mut Parser) -> &'a [Value] {
        self.read(name, parser, "a list", Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    pub(super) fn texts(&self, name: &str, parser: &mut Parser) -> Vec<String> {
        let texts = |value: &Value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        self.read(name, parser, "a list of strings", texts)
            .unwrap_or_default()
    }
}
