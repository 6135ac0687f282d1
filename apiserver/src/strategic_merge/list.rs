//! Lists that are merged.

use super::order::{Keys, arranged, key_of};
use super::{DIRECTIVE, Error, Field};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What the items of a list are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Object,
    Text,
    Integer,
    Number,
    Flag,
}

impl Field<'_> {
    /// What tells items apart; empty for lists of scalars.
    pub(super) fn key(&self) -> &str {
        self.strategy.merge_key.as_deref().unwrap_or_default()
    }

    /// A list with a patch of it merged into it, or with the items of the patch deleted from it.
    pub(super) fn merge(
        &self,
        old: Vec<Value>,
        new: Vec<Value>,
        deletes: bool,
    ) -> Result<Vec<Value>, Error> {
        if !self.strategy.merge && !deletes {
            return Ok(new);
        }
        if old.is_empty() && new.is_empty() {
            return Ok(old);
        }
        match element([&old, &new])? {
            Element::Object => self.merge_objects(old, new),
            _ if deletes => {
                let doomed = Keys::of(&new, "")?;
                Ok(old
                    .into_iter()
                    .filter(|item| doomed.find(item).is_none())
                    .collect())
            }
            // Items of a list of objects have a key, which scalars have not.
            _ if !self.key().is_empty() => Err(Error::MergeKey(self.key().to_owned())),
            _ => {
                let mut merged = [old.as_slice(), new.as_slice()].concat();
                let mut seen = HashSet::new();
                merged.retain(|item| seen.insert(item.to_string()));
                arranged(merged, &new, &old, "")
            }
        }
    }

    fn merge_objects(&self, mut old: Vec<Value>, new: Vec<Value>) -> Result<Vec<Value>, Error> {
        let key = self.key();
        if key.is_empty() {
            return Err(Error::NoMergeKey);
        }
        let mut plain = Vec::with_capacity(new.len());
        let (mut doomed, mut replaces) = (Vec::new(), false);
        for item in new {
            match item.get(DIRECTIVE).map(Value::as_str) {
                None => plain.push(item),
                Some(Some("delete")) => doomed.push(item),
                Some(Some("replace")) => replaces = true,
                Some(_) => return Err(Error::Directive(item[DIRECTIVE].to_string())),
            }
        }
        let doomed = Keys::of(&doomed, key)?;
        old.retain(|item| key_of(item, key).is_none_or(|value| doomed.find(value).is_none()));
        if replaces {
            old = std::mem::take(&mut plain);
        }
        let order = old.clone();
        let merged = self.merge_plain(old, &plain)?;
        arranged(merged, &plain, &order, key)
    }

    /// Merges items into those with the same key, and appends the others.
    fn merge_plain(&self, mut old: Vec<Value>, new: &[Value]) -> Result<Vec<Value>, Error> {
        let key = self.key();
        let mut known = Keys::default();
        for (at, item) in old.iter().enumerate() {
            // One without a key is complained about when the items are arranged.
            if let Some(value) = key_of(item, key) {
                known.add(value, at);
            }
        }
        for item in new {
            let value = key_of(item, key).ok_or_else(|| Error::MergeKey(key.to_owned()))?;
            match known.find(value) {
                Some(at) => {
                    let found = fields(std::mem::take(&mut old[at]));
                    old[at] = self.place.merge(found, fields(item.clone()))?.into();
                }
                None => {
                    known.add(value, old.len());
                    old.push(item.clone());
                }
            }
        }
        Ok(old)
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What the items of some lists are, all of them.
pub(super) fn element(lists: [&[Value]; 2]) -> Result<Element, Error> {
    let mut found = None;
    for item in lists.into_iter().flatten() {
        let element = match item {
            Value::Object(_) => Element::Object,
            Value::String(_) => Element::Text,
            Value::Bool(_) => Element::Flag,
            Value::Number(number) if number.is_f64() => Element::Number,
            Value::Number(_) => Element::Integer,
            Value::Array(_) if found.is_none() => return Err(Error::ListOfLists),
            Value::Array(_) | Value::Null => return Err(Error::ElementTypes),
        };
        match found {
            None => found = Some(element),
            Some(other) if other == element => {}
            Some(_) => return Err(Error::ElementTypes),
        }
    }
    found.ok_or(Error::NoElements)
}
