//! Sets that were made under another schema.

use super::{Shape, Type};
use crate::apply::field_set::{FieldSet, Node};
use crate::apply::path::PathElement;

/// The set under this type. Who owns something within a value that has become atomic owns all of
/// it. What has become granular is left as it is: its owner still owns what is not owned by others.
pub(in crate::apply) fn reconcile(of: Type<'_>, set: &FieldSet) -> FieldSet {
    // The object itself has no owner.
    below(of, set).unwrap_or_else(|| set.clone())
}

fn node(of: Type<'_>, node: &Node) -> Node {
    if node.below.is_empty() {
        return node.clone();
    }
    match below(of, &node.below) {
        Some(below) => Node {
            is_member: node.is_member,
            below,
        },
        None => Node::member(),
    }
}

/// `None` if nothing below this type has an owner of its own.
fn below(of: Type<'_>, set: &FieldSet) -> Option<FieldSet> {
    let each = |of: &dyn Fn(&PathElement) -> Option<_>| {
        set.map(|element, below| {
            Some(of(element).map_or_else(|| below.clone(), |of| node(of, below)))
        })
    };
    match of.atom().shape() {
        None | Some(Shape::Scalar(_)) => Some(set.clone()),
        Some(Shape::Map(map)) if map.is_deduced() => Some(set.clone()),
        Some(Shape::Map(map)) if map.is_atomic => None,
        Some(Shape::Map(map)) => Some(each(&|element| match element {
            PathElement::Field(name) => map.field(name),
            _ => map.others,
        })),
        Some(Shape::List(list)) if list.is_atomic() => None,
        Some(Shape::List(list)) => Some(each(&|_| Some(list.items))),
    }
}
