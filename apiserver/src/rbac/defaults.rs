//! The roles and bindings that every server has.

use super::index::Index;
use super::object::Role;
use super::{GROUP, Rule, cover};
use crate::error::ApiError;
use crate::serve::ApiServer;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What upstream makes at start, as far as it is of use here. See `upstream/README.md`.
const ROLES: &str = include_str!("../upstream/roles.json");

/// Who sets this annotation to `false` keeps an object as it is.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes the roles and bindings that every server has, and gives back to those that are there what
/// was taken from them. What was added to them stays.
///
/// # Errors
/// With what the API server answered when one of them could not be written.
pub async fn reconcile(server: &ApiServer) -> Result<(), ApiError> {
    let wanted: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(ROLES).expect("a test reads it");
    // Roles before the bindings that name them. Of each all at once: a store writes together what
    // comes together.
    for plural in ["clusterroles", "clusterrolebindings"] {
        let objects = wanted.get(plural).into_iter().flatten();
        try_join_all(objects.map(|object| settle(server, plural, object))).await?;
    }
    Ok(())
}

/// The rules of a ClusterRole that every Kubernetes cluster has, as `view` or `cluster-admin`, with those
/// of the roles that it is put together from. A cluster may have added more of those. Parses all of them:
/// not for every request.
#[must_use]
pub fn usual_rules(name: &str) -> Option<Vec<Rule>> {
    let wanted: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(ROLES).expect("a test reads it");
    let mut index = Index::default();
    let mut roles: BTreeMap<String, Role> = BTreeMap::new();
    for object in wanted.get("clusterroles").into_iter().flatten() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let role: Role = serde_json::from_value(object.clone()).unwrap_or_default();
        roles.insert(name.to_owned(), role.clone());
        index.set_role("", name, Some(role));
    }
    // Each time at least one more role has all that it selects.
    for _ in 0..roles.len() {
        for (name, rules) in index.stale() {
            let role = roles.get_mut(&name)?;
            role.rules = rules;
            index.set_role("", &name, Some(role.clone()));
        }
    }
    Some(roles.remove(name)?.rules)
}

async fn settle(server: &ApiServer, plural: &str, wanted: &Value) -> Result<(), ApiError> {
    let collection = format!("/apis/{GROUP}/v1/{plural}");
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    let found = match server.ask(Method::GET, &path, &Value::Null).await {
        Err(error) if error.code() == StatusCode::NOT_FOUND => {
            return server
                .ask(Method::POST, &collection, wanted)
                .await
                .map(drop);
        }
        found => found?,
    };
    let settled = settled(&found, wanted);
    if found == settled {
        return Ok(());
    }
    if found["roleRef"] == wanted["roleRef"] {
        return server.ask(Method::PUT, &path, &settled).await.map(drop);
    }
    // What a binding is for does not change: it becomes another one.
    server.ask(Method::DELETE, &path, &json!({})).await?;
    server
        .ask(Method::POST, &collection, wanted)
        .await
        .map(drop)
}

/// An object with what is wanted of it.
fn settled(found: &Value, wanted: &Value) -> Value {
    let mut settled = found.clone();
    if found["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return settled;
    }
    for field in ["labels", "annotations"] {
        let mut entries = wanted["metadata"][field].clone();
        for (key, value) in found["metadata"][field].as_object().into_iter().flatten() {
            entries[key] = value.clone();
        }
        settled["metadata"][field] = entries;
    }
    if !wanted["aggregationRule"].is_null() {
        // Its rules are those of others.
        settled["aggregationRule"] = wanted["aggregationRule"].clone();
    } else if !wanted["rules"].is_null() {
        add(&mut settled, "rules", missing_rules(found, wanted));
    }
    let subjects = wanted["subjects"].as_array().into_iter().flatten();
    let known = |subject: &Value| {
        let mut subjects = found["subjects"].as_array().into_iter().flatten();
        subjects.any(|known| known == subject)
    };
    let missing = subjects.filter(|subject| !known(subject)).cloned();
    add(&mut settled, "subjects", missing.collect());
    settled
}

fn missing_rules(found: &Value, wanted: &Value) -> Vec<Value> {
    let read = |role: &Value| serde_json::from_value::<Role>(role.clone()).unwrap_or_default();
    match cover::missing(&read(found).rules, &read(wanted).rules) {
        Some(cover::Missing::Rules(missing)) => missing.iter().map(|rule| json!(rule)).collect(),
        Some(cover::Missing::TooMany) | None => Vec::new(),
    }
}

fn add(object: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match object[field].as_array_mut() {
        Some(list) => list.extend(more),
        None => object[field] = more.into(),
    }
}
