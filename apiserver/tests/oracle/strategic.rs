//! Strategic merge patches at random, compared with upstream's.

use std::collections::BTreeMap;

use apiserver::builtin;
use apiserver::schema::{Kind, Schema};
use apiserver::strategic_merge::apply;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::{kubernetes, program};

const SEED: u64 = 20_260_402;
const CASES: u64 = 3_000;

/// The kinds that the server has and, since they have more of what there is to merge, some that it
/// has not.
const KINDS: [(&str, &str, &str); 9] = [
    ("api__v1", "core", "Namespace"),
    ("api__v1", "core", "Pod"),
    ("api__v1", "core", "Secret"),
    ("api__v1", "core", "Service"),
    ("api__v1", "core", "ServiceAccount"),
    ("apis__apps__v1", "apps", "Deployment"),
    (
        "apis__flowcontrol.apiserver.k8s.io__v1",
        "flowcontrol",
        "FlowSchema",
    ),
    (
        "apis__rbac.authorization.k8s.io__v1",
        "rbac",
        "ClusterRoleBinding",
    ),
    (
        "apis__admissionregistration.k8s.io__v1",
        "admissionregistration",
        "ValidatingAdmissionPolicy",
    ),
];

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn strategic_merge_patches_have_the_results_of_upstream() {
    let schemas = schemas();
    let mut cases = Vec::new();
    for number in 0..CASES {
        let mut random = Random {
            rng: StdRng::seed_from_u64(SEED + number),
        };
        let (kind, (schema, meta)) = random.one(&schemas);
        let mut object = random.value(schema, 6);
        object["metadata"] = random.value(meta, 3);
        let mut patch = random.patch(schema, &object, 6);
        if random.rng.random_bool(0.5) {
            patch["metadata"] = random.patch(meta, &object["metadata"], 3);
        }
        cases.push(json!({"patch": {"kind": kind, "object": object, "patch": patch}}));
    }
    let (mut merged, mut refused, mut wrong) = (0, 0, 0);
    for (number, (case, answer)) in cases.iter().zip(program::ask(&cases)).enumerate() {
        let case = &case["patch"];
        let (schema, _) = &schemas[case["kind"].as_str().expect("a name")];
        let ours = apply(case["object"].clone(), case["patch"].clone(), schema);
        let theirs = answer.get("object");
        let equal = match (&ours, theirs, answer.get("error")) {
            (Ok(ours), Some(theirs), None) => ours == theirs,
            (Ok(ours), None, None) => *ours == json!({}),
            (Err(_), None, Some(_)) => true,
            _ => false,
        };
        match &ours {
            Ok(ours) if *ours != case["object"] => merged += 1,
            Ok(_) => {}
            Err(_) => refused += 1,
        }
        if !equal {
            wrong += 1;
            if wrong <= 3 {
                eprintln!("case {number}: {case:#}\nours: {ours:#?}\ntheirs: {answer:#}");
            }
        }
    }
    assert!(wrong == 0, "{wrong} of {CASES} patches have other results");
    assert!(merged >= 500, "only {merged} patches changed anything");
    assert!(refused >= 50, "only {refused} patches were refused");
    eprintln!("{CASES} patches, {merged} changed something, {refused} refused: as upstream");
}

/// The schema of each kind, and that of its metadata.
fn schemas() -> BTreeMap<&'static str, (Schema, Schema)> {
    let kinds = KINDS.into_iter();
    kinds
        .map(|(name, group, kind)| {
            let document = kubernetes::document(name);
            let types = kubernetes::types(&document);
            let read = |name: &str| {
                let schema = builtin::schema(name, &|name| types.get(name));
                schema.unwrap_or_else(|| panic!("no type {name}"))
            };
            let schema = read(&format!("io.k8s.api.{group}.v1.{kind}"));
            let meta = read("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
            (kind, (schema, meta))
        })
        .collect()
}

struct Random {
    rng: StdRng,
}

impl Random {
    fn one<'a, V>(&mut self, map: &'a BTreeMap<&'static str, V>) -> (&'static str, &'a V) {
        let at = self.rng.random_range(0..map.len());
        let (name, value) = map.iter().nth(at).expect("below the length");
        (name, value)
    }

    fn name(&mut self) -> Value {
        json!(NAMES.choose(&mut self.rng).expect("some"))
    }

    fn value(&mut self, schema: &Schema, depth: usize) -> Value {
        match &schema.kind {
            Kind::String => self.name(),
            Kind::Integer => json!(self.rng.random_range(0..4)),
            Kind::Number => json!(1.5),
            Kind::Boolean => json!(self.rng.random_bool(0.5)),
            Kind::IntOrString if self.rng.random_bool(0.5) => json!(80),
            Kind::IntOrString | Kind::Any => self.name(),
            Kind::List { items, .. } => {
                let count = self.rng.random_range(0..4);
                let key = schema.patch.merge_key.as_deref();
                let list = (0..count).map(|_| self.item(items, key, depth));
                let mut list: Vec<_> = list.collect();
                if self.rng.random_bool(0.9) {
                    unique(&mut list, key);
                }
                list.into()
            }
            Kind::Object { additional, .. } => {
                let mut fields = Map::new();
                for name in self.fields(schema, depth) {
                    let below = schema.field(&name).expect("one of its fields");
                    fields.insert(name, self.value(below, depth - 1));
                }
                if let Some(additional) = additional {
                    for _ in 0..self.rng.random_range(0..3) {
                        let name = self.name().as_str().unwrap_or_default().to_owned();
                        fields.insert(name, self.value(additional, depth.saturating_sub(1)));
                    }
                }
                fields.into()
            }
        }
    }

    /// Some fields of an object: rather those with something to merge.
    fn fields(&mut self, schema: &Schema, depth: usize) -> Vec<String> {
        let Kind::Object { properties, .. } = &schema.kind else {
            return Vec::new();
        };
        let mut chosen = Vec::new();
        for (name, field) in properties {
            let likely = match field.kind {
                _ if depth == 0 => 0.0,
                _ if merges(field, 3) => 0.5,
                _ => 2.0 / properties.len() as f64,
            };
            if name != "metadata" && self.rng.random_bool(f64::min(likely, 0.6)) {
                chosen.push(name.clone());
            }
        }
        chosen
    }

    fn item(&mut self, items: &Schema, key: Option<&str>, depth: usize) -> Value {
        let mut item = self.value(items, depth.saturating_sub(1));
        if let (Some(key), true) = (key, item.is_object()) {
            let below = items.field(key);
            item[key] = below.map_or(Value::Null, |below| self.value(below, 1));
        }
        item
    }

    /// A patch of an object, or of a part of one.
    fn patch(&mut self, schema: &Schema, object: &Value, depth: usize) -> Value {
        let mut patch = Map::new();
        let mut names: Vec<String> = object
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .filter(|name| name != "metadata")
            .collect();
        names.retain(|_| self.rng.random_bool(0.6));
        if self.rng.random_bool(0.5) {
            names.extend(self.fields(schema, depth));
            names.sort_unstable();
            names.dedup();
        }
        for name in names {
            let Some(field) = schema.field(&name) else {
                continue;
            };
            let old = &object[&name];
            if self.rng.random_bool(0.12) {
                patch.insert(name, Value::Null);
                continue;
            }
            match (&field.kind, old) {
                (Kind::Object { .. }, Value::Object(_)) => {
                    patch.insert(name, self.patch(field, old, depth.saturating_sub(1)));
                }
                (Kind::List { items, .. }, _) if field.patch.merge => {
                    self.patch_list(&mut patch, &name, field, items, old, depth);
                }
                _ => {
                    patch.insert(name, self.value(field, depth.saturating_sub(1)));
                }
            }
        }
        self.direct(&mut patch, schema, object);
        patch.into()
    }

    /// Adds directives for the whole object.
    fn direct(&mut self, patch: &mut Map<String, Value>, schema: &Schema, object: &Value) {
        let likely = if schema.patch.retain_keys { 0.4 } else { 0.03 };
        if self.rng.random_bool(likely) {
            let mut keys: Vec<String> = patch
                .keys()
                .filter(|name| !name.starts_with('$'))
                .cloned()
                .collect();
            let old = object.as_object().into_iter().flatten();
            keys.extend(
                old.map(|(name, _)| name.clone())
                    .filter(|_| self.rng.random_bool(0.3)),
            );
            if self.rng.random_bool(0.1) {
                keys.pop();
            }
            let keys = match self.rng.random_bool(0.03) {
                true => json!("a"),
                false => json!(keys),
            };
            patch.insert("$retainKeys".into(), keys);
        }
        if self.rng.random_bool(0.02) {
            let kinds = ["replace", "delete", "merge", "nothing"];
            let kind = kinds.choose(&mut self.rng).expect("some");
            patch.insert("$patch".into(), json!(kind));
        }
    }

    fn patch_list(
        &mut self,
        patch: &mut Map<String, Value>,
        name: &str,
        field: &Schema,
        items: &Schema,
        old: &Value,
        depth: usize,
    ) {
        let key = field.patch.merge_key.as_deref();
        let old = old.as_array().cloned().unwrap_or_default();
        let mut list = Vec::new();
        for item in &old {
            match (self.rng.random_range(0..4), key) {
                (0, Some(key)) if item.is_object() => {
                    let mut change = self.patch(items, item, depth.saturating_sub(1));
                    change[key] = item[key].clone();
                    list.push(change);
                }
                (1, Some(key)) if item.is_object() => {
                    list.push(json!({"$patch": "delete", key: item[key]}));
                }
                (2, None) => list.push(item.clone()),
                _ => {}
            }
        }
        for _ in 0..self.rng.random_range(0..3) {
            list.push(self.item(items, key, depth));
        }
        if self.rng.random_bool(0.9) {
            unique(&mut list, key);
        }
        if self.rng.random_bool(0.04) && key.is_some() {
            let odd = [
                json!({"$patch": "replace"}),
                json!({"$patch": "merge"}),
                json!({"$patch": "delete"}),
                json!({}),
                json!("text"),
                json!([]),
            ];
            list.push(odd.choose(&mut self.rng).expect("some").clone());
        }
        list.shuffle(&mut self.rng);
        let ordered = self.rng.random_bool(0.5);
        if ordered {
            let order = self.order(&list, &old, key);
            patch.insert(format!("$setElementOrder/{name}"), order);
        }
        let deletes = key.is_none() && self.rng.random_bool(0.4);
        if deletes {
            let mut doomed = old;
            doomed.retain(|_| self.rng.random_bool(0.5));
            patch.insert(format!("$deleteFromPrimitiveList/{name}"), doomed.into());
        }
        // Upstream takes the two in any order, unless an order is given.
        if !deletes || ordered {
            patch.insert(name.to_owned(), list.into());
        }
    }

    /// What `$setElementOrder` says: mostly that which fits.
    fn order(&mut self, list: &[Value], old: &[Value], key: Option<&str>) -> Value {
        if self.rng.random_bool(0.02) {
            return json!("a");
        }
        let short = |item: &Value| match key {
            Some(key) => json!({key: item.get(key).cloned().unwrap_or_default()}),
            None => item.clone(),
        };
        let plain = list.iter().filter(|item| item.get("$patch").is_none());
        let mut order: Vec<_> = plain.map(short).collect();
        for item in old {
            let item = short(item);
            if !order.contains(&item) && self.rng.random_bool(0.6) {
                let at = self.rng.random_range(0..=order.len());
                order.insert(at, item);
            }
        }
        if self.rng.random_bool(0.05) {
            order.shuffle(&mut self.rng);
        }
        order.into()
    }
}

/// Whether something is merged below a field.
fn merges(schema: &Schema, depth: usize) -> bool {
    let patch = &schema.patch;
    if patch.merge || patch.retain_keys {
        return true;
    }
    match &schema.kind {
        Kind::Object { properties, .. } if depth > 0 => {
            properties.values().any(|field| merges(field, depth - 1))
        }
        _ => false,
    }
}

/// Leaves out items that are there twice.
fn unique(list: &mut Vec<Value>, key: Option<&str>) {
    let mut seen: Vec<Value> = Vec::new();
    list.retain(|item| {
        let value = match key {
            Some(key) => item.get(key).cloned().unwrap_or_default(),
            None => item.clone(),
        };
        let is_new = !seen.contains(&value);
        seen.push(value);
        is_new
    });
}
