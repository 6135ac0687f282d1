//! Single objects: read, made, changed and deleted.

use apiserver::error::ApiError;
use http::Method;
use lariat_api::{ClusterId, ProjectId};
use serde_json::{Map, Value, json};

use super::collection::is_in;
use super::kinds::Home;
use super::place::Scope;
use super::resource::View;
use super::{answer, incoming, nothing_here};

/// How often a change is tried when somebody else is faster.
pub(super) const ATTEMPTS: usize = 5;

/// An object.
///
/// # Errors
/// What the API refuses.
pub(super) async fn get(view: &View<'_>, id: &str) -> Result<Value, ApiError> {
    let (object, _) = find(view, id).await?;
    Ok(view.resource(&object))
}

/// Makes an object.
///
/// # Errors
/// What the API refuses; 422 for a missing field.
pub(super) async fn create(
    view: &View<'_>,
    mut sent: Map<String, Value>,
) -> Result<Value, ApiError> {
    let namespace = namespace(view, &mut sent)?;
    let object = incoming::new_object(view, &namespace, &sent)?;
    let path = view.of.path(&namespace, "");
    let made = ask(view, Method::POST, &path, Some(&object)).await?;
    Ok(view.resource(&made))
}

/// Changes the fields that are sent; with `replace`, takes out those that are not.
///
/// # Errors
/// What the API refuses.
pub(super) async fn update(
    view: &View<'_>,
    id: &str,
    sent: &Map<String, Value>,
    replace: bool,
) -> Result<Value, ApiError> {
    let mut attempts = 0;
    loop {
        let (object, path) = find(view, id).await?;
        let wanted = incoming::changed(view, object, sent, replace);
        let written = ask(view, Method::PUT, &path, Some(&wanted)).await;
        attempts += 1;
        match written {
            // The object that was read is no longer the one that is there.
            Err(error) if error.reason() == "Conflict" && attempts < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(written) => return Ok(view.resource(&written)),
        }
    }
}

/// Deletes an object, and returns it as it was.
///
/// # Errors
/// What the API refuses.
pub(super) async fn delete(view: &View<'_>, id: &str) -> Result<Value, ApiError> {
    let (object, path) = find(view, id).await?;
    ask(view, Method::DELETE, &path, None).await?;
    Ok(view.resource(&object))
}

/// An object as the API has it, and its path there.
pub(super) async fn find(view: &View<'_>, id: &str) -> Result<(Value, String), ApiError> {
    let (namespace, name) = view.place_of(id);
    let in_namespace = matches!(view.of.home, Home::Cluster | Home::Project | Home::Own);
    if name.is_empty() || name.contains(':') || (in_namespace && namespace.is_empty()) {
        return Err(nothing_here());
    }
    let path = view.of.path(&namespace, &name);
    let object = ask(view, Method::GET, &path, None).await?;
    if !is_in(view, &view.values(&object)) {
        return Err(nothing_here());
    }
    Ok((object, path))
}

pub(super) async fn ask(
    view: &View<'_>,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ApiError> {
    let cluster = view.scope.cluster();
    view.caller
        .ask_of(view.of, cluster, method, path, body)
        .await
}

/// The namespace of a new object. What the path says need not be said again.
fn namespace(view: &View<'_>, sent: &mut Map<String, Value>) -> Result<String, ApiError> {
    let (field, scoped) = match (view.of.home, view.scope) {
        (Home::Server | Home::InsideOf, _) => return Ok(String::new()),
        (Home::Own, _) => return Ok(view.caller.who.user.to_string()),
        (Home::Cluster, scope) => ("clusterId", scope.cluster().map(ClusterId::to_string)),
        (Home::Inside, Scope::Project(..)) | (Home::Project, Scope::Project(..)) => {
            ("projectId", Some(view.scope.to_string()))
        }
        (Home::Inside, _) => return Ok(String::new()),
        (Home::Project, _) => ("projectId", None),
    };
    if let Some(scoped) = scoped {
        let said = sent.entry(field).or_insert_with(|| json!(scoped));
        if *said != json!(scoped) {
            let message = format!("{field} must be {scoped:?}, as the path says");
            return Err(answer::refused("InvalidReference", field, &message));
        }
    }
    if view.of.home == Home::Inside {
        return Ok(String::new());
    }
    let said = sent.get(field).and_then(Value::as_str).unwrap_or_default();
    if said.is_empty() {
        let message = format!("{field} is required");
        return Err(answer::refused("MissingRequired", field, &message));
    }
    let namespace = match view.of.home {
        Home::Cluster => said.parse().ok().map(|id: ClusterId| id.to_string()),
        _ => match Scope::project_of(said) {
            Ok(Scope::Project(_, project)) => Some(ProjectId::to_string(&project)),
            _ => None,
        },
    };
    namespace.ok_or_else(|| {
        let message = format!("{field} names no {}", field.trim_end_matches("Id"));
        answer::refused("InvalidReference", field, &message)
    })
}
