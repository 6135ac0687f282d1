//! What tells two values apart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{List, MapType, Shape, Type};
use crate::apply::field_set::{FieldSet, Node};
use crate::apply::path::{PathElement, is_same};

/// The fields in which two values differ. No field is in more than one of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::apply) struct Comparison {
    /// Only in the old value.
    pub(in crate::apply) removed: FieldSet,
    /// In both, but not the same.
    pub(in crate::apply) modified: FieldSet,
    /// Only in the new value.
    pub(in crate::apply) added: FieldSet,
}

impl Comparison {
    /// The comparison without these fields and all that is below them.
    pub(in crate::apply) fn without(&self, fields: &FieldSet) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

/// Compares two valid values of one type.
pub(in crate::apply) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let root = nodes(of, Some(old), Some(new));
    Comparison {
        removed: root.removed.below,
        modified: root.modified.below,
        added: root.added.below,
    }
}

/// A comparison of one value and all that is below it.
#[derive(Default)]
struct Nodes {
    removed: Node,
    modified: Node,
    added: Node,
}

impl Nodes {
    fn add(&mut self, element: &PathElement, below: Self) {
        let Self {
            removed,
            modified,
            added,
        } = below;
        self.removed.below.add(element.clone(), removed);
        self.modified.below.add(element.clone(), modified);
        self.added.below.add(element.clone(), added);
    }
}

fn nodes(of: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Nodes {
    let mut into = Nodes::default();
    let atom = of.atom();
    let (old_atom, new_atom) = (atom.deduce(old), atom.deduce(new));
    let is_leaf = if new.is_none() {
        treat(old_atom.shape(), old, new, &mut into)
    } else if old.is_none() || old_atom.is_like(&new_atom) {
        treat(new_atom.shape(), old, new, &mut into)
    } else {
        // The value has become one of another kind: what it was is gone, what it is has come.
        treat(old_atom.shape(), old, new, &mut into);
        treat(new_atom.shape(), old, new, &mut into)
    };
    if !is_leaf {
        into.added.is_member |= old.is_none();
        into.removed.is_member |= old.is_some() && new.is_none();
    }
    into
}

/// Compares two values as ones of this shape. Returns whether they were compared as a whole.
fn treat<'a>(
    shape: Option<Shape<'_>>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    into: &mut Nodes,
) -> bool {
    match shape {
        Some(Shape::Map(map)) if !map.is_atomic => {
            let fields = |value: Option<&'a Value>| {
                let fields = value.and_then(Value::as_object);
                fields.filter(|fields| !fields.is_empty())
            };
            let (old, new) = (fields(old), fields(new));
            if old.is_some() || new.is_some() {
                compare_fields(&map, old, new, into);
                return false;
            }
        }
        Some(Shape::List(list)) if !list.is_atomic() => {
            let items = |value: Option<&'a Value>| {
                let items = value.and_then(Value::as_array);
                items.map_or(&[] as &[Value], Vec::as_slice)
            };
            let (old, new) = (items(old), items(new));
            if !old.is_empty() || !new.is_empty() {
                compare_items(&list, old, new, into);
                return false;
            }
        }
        _ => {}
    }
    match (old, new) {
        (None, _) => into.added.is_member = true,
        (_, None) => into.removed.is_member = true,
        (Some(old), Some(new)) => into.modified.is_member |= !is_same(old, new),
    }
    true
}

fn compare_fields(
    map: &MapType<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    into: &mut Nodes,
) {
    let names = old.into_iter().chain(new).flat_map(Map::keys);
    for name in names.collect::<BTreeSet<_>>() {
        if let Some(of) = map.field(name) {
            let old = old.and_then(|fields| fields.get(name));
            let new = new.and_then(|fields| fields.get(name));
            into.add(&PathElement::Field(name.clone()), nodes(of, old, new));
        }
    }
}

fn compare_items(list: &List<'_>, old: &[Value], new: &[Value], into: &mut Nodes) {
    let mut pairs: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old {
        if let Ok(element) = list.element(item) {
            pairs.entry(element).or_default().0.push(item);
        }
    }
    for item in new {
        if let Ok(element) = list.element(item) {
            pairs.entry(element).or_default().1.push(item);
        }
    }
    for (element, (old, new)) in pairs {
        let mut below = Nodes::default();
        match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => {
                let (old, new) = (old.first().copied(), new.first().copied());
                below = nodes(list.items, old, new);
            }
            // Items that are there twice are compared as a whole.
            ([_, _, ..], [_, _, ..]) => {
                let is_equal =
                    old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| is_same(a, b));
                below.modified.is_member = !is_equal;
            }
            ([_, _, ..], _) => {
                if let Some(new) = new.first() {
                    below = nodes(list.items, None, Some(new));
                }
                below.removed.is_member = true;
            }
            _ => {
                if let Some(old) = old.first() {
                    below = nodes(list.items, Some(old), None);
                }
                below.added.is_member = true;
            }
        }
        into.add(&element, below);
    }
}
