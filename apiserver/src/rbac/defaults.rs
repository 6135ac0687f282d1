//! The roles and bindings that every server has.

use super::object::Role;
use super::{GROUP, cover};
use crate::serve::ApiServer;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// What upstream makes at start, as far as it is of use here. See `upstream/README.md`.
const ROLES: &str = include_str!("../upstream/roles.json");

/// Who sets this annotation to `false` keeps an object as it is.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes the roles and bindings that every server has, and gives back to those that are there what
/// was taken from them. What was added to them stays.
///
/// # Errors
/// With what the API server answered when one of them could not be written.
pub async fn reconcile(server: &ApiServer) -> Result<(), String> {
    let wanted: Map<String, Value> = serde_json::from_str(ROLES).expect("a test reads it");
    for (plural, objects) in &wanted {
        for object in objects.as_array().into_iter().flatten() {
            settle(server, plural, object).await?;
        }
    }
    Ok(())
}

async fn settle(server: &ApiServer, plural: &str, wanted: &Value) -> Result<(), String> {
    let collection = format!("/apis/{GROUP}/v1/{plural}");
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    let (code, found) = server.ask(Method::GET, &path, &Value::Null).await;
    let (code, answer) = match code {
        StatusCode::NOT_FOUND => server.ask(Method::POST, &collection, wanted).await,
        StatusCode::OK => {
            let settled = settled(&found, wanted);
            if found == settled {
                return Ok(());
            }
            if found["roleRef"] == wanted["roleRef"] {
                server.ask(Method::PUT, &path, &settled).await
            } else {
                // What a binding is for does not change: it becomes another one.
                server.ask(Method::DELETE, &path, &json!({})).await;
                server.ask(Method::POST, &collection, wanted).await
            }
        }
        code => (code, found),
    };
    match code.is_success() {
        true => Ok(()),
        false => Err(format!("{plural} {name:?}: {}", answer["message"])),
    }
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
