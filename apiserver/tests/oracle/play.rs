//! Sequences of writes at random, and what they come to here.

use std::collections::BTreeMap;

use apiserver::apply::{Error, FieldSet, Path, Writer, apply, try_update};
use apiserver::schema::Schema;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::openapi::openapi;
use crate::values::Random;
use crate::{schemas, values};

/// The version that most write in, and another that differs in nothing.
const API_VERSION: &str = "example.com/v1";
const OTHER_VERSION: &str = "example.com/v2";
const KIND: &str = "Thing";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Someone who writes to one object, in several names.
pub struct Player {
    rng: Random,
    schema: Schema,
    /// The schema from some write on.
    later: Schema,
    managers: Vec<String>,
    /// Some write in another version. Then nothing is there twice, since upstream converts no object
    /// in which something is.
    has_versions: bool,
    /// Status has an endpoint of its own.
    has_status: bool,
    live: Option<Value>,
    /// What each manager applied last.
    applied: BTreeMap<String, Value>,
}

impl Player {
    pub fn new(seed: u64) -> Self {
        let mut rng = Random {
            rng: StdRng::seed_from_u64(seed),
            has_twice: true,
        };
        let has_versions = rng.random_bool(0.3);
        rng.has_twice = !has_versions;
        let mut schemas = schemas::all();
        let schema = schemas.swap_remove(rng.random_range(0..schemas.len()));
        let managers = if rng.random_bool(0.1) {
            // So many that the oldest are put together.
            (0..14).map(|number| format!("m{number}")).collect()
        } else {
            ["a", "b", "kubectl", ""].map(str::to_owned).to_vec()
        };
        let later = values::with_other_ownership(&mut rng, &schema);
        let later = if has_versions { schema.clone() } else { later };
        Self {
            has_versions,
            later,
            has_status: rng.random_bool(0.5),
            rng,
            schema,
            managers,
            live: None,
            applied: BTreeMap::new(),
        }
    }

    /// The sequence as a case for the oracle, and the results here.
    pub fn play(mut self) -> (Value, Vec<Value>) {
        let count = if self.managers.len() > 10 { 24 } else { 8 };
        let change = self.rng.random_range(0..2 * count);
        let schemas = [openapi(&self.schema), openapi(&self.later)];
        let (mut writes, mut results) = (Vec::new(), Vec::new());
        for number in 0..count {
            if number == change {
                self.schema = self.later.clone();
            }
            let mut write = self.write();
            write["schema"] = json!(usize::from(number >= change));
            write["now"] = json!(time(number).to_string());
            let result = self.perform(&write, time(number));
            if let Ok(object) = &result {
                if write["verb"] == "apply" {
                    let manager = text(&write["manager"]).to_owned();
                    self.applied.insert(manager, write["body"].clone());
                }
                self.live = Some(object.clone());
            }
            results.push(result.unwrap_or_else(|error| failed(&error)));
            writes.push(write);
        }
        let sequence = json!({
            "apiVersions": [API_VERSION, OTHER_VERSION],
            "kind": KIND,
            "schemas": schemas,
            "writes": writes,
        });
        (json!({"sequence": sequence}), results)
    }

    fn perform(&self, write: &Value, now: Timestamp) -> Result<Value, Error> {
        let reset = write["reset"].as_array().into_iter().flatten();
        let reset: FieldSet = reset.map(|name| Path::of_fields(&[text(name)])).collect();
        let api_version = text(&write["apiVersion"]);
        let by = Writer {
            manager: text(&write["manager"]),
            schema: &self.schema,
            api_version,
            kind: KIND,
            subresource: text(&write["subresource"]),
            reset: &reset,
            now,
        };
        let mut body = write["body"].clone();
        let fields = self
            .live
            .as_ref()
            .map(|live| &live["metadata"]["managedFields"]);
        if let Some(fields) = fields.filter(|fields| !fields.is_null() && write["carry"] == true) {
            body["metadata"]["managedFields"] = fields.clone();
        }
        let mut live = self.live.clone();
        if let Some(live) = &mut live {
            live["apiVersion"] = json!(api_version);
        }
        let live = live.as_ref();
        let mut object = if write["verb"] == "apply" {
            apply(live, &body, &by, write["force"] == true)?
        } else {
            try_update(live, body, &by)?
        };
        object["metadata"]["uid"] = json!("u");
        object["apiVersion"] = json!(api_version);
        Ok(object)
    }

    fn write(&mut self) -> Value {
        let manager = self.managers.choose(&mut self.rng).expect("some").clone();
        let is_many = self.managers.len() > 10;
        let verb = if self.rng.random_bool(if is_many { 0.1 } else { 0.5 }) {
            "apply"
        } else {
            "update"
        };
        let is_status = self.has_status && self.rng.random_bool(0.3);
        let reset = match (self.has_status, is_status) {
            (false, _) => json!([]),
            (true, false) => json!(["status"]),
            (true, true) => json!(["spec"]),
        };
        let mut body = match verb {
            "apply" => self.configuration(&manager),
            _ => self.replacement(),
        };
        let carry = verb == "update" && self.rng.random_bool(0.7);
        if self.rng.random_bool(0.05) {
            body["metadata"]["managedFields"] = self.managed_fields();
        }
        if verb == "apply" && self.rng.random_bool(0.01) {
            body["kind"] = json!("Other");
        }
        let is_other = self.has_versions && self.rng.random_bool(0.4);
        let api_version = if is_other { OTHER_VERSION } else { API_VERSION };
        body["apiVersion"] = json!(api_version);
        json!({
            "verb": verb,
            "apiVersion": api_version,
            "manager": manager,
            "subresource": if is_status { "status" } else { "" },
            "force": self.rng.random_bool(0.3),
            "body": body,
            "carry": carry,
            "reset": reset,
        })
    }

    /// What a manager applies: at times what it did before, more or less.
    fn configuration(&mut self, manager: &str) -> Value {
        match self.applied.get(manager).cloned() {
            Some(mut before) if self.rng.random_bool(0.6) => {
                self.change(&mut before);
                before
            }
            _ => self.object(),
        }
    }

    /// What takes the place of the object: at times the same, with changes.
    fn replacement(&mut self) -> Value {
        let mut object = match self.live.clone() {
            Some(mut live) if self.rng.random_bool(0.7) => {
                if let Some(metadata) = live["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                self.change(&mut live);
                live
            }
            _ => self.object(),
        };
        if self.rng.random_bool(0.2) {
            let mut last = self.object();
            if self.rng.random_bool(0.5) {
                // As kubectl's own way of applying leaves it.
                last = object.clone();
            }
            object["metadata"]["annotations"][LAST_APPLIED] = json!(last.to_string());
        }
        object
    }

    fn object(&mut self) -> Value {
        let mut object = values::value(&mut self.rng, &self.schema);
        if !object.is_object() {
            object = json!({});
        }
        object["apiVersion"] = json!(API_VERSION);
        object["kind"] = json!(KIND);
        let mut metadata = values::metadata(&mut self.rng);
        metadata["name"] = json!("thing");
        metadata["namespace"] = json!("default");
        object["metadata"] = metadata;
        object
    }

    /// Drops fields here and there, and brings in others.
    fn change(&mut self, object: &mut Value) {
        let mut other = self.object();
        for name in ["spec", "status", "metadata"] {
            if !self.rng.random_bool(0.6) {
                continue;
            }
            if let Some(new) = other.get_mut(name).map(Value::take) {
                mix(&mut self.rng, &mut object[name], new);
            }
        }
    }

    fn managed_fields(&mut self) -> Value {
        let version = if self.has_versions {
            OTHER_VERSION
        } else {
            API_VERSION
        };
        let entry = |fields_type: &str, operation: &str| {
            json!({
                "manager": "stated",
                "operation": operation,
                "apiVersion": API_VERSION,
                "time": "2019-01-01T00:00:00Z",
                "fieldsType": fields_type,
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:labels": {"f:a": {}}, "f:selector": {"f:a": {}}}},
            })
        };
        let stated = [
            json!([]),
            json!([{}]),
            json!(null),
            json!("text"),
            json!([1]),
            json!([{"manager": 1}]),
            json!([entry("FieldsV1", "Update")]),
            json!([entry("FieldsV1", "Apply")]),
            json!([entry("FieldsV1", "Other")]),
            json!([entry("", "Apply")]),
            json!([entry("FieldsV2", "Apply")]),
            json!([{"operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1"}]),
            json!([{"operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": {"x": {}}}]),
            json!([{"operation": "Apply", "apiVersion": version, "fieldsType": "FieldsV1", "time": "yesterday"}]),
        ];
        stated.choose(&mut self.rng).expect("some").clone()
    }
}

/// Takes some fields of another value.
fn mix(rng: &mut Random, value: &mut Value, other: Value) {
    match (value, other) {
        (Value::Object(fields), Value::Object(others)) => {
            let names: Vec<_> = fields.keys().cloned().collect();
            for name in names {
                let is_own = ["name", "namespace", "uid"].contains(&name.as_str());
                if !is_own && rng.random_bool(0.15) {
                    fields.remove(&name);
                }
            }
            for (name, other) in others {
                if rng.random_bool(0.3) {
                    mix(rng, fields.entry(name).or_insert(Value::Null), other);
                }
            }
        }
        (value, other) => *value = other,
    }
}

fn failed(error: &Error) -> Value {
    let mut result = Map::new();
    result.insert("error".to_owned(), json!(error.to_string()));
    let code = match error {
        Error::ObjectType(_) | Error::ManagedFields => 400,
        Error::Conflicts(_) => 409,
        Error::Typed { .. } | Error::LiveManagers(_) => 500,
    };
    result.insert("code".to_owned(), json!(code));
    if let Error::Conflicts(conflicts) = error {
        let cause = |c: &apiserver::apply::Conflict| json!({"message": c.message(), "field": c.path.to_string()});
        let causes: Vec<_> = conflicts.0.iter().map(cause).collect();
        result.insert("causes".to_owned(), json!(causes));
    }
    Value::Object(result)
}

/// Whether a result here is another than upstream's.
pub fn differs(ours: &Value, theirs: &Value) -> bool {
    if ours.get("error").is_none() {
        return !is_same(ours, &theirs["object"]);
    }
    if ours["code"] != theirs["code"] || sorted(&ours["causes"]) != sorted(&theirs["causes"]) {
        return true;
    }
    // Of several faults upstream names some, in no order.
    let (ours, theirs) = (text(&ours["error"]), text(&theirs["error"]));
    let is_several = |message: &str| message.contains("errors:\n");
    let is_open = is_several(ours) || is_several(theirs) || ours.contains("failed to convert");
    !is_open && ours != theirs
}

fn sorted(causes: &Value) -> Vec<String> {
    let causes = causes.as_array().into_iter().flatten();
    let mut causes: Vec<_> = causes.map(Value::to_string).collect();
    causes.sort();
    causes
}

/// `1` is `1.0`: Go writes them alike.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let has = |(name, a)| b.get(name).is_some_and(|b| is_same(a, b));
            a.len() == b.len() && a.iter().all(has)
        }
        _ => a == b,
    }
}

/// After the year of all times that clients state, and each write later than the one before.
fn time(number: i64) -> Timestamp {
    let start: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    start + SignedDuration::from_mins(number)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
