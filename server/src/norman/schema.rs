//! Types as this face describes them: what a client may do with them, and what they hold.

use std::collections::BTreeMap;

use apiserver::error::ApiError;
use serde_json::{Map, Value, json};

use super::action::{self, Action};
use super::caller::Caller;
use super::field::{Fields, fields_of};
use super::kinds::{Home, Type};
use super::place::Scope;
use super::query::modifiers;

/// The collection of all types that the caller may use in a scope.
pub(super) fn all(caller: &Caller, scope: &Scope) -> Value {
    let schemas = schemas(caller, scope);
    json!({
        "type": "collection",
        "resourceType": "schema",
        "links": {"self": caller.links.schemas(scope)},
        "createTypes": {},
        "actions": {},
        "pagination": {"limit": schemas.len(), "total": schemas.len(), "partial": false},
        "sort": {"order": "asc", "reverse": caller.links.schemas(scope), "links": {}},
        "filters": {},
        "data": schemas.into_values().collect::<Vec<_>>(),
    })
}

/// One of them, whatever the case of its letters.
///
/// # Errors
/// 404 if there is none.
pub(super) fn one(caller: &Caller, scope: &Scope, id: &str) -> Result<Value, ApiError> {
    let mut all = schemas(caller, scope).into_iter();
    let found = all.find(|(name, _)| name.eq_ignore_ascii_case(id));
    found
        .map(|(_, schema)| schema)
        .ok_or_else(super::nothing_here)
}

/// What there is: links to the collections that the caller may use.
pub(super) fn root(caller: &Caller, scope: &Scope) -> Value {
    let version = caller.links.version(scope);
    let mut links = json!({
        "self": version,
        "root": caller.links.root(),
        "schemas": caller.links.schemas(scope),
    });
    if *scope == Scope::All {
        links["subscribe"] = json!(format!("{version}/subscribe"));
    }
    for of in types(caller, scope) {
        if caller.may_somewhere("list", &of, scope) {
            links[&of.plural] = json!(caller.links.collection(&of, scope));
        }
    }
    json!({
        "id": path_of(scope).trim_start_matches('/'),
        "type": "apiRoot",
        "baseType": "apiRoot",
        "apiVersion": version_of(scope),
        "links": links,
        "actions": {},
    })
}

/// The types of a scope: those of connected clusters are found through a cluster.
fn types(caller: &Caller, scope: &Scope) -> impl Iterator<Item = Type> {
    let all = Type::all(&caller.app.api.registry()).into_iter();
    let inside = *scope != Scope::All;
    all.filter(move |of| (of.home == Home::Inside) == inside)
}

fn schemas(caller: &Caller, scope: &Scope) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    for of in types(caller, scope) {
        let schema = schema_of(caller, scope, &of, &mut schemas);
        if let Some(schema) = schema {
            schemas.insert(of.id, schema);
        }
    }
    for (id, fields) in [
        ("schema", fields_of_schemas()),
        ("error", fields_of_errors()),
    ] {
        schemas.insert(id.to_owned(), embedded(caller, scope, id, &fields));
    }
    schemas
}

/// The schema of a type, if the caller may do anything with it. Adds those of what is in it.
fn schema_of(
    caller: &Caller,
    scope: &Scope,
    of: &Type,
    others: &mut BTreeMap<String, Value>,
) -> Option<Value> {
    let methods = |wanted: &[(&'static str, &str)]| {
        let wanted = wanted.iter();
        let may = wanted.filter(|(_, verb)| caller.may_somewhere(verb, of, scope));
        may.map(|(method, _)| *method).collect::<Vec<_>>()
    };
    let on_collection = methods(&[("GET", "list"), ("POST", "create")]);
    let mut on_object = methods(&[("GET", "get"), ("PUT", "update"), ("DELETE", "delete")]);
    // Who sees some of the objects may get those.
    if on_collection.contains(&"GET") && !on_object.contains(&"GET") {
        on_object.insert(0, "GET");
    }
    if on_collection.is_empty() && on_object.is_empty() {
        return None;
    }
    let described = of.described();
    for (id, fields) in &described.embedded {
        others.insert(id.clone(), embedded(caller, scope, id, fields));
    }
    let of_objects = action::of_objects(&of.id);
    let of_collections = action::of_collections(&of.id);
    for action in of_objects.iter().chain(of_collections) {
        for (id, fields) in [action.input, action.output].into_iter().flatten() {
            let fields = fields();
            if !fields.is_empty() {
                others.insert(id.to_owned(), embedded(caller, scope, id, &fields));
            }
        }
    }
    let filters = described
        .fields
        .iter()
        .filter(|(_, field)| field.is_scalar());
    let filters: Map<_, _> = filters
        .map(|(name, field)| {
            let modifiers: Vec<_> = modifiers(field).collect();
            (name.clone(), json!({"modifiers": modifiers}))
        })
        .collect();
    let mut schema = embedded(caller, scope, &of.id, &described.fields);
    schema["pluralName"] = json!(of.plural);
    schema["resourceMethods"] = json!(on_object);
    schema["collectionMethods"] = json!(on_collection);
    schema["resourceActions"] = actions(of_objects);
    schema["collectionActions"] = actions(of_collections);
    schema["collectionFilters"] = filters.into();
    schema["links"]["collection"] = json!(caller.links.collection(of, scope));
    Some(schema)
}

/// The schema of a type that has no objects of its own.
fn embedded(caller: &Caller, scope: &Scope, id: &str, fields: &Fields) -> Value {
    let fields: Map<_, _> = fields
        .iter()
        .map(|(name, field)| (name.clone(), field.shown()))
        .collect();
    json!({
        "id": id,
        "type": "schema",
        "baseType": "schema",
        "pluralName": format!("{id}s"),
        "version": version_of(scope),
        "resourceMethods": [],
        "collectionMethods": [],
        "resourceFields": fields,
        "resourceActions": {},
        "collectionActions": {},
        "collectionFilters": {},
        "links": {"self": format!("{}/{id}", caller.links.schemas(scope))},
        "actions": {},
    })
}

fn actions(actions: &[Action]) -> Value {
    let mut shown = json!({});
    for action in actions {
        let mut one = json!({});
        for (name, type_) in [("input", action.input), ("output", action.output)] {
            if let Some((id, _)) = type_ {
                one[name] = json!(id);
            }
        }
        fields_of(&mut shown).insert(action.name.to_owned(), one);
    }
    shown
}

fn path_of(scope: &Scope) -> &'static str {
    match scope {
        Scope::All => "/v3",
        Scope::Cluster(_) => "/v3/cluster",
        Scope::Project(..) => "/v3/project",
    }
}

fn version_of(scope: &Scope) -> Value {
    let group = match scope {
        Scope::All => "management.cattle.io",
        Scope::Cluster(_) => "cluster.cattle.io",
        Scope::Project(..) => "project.cattle.io",
    };
    json!({"group": group, "version": "v3", "path": path_of(scope)})
}

/// The fields of schemas themselves.
fn fields_of_schemas() -> Fields {
    super::action::fields(&[
        ("pluralName", "string"),
        ("resourceMethods", "array[string]"),
        ("resourceFields", "map[json]"),
        ("resourceActions", "map[json]"),
        ("collectionMethods", "array[string]"),
        ("collectionActions", "map[json]"),
        ("collectionFilters", "map[json]"),
    ])
}

fn fields_of_errors() -> Fields {
    super::action::fields(&[
        ("status", "int"),
        ("code", "string"),
        ("message", "string"),
        ("fieldName", "string"),
    ])
}
