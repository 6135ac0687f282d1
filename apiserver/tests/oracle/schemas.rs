//! Kinds that between them have all that ownership knows.

use apiserver::schema::{Kind, ListType, Ownership, Schema};
use serde_json::json;

pub fn all() -> Vec<Schema> {
    vec![workload(), open(), nested()]
}

/// What built-in kinds are made of.
fn workload() -> Schema {
    let env = object(vec![("name", string()), ("value", string())]);
    let container = object(vec![
        ("name", string()),
        ("image", string()),
        ("args", list(string(), ListType::Atomic)),
        ("env", list(env, by(&["name"]))),
        ("limits", map_of(int_or_string())),
        (
            "settings",
            atomic(object(vec![("a", string()), ("b", integer())])),
        ),
    ]);
    let port = object(vec![
        ("port", integer()),
        ("protocol", with_default(string())),
        ("name", string()),
        ("target", int_or_string()),
    ]);
    let spec = object(vec![
        ("replicas", integer()),
        ("paused", of(Kind::Boolean)),
        ("ratio", of(Kind::Number)),
        ("selector", atomic(map_of(string()))),
        ("labels", map_of(string())),
        ("ports", list(port, by(&["port", "protocol"]))),
        ("containers", list(container, by(&["name"]))),
        ("tags", list(string(), ListType::Set)),
        ("numbers", list(integer(), ListType::Set)),
        ("steps", list(string(), ListType::Atomic)),
        ("when", time()),
    ]);
    let condition = object(vec![("type", string()), ("status", string())]);
    let status = object(vec![
        ("phase", string()),
        ("conditions", list(condition, by(&["type"]))),
    ]);
    object(vec![("spec", spec), ("status", status)])
}

/// Fields that the schema does not name, at several depths.
fn open() -> Schema {
    let known = object(vec![
        ("x", string()),
        ("tags", list(string(), ListType::Set)),
    ]);
    let spec = object(vec![
        ("raw", any()),
        ("free", object(vec![])),
        (
            "half",
            preserving(object(vec![("x", integer()), ("y", known)])),
        ),
        ("items", list(any(), ListType::Atomic)),
        ("map", map_of(any())),
        ("closed", object(vec![("x", string())])),
    ]);
    preserving(object(vec![("spec", spec), ("status", any())]))
}

/// Maps and lists in each other, and embedded resources.
fn nested() -> Schema {
    let leaf = object(vec![("x", string()), ("y", integer())]);
    let inner = object(vec![
        ("id", integer()),
        ("set", list(string(), ListType::Set)),
        ("leaf", leaf.clone()),
        ("whole", atomic(leaf.clone())),
    ]);
    let outer = object(vec![
        ("a", string()),
        ("b", string()),
        ("inner", list(inner.clone(), by(&["id"]))),
        ("open", preserving(object(vec![]))),
    ]);
    let embedded = Schema {
        embedded_resource: true,
        ..object(vec![("spec", leaf.clone())])
    };
    let embedded_open = Schema {
        embedded_resource: true,
        ..preserving(object(vec![]))
    };
    let spec = object(vec![
        ("outer", list(outer, by(&["a", "b"]))),
        ("maps", map_of(leaf.clone())),
        ("wholes", map_of(atomic(leaf))),
        ("deep", map_of(map_of(list(inner, by(&["id"]))))),
        ("embedded", embedded),
        ("embeddedOpen", embedded_open),
        ("sets", map_of(list(integer(), ListType::Set))),
    ]);
    object(vec![("spec", spec), ("status", map_of(string()))])
}

fn of(kind: Kind) -> Schema {
    Schema {
        kind,
        ..Schema::default()
    }
}

fn string() -> Schema {
    of(Kind::String)
}

fn integer() -> Schema {
    of(Kind::Integer)
}

fn int_or_string() -> Schema {
    of(Kind::IntOrString)
}

fn time() -> Schema {
    let mut time = string();
    time.checks.format = Some("date-time".to_owned());
    time
}

fn any() -> Schema {
    preserving(of(Kind::Any))
}

fn preserving(schema: Schema) -> Schema {
    Schema {
        preserve_unknown_fields: true,
        ..schema
    }
}

fn with_default(schema: Schema) -> Schema {
    Schema {
        default: Some(json!("a")),
        ..schema
    }
}

fn object(properties: Vec<(&str, Schema)>) -> Schema {
    let properties = properties.into_iter();
    of(Kind::Object {
        properties: properties.map(|(name, s)| (name.to_owned(), s)).collect(),
        additional: None,
        required: vec![],
        ownership: Ownership::Granular,
    })
}

fn map_of(additional: Schema) -> Schema {
    of(Kind::Object {
        properties: Default::default(),
        additional: Some(Box::new(additional)),
        required: vec![],
        ownership: Ownership::Granular,
    })
}

fn atomic(mut schema: Schema) -> Schema {
    if let Kind::Object { ownership, .. } = &mut schema.kind {
        *ownership = Ownership::Atomic;
    }
    schema
}

fn list(items: Schema, list: ListType) -> Schema {
    of(Kind::List {
        items: Box::new(items),
        list,
    })
}

fn by(keys: &[&str]) -> ListType {
    ListType::Map(keys.iter().map(|key| (*key).to_owned()).collect())
}
