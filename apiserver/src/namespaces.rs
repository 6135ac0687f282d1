//! Namespaces: what is in them needs them, and goes with them.

use crate::cache::{Filter, Follow, Followed, Item};
use crate::error::{About, ApiError};
use crate::garbage;
use crate::keys;
use crate::object::Object;
use crate::registry::Resource;
use crate::serve::{ApiServer, is_settled};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait before what went wrong is tried again, and before objects that have finalizers
/// are looked at again.
const RETRY: Duration = Duration::from_millis(500);

/// Those without which no server makes sense.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

const ABOUT: About<'_> = About {
    group: "",
    what: "namespaces",
    name: "",
};

/// Whether a resource is that of namespaces.
pub(crate) fn are(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

/// What keeps a namespace until what is in it is gone.
pub(crate) fn is_held(namespace: &Object) -> bool {
    let finalizers = namespace.as_value().pointer("/spec/finalizers");
    let finalizers = finalizers.and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| !finalizers.is_empty())
}

/// Marks a namespace that is being deleted.
pub(crate) fn mark(namespace: &mut Object) {
    let status = namespace
        .fields_mut()
        .entry("status")
        .or_insert(Value::Null);
    if !status.is_object() {
        *status = json!({});
    }
    status["phase"] = "Terminating".into();
}

/// Refuses to delete those without which no server makes sense.
pub(crate) fn check_deletion(name: &str) -> Result<(), ApiError> {
    if IMMORTAL.contains(&name) {
        let about = About { name, ..ABOUT };
        return Err(ApiError::forbidden(
            about,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// Whether something new may come into a namespace.
pub(crate) async fn check_creation(
    server: &ApiServer,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    if server.registry().get("", "namespaces").is_none() {
        return Ok(());
    }
    // The store itself, as somebody may have made it a moment ago.
    let key = keys::resource("", "namespaces") + namespace;
    let found = server.cache().store().get(key.as_bytes()).await?;
    let Some(entry) = found else {
        let about = About {
            name: namespace,
            ..ABOUT
        };
        return Err(ApiError::not_found(about));
    };
    let found = Object::decode(&entry.value, entry.modified.0).map_err(ApiError::internal)?;
    if !found.is_deleting() {
        return Ok(());
    }
    let about = About {
        group: &resource.group,
        what: &resource.plural,
        name,
    };
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let cause = json!({
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    });
    Err(ApiError::forbidden(about, &why).with_causes(json!([cause])))
}

/// Empties namespaces that are being deleted, for ever; to be dropped.
pub async fn follow(server: Arc<ApiServer>) {
    let mut kind = Follow::new(Arc::clone(server.cache()), "", "namespaces");
    loop {
        match kind.next().await {
            Followed::All(snapshot) => {
                let deleting = snapshot.items.iter().filter(|item| is_deleting(item));
                deleting.for_each(|item| begin_to_empty(&server, item));
            }
            Followed::Event(event) => {
                let was_deleting = event.previous.as_ref().is_some_and(is_deleting);
                let deleting = event.current.as_ref().filter(|item| is_deleting(item));
                if let Some(item) = deleting.filter(|_| !was_deleting) {
                    begin_to_empty(&server, item);
                }
            }
        }
    }
}

fn begin_to_empty(server: &Arc<ApiServer>, namespace: &Item) {
    let name = namespace.selectable.name().to_owned();
    tokio::spawn(empty(Arc::clone(server), name));
}

fn is_deleting(item: &Item) -> bool {
    garbage::is_deleting(&item.entry.value)
}

/// Deletes all that is in a namespace, then lets it go.
async fn empty(server: Arc<ApiServer>, name: String) {
    loop {
        match delete_all(&server, &name).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => tracing::warn!(name, %error, "a namespace cannot be emptied"),
        }
        tokio::time::sleep(RETRY).await;
    }
    let path = format!("/api/v1/namespaces/{name}");
    loop {
        let let_go = async {
            let mut namespace = server.ask(Method::GET, &path, &Value::Null).await?;
            namespace["spec"]["finalizers"] = json!([]);
            let finalize = format!("{path}/finalize");
            server.ask(Method::PUT, &finalize, &namespace).await
        };
        if is_settled(&let_go.await) {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Deletes what there is in a namespace. Returns how many objects there were.
async fn delete_all(server: &ApiServer, namespace: &str) -> Result<usize, store::Error> {
    let mut found = 0;
    for resource in server
        .registry()
        .iter()
        .filter(|resource| resource.namespaced)
    {
        let Some(version) = resource.versions.first() else {
            continue;
        };
        let (group, plural) = (&resource.group, &resource.plural);
        let kind = server
            .cache()
            .kind(group, plural, &resource.selectable())
            .await?;
        let filter = Filter {
            namespace: Some(namespace.to_owned()),
            ..Filter::default()
        };
        let items = kind.list(&filter, None, server.cache().revision()).items;
        found += items.len();
        for item in &items {
            let path = resource.path(&version.name, namespace, item.selectable.name());
            // What is left is found again.
            let _ = server.ask(Method::DELETE, &path, &json!({})).await;
        }
    }
    Ok(found)
}
