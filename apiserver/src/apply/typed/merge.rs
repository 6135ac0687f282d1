//! An applied configuration in a live value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{List, MapType, Shape, Type};
use crate::apply::path::PathElement;

/// The live value with all that the configuration says; nothing is removed. Both are valid, and the
/// configuration has no item twice.
///
/// Items that only the live list has keep their place before the next item of both. The items of
/// the configuration are in its order.
pub(in crate::apply) fn merge(of: Type<'_>, live: &Value, config: &Value) -> Value {
    // An object without fields is none in the result of a merge, and its root is never without.
    merged(of, Some(live), Some(config)).unwrap_or(Value::Null)
}

fn merged(of: Type<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    // What there is no configuration for keeps its shape, all else takes that of the configuration.
    let shape = of.shape(config.or(live));
    match shape {
        Some(Shape::Map(map)) if !map.is_atomic => {
            let (live, config) = (fields(live), fields(config));
            if live.is_some() || config.is_some() {
                return merged_fields(&map, live, config);
            }
        }
        Some(Shape::List(list)) if !list.is_atomic() => {
            let (live, config) = (items(live), items(config));
            if !live.is_empty() || !config.is_empty() {
                return merged_items(&list, live, config);
            }
        }
        _ => {}
    }
    config.or(live).cloned()
}

fn fields(value: Option<&Value>) -> Option<&Map<String, Value>> {
    let fields = value.and_then(Value::as_object);
    fields.filter(|fields| !fields.is_empty())
}

fn items(value: Option<&Value>) -> &[Value] {
    let items = value.and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

fn merged_fields(
    map: &MapType<'_>,
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
) -> Option<Value> {
    let names = live.into_iter().chain(config).flat_map(Map::keys);
    let mut fields = Map::new();
    for name in names.collect::<BTreeSet<_>>() {
        let live = live.and_then(|fields| fields.get(name));
        let config = config.and_then(|fields| fields.get(name));
        if let Some(value) = map.field(name).and_then(|of| merged(of, live, config)) {
            fields.insert(name.clone(), value);
        }
    }
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// The items of a list, each with what tells it from the others.
struct Items<'a> {
    list: Vec<(PathElement, &'a Value)>,
    by_element: BTreeMap<PathElement, &'a Value>,
}

impl<'a> Items<'a> {
    fn of(list: &List<'_>, items: &'a [Value]) -> Self {
        let items: Vec<_> = items
            .iter()
            .filter_map(|item| Some((list.element(item).ok()?, item)))
            .collect();
        let mut by_element = BTreeMap::new();
        for (element, item) in &items {
            by_element
                .entry(element.clone())
                // What is there twice is not merged with what is applied, but replaced by it.
                .and_modify(|item| *item = &Value::Null)
                .or_insert(*item);
        }
        Self {
            list: items,
            by_element,
        }
    }

    fn has(&self, element: &PathElement) -> bool {
        self.by_element.contains_key(element)
    }

    fn get(&self, element: &PathElement) -> Option<&'a Value> {
        self.by_element.get(element).copied()
    }
}

fn merged_items(list: &List<'_>, live: &[Value], config: &[Value]) -> Option<Value> {
    let (live, config) = (Items::of(list, live), Items::of(list, config));
    let mut shared = config
        .list
        .iter()
        .map(|(element, _)| element)
        .filter(|element| live.has(element));
    let mut next_shared = shared.next();
    let mut done = BTreeSet::new();
    let mut result = Vec::new();
    let (mut at_live, mut at_config) = (0, 0);
    loop {
        let (next_live, next_config) = (live.list.get(at_live), config.list.get(at_config));
        if let Some((element, item)) = next_live {
            if let Some((wanted, _)) = next_config
                && element != wanted
                && config.has(element)
                && next_shared.is_some_and(|shared| shared != element)
            {
                // Its turn comes where the configuration has it.
                at_live += 1;
                continue;
            }
            if !config.has(element) {
                result.extend(merged(list.items, Some(item), None));
                at_live += 1;
                continue;
            }
            let is_turn = next_config.is_some_and(|(wanted, _)| wanted == element);
            if is_turn || done.contains(element) {
                at_live += 1;
            }
        }
        let Some((element, item)) = next_config else {
            if next_live.is_none() {
                break;
            }
            continue;
        };
        done.insert(element.clone());
        result.extend(merged(list.items, live.get(element), Some(item)));
        at_config += 1;
        if next_shared == Some(element) {
            next_shared = shared.next();
        }
    }
    (!result.is_empty()).then_some(Value::Array(result))
}
