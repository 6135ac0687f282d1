//! The order of the items of a merged list.

use super::list::element;
use super::{DIRECTIVE, Error, Field, Place, SET_ELEMENT_ORDER, without_directives};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Where in a list the items with some key are, the first of each.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, usize>);

impl Keys {
    /// Of the items of a list. `key` is empty for scalars, which are keys themselves.
    pub(super) fn of(list: &[Value], key: &str) -> Result<Self, Error> {
        let mut keys = Self::default();
        for (at, item) in list.iter().enumerate() {
            let value = key_of(item, key).ok_or_else(|| Error::MergeKey(key.to_owned()))?;
            if value.is_object() || value.is_array() {
                return Err(Error::MergeKey(key.to_owned()));
            }
            keys.add(value, at);
        }
        Ok(keys)
    }

    pub(super) fn add(&mut self, value: &Value, at: usize) {
        self.0.entry(value.to_string()).or_insert(at);
    }

    pub(super) fn find(&self, value: &Value) -> Option<usize> {
        self.0.get(&value.to_string()).copied()
    }
}

/// What tells an item apart.
pub(super) fn key_of<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    match key {
        "" => Some(item),
        key => item.get(key),
    }
}

/// Items in an order: those that `first` names as it has them, the others as `others` has them, and
/// the ones before the others unless `others` says that it is the other way round.
pub(super) fn arranged(
    items: Vec<Value>,
    first: &[Value],
    others: &[Value],
    key: &str,
) -> Result<Vec<Value>, Error> {
    let first = Keys::of(first, key)?;
    let others = Keys::of(others, key)?;
    let (mut named, mut rest) = (Vec::new(), Vec::new());
    for item in items {
        let value = key_of(&item, key).ok_or_else(|| Error::MergeKey(key.to_owned()))?;
        let before = others.find(value);
        match first.find(value) {
            Some(at) => named.push((at, before, item)),
            None => rest.push((before.unwrap_or(usize::MAX), before, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    rest.sort_by_key(|(at, ..)| *at);
    let mut arranged = Vec::with_capacity(named.len() + rest.len());
    let (mut named, mut rest) = (named.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let takes_rest = match (named.peek(), rest.peek()) {
            (None, None) => return Ok(arranged),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some((_, named, _)), Some((_, rest, _))) => {
                matches!((rest, named), (Some(rest), Some(named)) if rest < named)
            }
        };
        let next = if takes_rest {
            rest.next()
        } else {
            named.next()
        };
        arranged.extend(next.map(|(_, _, item)| item));
    }
}

impl Place<'_> {
    /// Merges and arranges the lists of which `$setElementOrder` says how, and takes them out of the
    /// patch.
    pub(super) fn set_element_orders(
        self,
        object: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let directives: Vec<String> = patch
            .keys()
            .filter(|name| name.starts_with(SET_ELEMENT_ORDER))
            .cloned()
            .collect();
        for directive in directives {
            let Some(Value::Array(order)) = patch.remove(&directive) else {
                return Err(Error::SetElementOrder);
            };
            let name = directive.strip_prefix(SET_ELEMENT_ORDER);
            let name = name.and_then(|rest| rest.strip_prefix('/'));
            let name = name.ok_or(Error::SetElementOrder)?;
            let old = list_in(object, name)?;
            let new = list_in(patch, name)?;
            if let Some(list) = self.list(name)?.in_order(old, new, &order)? {
                object.insert(name.to_owned(), list.into());
                patch.remove(name);
            }
        }
        Ok(())
    }
}

impl Field<'_> {
    fn in_order(
        &self,
        old: Option<Vec<Value>>,
        new: Option<Vec<Value>>,
        order: &[Value],
    ) -> Result<Option<Vec<Value>>, Error> {
        self.check_order(new.as_deref().unwrap_or_default(), order)?;
        let mut before = old.clone().unwrap_or_default();
        let elements = element([&before, new.as_deref().unwrap_or_default()]);
        let merged = match (old, new) {
            (None, None) => return Ok(None),
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => {
                let merged = self.merge(old, new.clone(), false)?;
                before = self.overwritten(before, &new, &merged)?;
                merged
            }
        };
        elements?;
        arranged(merged, order, &before, self.key()).map(Some)
    }

    /// The items before a patch, as upstream finds them after it: where items were deleted, it has
    /// written new ones into the same memory, as far as they fit.
    fn overwritten(
        &self,
        mut before: Vec<Value>,
        new: &[Value],
        merged: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let key = self.key();
        if !self.strategy.merge || key.is_empty() {
            return Ok(before);
        }
        let room = before.len();
        let (known, left) = (Keys::of(&before, key)?, Keys::of(merged, key)?);
        let has = |keys: &Keys, item: &Value| {
            key_of(item, key).is_some_and(|value| keys.find(value).is_some())
        };
        before.retain(|item| has(&left, item));
        let added = new
            .iter()
            .filter(|item| has(&left, item) && !has(&known, item));
        before.extend(added.take(room - before.len()).cloned());
        Ok(before)
    }

    /// The items of a patch are some of those in the order, and in that order.
    fn check_order(&self, items: &[Value], order: &[Value]) -> Result<(), Error> {
        if items.is_empty() || order.is_empty() {
            return Ok(());
        }
        let key = self.key();
        let is_deletion = |item: &Value| !key.is_empty() && item[DIRECTIVE] == "delete";
        let mut items = items.iter().filter(|item| !is_deletion(item)).peekable();
        let mut order = order.iter().peekable();
        while let (Some(item), Some(named)) = (items.peek(), order.peek()) {
            if item.get(DIRECTIVE).is_some() {
                items.next();
                continue;
            }
            if key_of_item(item, key)? == key_of_item(named, key)? {
                items.next();
            }
            order.next();
        }
        match items.peek() {
            None => Ok(()),
            Some(_) => Err(Error::Order),
        }
    }
}

fn key_of_item<'a>(item: &'a Value, key: &str) -> Result<&'a Value, Error> {
    key_of(item, key).ok_or_else(|| Error::MergeKey(key.to_owned()))
}

fn list_in(fields: &Map<String, Value>, name: &str) -> Result<Option<Vec<Value>>, Error> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(_) => Err(Error::Expected("items")),
    }
}
