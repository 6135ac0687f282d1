//! Objects at random: few names and few values, so that writers meet.

use apiserver::schema::{Kind, ListType, Ownership, Schema};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use serde_json::{Map, Value, json};

const NAMES: [&str; 4] = ["a", "b", "c", "x"];

/// Where values come from.
pub struct Random {
    pub rng: StdRng,
    /// Whether sets and map lists have an item twice at times.
    pub has_twice: bool,
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }
}

/// A value of the schema. Seldom it has a fault: something that ownership refuses.
pub fn value(rng: &mut Random, schema: &Schema) -> Value {
    if rng.random_bool(0.02) {
        return Value::Null;
    }
    if rng.random_bool(0.002) {
        return json!({"fault": [1]});
    }
    match &schema.kind {
        Kind::Any => open(rng, 2),
        Kind::IntOrString if rng.random_bool(0.5) => integer(rng),
        Kind::String | Kind::IntOrString => text(rng),
        Kind::Integer => integer(rng),
        Kind::Number if rng.random_bool(0.5) => integer(rng),
        Kind::Number => (*[json!(0.5), json!(1.0), json!(2.5e7)]
            .choose(rng)
            .expect("some"))
        .clone(),
        Kind::Boolean => json!(rng.random_bool(0.5)),
        Kind::Object {
            properties,
            additional,
            ..
        } => {
            let mut fields = Map::new();
            for (name, schema) in properties {
                if rng.random_bool(0.4) {
                    fields.insert(name.clone(), value(rng, schema));
                }
            }
            if let Some(schema) = additional {
                for name in names(rng) {
                    fields.insert(name, value(rng, schema));
                }
            } else if schema.preserve_unknown_fields || properties.is_empty() {
                for name in names(rng) {
                    if !properties.contains_key(&name) {
                        fields.insert(name, open(rng, 2));
                    }
                }
            }
            if schema.embedded_resource {
                fields.insert("apiVersion".to_owned(), json!("v1"));
                fields.insert("kind".to_owned(), json!("Embedded"));
                if rng.random_bool(0.5) {
                    fields.insert("metadata".to_owned(), metadata(rng));
                }
            }
            Value::Object(fields)
        }
        Kind::List { items, list } => list_value(rng, items, list),
    }
}

/// The schema, with some of its objects and lists owned in another way.
pub fn with_other_ownership(rng: &mut Random, schema: &Schema) -> Schema {
    let mut schema = schema.clone();
    match &mut schema.kind {
        Kind::Object {
            properties,
            additional,
            ..
        } => {
            for property in properties.values_mut() {
                *property = with_other_ownership(rng, property);
                if let Kind::Object { ownership, .. } = &mut property.kind
                    && rng.random_bool(0.1)
                {
                    *ownership = match ownership {
                        Ownership::Atomic => Ownership::Granular,
                        Ownership::Granular => Ownership::Atomic,
                    };
                }
            }
            if let Some(additional) = additional {
                **additional = with_other_ownership(rng, additional);
            }
        }
        Kind::List { items, list } => {
            **items = with_other_ownership(rng, items);
            if rng.random_bool(0.2) {
                *list = ListType::Atomic;
            } else if *list == ListType::Atomic
                && items.kind == Kind::String
                && rng.random_bool(0.3)
            {
                *list = ListType::Set;
            }
        }
        _ => {}
    }
    schema
}

/// `metadata` without what names the object.
pub fn metadata(rng: &mut Random) -> Value {
    let mut metadata = Map::new();
    let strings = |rng: &mut Random| {
        let names = names(rng);
        let strings = names.into_iter().map(|name| (name, text(rng)));
        Value::Object(strings.collect())
    };
    if rng.random_bool(0.4) {
        metadata.insert("labels".to_owned(), strings(rng));
    }
    if rng.random_bool(0.3) {
        metadata.insert("annotations".to_owned(), strings(rng));
    }
    if rng.random_bool(0.2) {
        let finalizers = distinct(rng, &NAMES);
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
    if rng.random_bool(0.2) {
        let owner = |uid: &str, name: Value| json!({"apiVersion": "v1", "kind": "K", "name": name, "uid": uid});
        let uids = distinct(rng, &["1", "2"]);
        let owners: Vec<_> = uids.iter().map(|uid| owner(uid, text(rng))).collect();
        metadata.insert("ownerReferences".to_owned(), json!(owners));
    }
    Value::Object(metadata)
}

fn list_value(rng: &mut Random, items: &Schema, list: &ListType) -> Value {
    let mut values: Vec<Value> = Vec::new();
    for _ in 0..rng.random_range(0..4) {
        let mut item = value(rng, items);
        let is_twice = match list {
            ListType::Atomic => false,
            ListType::Set => item.is_null() || values.contains(&item),
            ListType::Map(keys) => {
                let Some(fields) = item.as_object_mut() else {
                    continue;
                };
                let Kind::Object { properties, .. } = &items.kind else {
                    continue;
                };
                for key in keys {
                    let schema = &properties[key];
                    let is_left_out = schema.default.is_some() || keys.len() > 1;
                    if is_left_out && rng.random_bool(0.2) {
                        fields.remove(key);
                    } else if fields.get(key).is_none_or(Value::is_null) {
                        let key_value = match schema.kind {
                            Kind::Integer => integer(rng),
                            _ => text(rng),
                        };
                        fields.insert(key.clone(), key_value);
                    }
                }
                let key_of = |item: &Value| {
                    let of =
                        |key: &String| item.get(key).or(properties[key].default.as_ref()).cloned();
                    keys.iter().map(of).collect::<Vec<_>>()
                };
                values.iter().any(|other| key_of(other) == key_of(&item))
            }
        };
        // Seldom enough are there items twice.
        if !is_twice || (rng.has_twice && rng.random_bool(0.05)) {
            values.push(item);
        }
    }
    Value::Array(values)
}

fn open(rng: &mut Random, depth: usize) -> Value {
    match rng.random_range(0..8) {
        0 | 1 => text(rng),
        2 => integer(rng),
        3 => json!(rng.random_bool(0.5)),
        4 if depth > 0 => {
            let items: Vec<_> = (0..rng.random_range(0..3))
                .map(|_| open(rng, depth - 1))
                .collect();
            json!(items)
        }
        5..8 if depth > 0 => {
            let names = names(rng);
            let fields = names.into_iter().map(|name| (name, open(rng, depth - 1)));
            Value::Object(fields.collect())
        }
        _ => json!(1.5),
    }
}

fn integer(rng: &mut Random) -> Value {
    json!([0, 1, 2, 3, 1_234_567][rng.random_range(0..5)])
}

fn text(rng: &mut Random) -> Value {
    json!(NAMES.choose(rng).expect("some"))
}

fn names(rng: &mut Random) -> Vec<String> {
    distinct(rng, &NAMES)
}

fn distinct(rng: &mut Random, from: &[&str]) -> Vec<String> {
    let count = rng.random_range(0..=from.len().min(3));
    let chosen = from.choose_multiple(rng, count);
    chosen.map(|name| (*name).to_owned()).collect()
}
