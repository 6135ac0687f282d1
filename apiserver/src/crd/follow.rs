//! What is defined is served, and what is no longer defined is not.

use super::hooks::Terminating;
use super::{CLEANUP, Definitions, GROUP, PLURAL, resource};
use crate::cache::{Filter, Follow, Followed, Item};
use crate::object::Object;
use crate::registry::Resource;
use crate::serve::{ApiServer, is_settled};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before objects that have finalizers are looked at again.
const RETRY: Duration = Duration::from_millis(500);

/// Serves what is defined, for ever; to be dropped.
pub async fn follow(server: Arc<ApiServer>, definitions: Definitions) {
    let mut kind = Follow::new(Arc::clone(server.cache()), GROUP, PLURAL);
    loop {
        match kind.next().await {
            Followed::All(snapshot) => {
                forget_others(&server, &definitions, &snapshot.items);
                for item in &snapshot.items {
                    take_in(&server, &definitions, item);
                }
                definitions.take_in(snapshot.revision);
            }
            Followed::Event(event) => {
                match (&event.current, &event.previous) {
                    (Some(item), _) => take_in(&server, &definitions, item),
                    (None, Some(gone)) => forget(&server, &definitions, gone.selectable.name()),
                    (None, None) => {}
                }
                definitions.take_in(event.revision);
            }
        }
    }
}

/// Serves what an entry of the store defines.
fn take_in(server: &Arc<ApiServer>, definitions: &Definitions, item: &Item) {
    let name = item.selectable.name();
    let definition = match Object::decode(&item.entry.value, item.entry.modified.0) {
        Ok(definition) => definition,
        Err(error) => {
            tracing::error!(name, %error, "a definition cannot be read");
            return;
        }
    };
    let mut defined = match resource(&definition) {
        Ok(defined) if is_established(&definition) => defined,
        Ok(_) => return forget(server, definitions, name),
        Err(errors) => {
            tracing::error!(name, ?errors, "a definition cannot be served");
            return;
        }
    };
    if definition.is_deleting() {
        defined.hooks = Arc::new(Terminating);
        if definition
            .finalizers()
            .any(|finalizer| finalizer == CLEANUP)
        {
            tokio::spawn(clean_up(Arc::clone(server), definition));
        }
    }
    let known = definitions.served().now();
    let known = known.get(&defined.group, &defined.plural).cloned();
    let fields = defined.selectable();
    if known.is_some_and(|known| known.selectable() != fields) {
        server.cache().forget(&defined.group, &defined.plural);
    }
    definitions
        .served()
        .change(|registry| registry.insert(defined));
}

fn is_established(definition: &Object) -> bool {
    let conditions = definition.as_value().pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions
        .filter(|condition| condition["type"] == "Established")
        .any(|condition| condition["status"] == "True")
}

/// Stops serving what the definition of that name, `PLURAL.GROUP`, defined.
fn forget(server: &ApiServer, definitions: &Definitions, name: &str) {
    let Some((plural, group)) = name.split_once('.') else {
        return;
    };
    definitions
        .served()
        .change(|registry| registry.remove(group, plural));
    server.cache().forget(group, plural);
}

/// Stops serving what is defined by none of these.
fn forget_others(server: &ApiServer, definitions: &Definitions, items: &[Item]) {
    let registry = definitions.served().now();
    for resource in registry.iter().filter(|resource| resource.defined) {
        let name = format!("{}.{}", resource.plural, resource.group);
        if !items.iter().any(|item| item.selectable.name() == name) {
            forget(server, definitions, &name);
        }
    }
}

/// Deletes all objects of a kind whose definition is being deleted, then lets the definition go.
async fn clean_up(server: Arc<ApiServer>, definition: Object) {
    let name = definition.name();
    let Ok(defined) = resource(&definition) else {
        return;
    };
    loop {
        let left = match delete_all(&server, &defined).await {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(name, %error, "objects of a deleted definition cannot be read");
                1
            }
        };
        if left == 0 {
            break;
        }
        tokio::time::sleep(RETRY).await;
    }
    let kept = definition
        .finalizers()
        .filter(|finalizer| *finalizer != CLEANUP);
    let kept: Vec<_> = kept.collect();
    let path = format!("/apis/{GROUP}/v1/{PLURAL}/{name}");
    let patch = json!({"metadata": {"finalizers": kept, "uid": definition.uid()}});
    let let_go = server.ask(Method::PATCH, &path, &patch).await;
    if !is_settled(&let_go)
        && let Err(error) = let_go
    {
        tracing::warn!(name, %error, "a deleted definition cannot be let go");
    }
}

/// Deletes what there is. Returns how many objects there were.
async fn delete_all(server: &ApiServer, defined: &Resource) -> Result<usize, store::Error> {
    let (group, plural) = (&defined.group, &defined.plural);
    let kind = server
        .cache()
        .kind(group, plural, &defined.selectable())
        .await?;
    let found = kind.list(&Filter::default(), None, server.cache().revision());
    let Some(version) = defined.versions.first() else {
        return Ok(0);
    };
    for item in &found.items {
        let (namespace, name) = (item.selectable.namespace(), item.selectable.name());
        let path = defined.path(&version.name, namespace, name);
        // What is left is found again.
        let _ = server.ask(Method::DELETE, &path, &json!({})).await;
    }
    Ok(found.items.len())
}
