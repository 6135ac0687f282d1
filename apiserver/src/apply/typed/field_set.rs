//! The fields of a value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{List, MapType, Shape, Type};
use crate::apply::field_set::{FieldSet, Node};
use crate::apply::path::PathElement;

/// All leaves and items of a valid value: what its applier owns.
pub(in crate::apply) fn to_field_set(of: Type<'_>, value: &Value) -> FieldSet {
    node_of(of, value).below
}

fn node_of(of: Type<'_>, value: &Value) -> Node {
    match (of.shape(Some(value)), value) {
        (Some(Shape::Scalar(_)), _) => Node::member(),
        (Some(Shape::Map(map)), _) if map.is_atomic => Node::member(),
        (Some(Shape::List(list)), _) if list.is_atomic() => Node::member(),
        (Some(Shape::Map(map)), Value::Object(fields)) => Node {
            is_member: false,
            below: fields_of(&map, fields),
        },
        (Some(Shape::List(list)), Value::Array(items)) => Node {
            is_member: false,
            below: items_of(&list, items),
        },
        _ => Node::default(),
    }
}

fn fields_of(map: &MapType<'_>, fields: &Map<String, Value>) -> FieldSet {
    let mut set = FieldSet::default();
    for (name, value) in fields {
        let Some(of) = map.field(name) else { continue };
        let mut node = node_of(of, value);
        let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        node.is_member |= is_empty || map.declared(name).is_none();
        set.add(PathElement::Field(name.clone()), node);
    }
    set
}

fn items_of(list: &List<'_>, items: &[Value]) -> FieldSet {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for item in items {
        if let Ok(element) = list.element(item)
            && !seen.insert(element.clone())
        {
            twice.insert(element);
        }
    }
    let mut set = FieldSet::default();
    for item in items {
        let Ok(element) = list.element(item) else {
            continue;
        };
        // Items that are there twice are owned together, and nothing in them is.
        let below = if twice.contains(&element) {
            FieldSet::default()
        } else {
            node_of(list.items, item).below
        };
        set.add(
            element,
            Node {
                is_member: true,
                below,
            },
        );
    }
    set
}

/// The set with those of its inner fields that the schema names. For example, `.a.b.c` brings `.a`
/// along if `a` is declared, but not `.a.b` if `a` is a map with free keys.
pub(in crate::apply) fn with_declared_fields(of: Option<Type<'_>>, set: &FieldSet) -> FieldSet {
    let atom = of.map(Type::atom).unwrap_or_default();
    set.map(|element, node| {
        let mut is_member = node.is_member;
        let mut below = None;
        match (element, atom.map, atom.list) {
            (PathElement::Field(name), Some(map), _) => {
                is_member |= !node.below.is_empty() && map.declared(name).is_some();
                below = map.field(name);
            }
            (PathElement::Key(_), _, Some(list)) => below = Some(list.items),
            _ => {}
        }
        Some(Node {
            is_member,
            below: with_declared_fields(below, &node.below),
        })
    })
}
