//! Namespaces of connected clusters: read and written in the cluster itself, in the name of who asks.

use apiserver::error::ApiError;
use http::Method;
use lariat_api::{Kind as _, Project};
use serde_json::{Map, Value, json};

use super::field::{Described, Field};
use super::place::Scope;
use super::resource::View;
use super::state::State;
use super::{answer, item};

/// The annotation of the project that a namespace belongs to.
const PROJECT: &str = "field.cattle.io/projectId";

/// What somebody must be allowed with a project to move namespaces into it or out of it.
const MANAGE: &str = "manage-namespaces";

/// The fields of namespaces.
pub(super) fn described() -> Described {
    let annotation = |name: &'static str| ["metadata", "annotations", name];
    let meta = |at: &'static str| ["metadata", at];
    let encoded = |name: &'static str, description| Field {
        encoded: true,
        ..Field::written("json", &annotation(name), description)
    };
    let fields = [
        (
            "id",
            Field::shown_only("string", &[], "Name of the namespace"),
        ),
        (
            "name",
            Field {
                required: true,
                update: false,
                ..Field::written("string", &meta("name"), "Name of the namespace")
            },
        ),
        (
            "description",
            Field::written(
                "string",
                &annotation("field.cattle.io/description"),
                "Free text",
            ),
        ),
        (
            "projectId",
            Field {
                update: false,
                ..Field::written(
                    "reference[project]",
                    &annotation(PROJECT),
                    "The project that it belongs to. Changed by the action move.",
                )
            },
        ),
        (
            "resourceQuota",
            encoded(
                "field.cattle.io/resourceQuota",
                "What it may take of the quota of its project",
            ),
        ),
        (
            "containerDefaultResourceLimit",
            encoded(
                "field.cattle.io/containerDefaultResourceLimit",
                "What a container asks for and may take that says nothing itself",
            ),
        ),
        (
            "labels",
            Field::written("map[string]", &meta("labels"), "What selectors find it by"),
        ),
        (
            "annotations",
            Field::written(
                "map[string]",
                &meta("annotations"),
                "What clients keep with it",
            ),
        ),
        (
            "created",
            Field::shown_only("date", &meta("creationTimestamp"), "When it was made"),
        ),
        (
            "createdTS",
            Field::shown_only("int", &[], "The same, in milliseconds since 1970"),
        ),
        (
            "creatorId",
            Field::shown_only(
                "reference[user]",
                &annotation(super::resource::CREATOR),
                "Who made it through this API",
            ),
        ),
        (
            "uuid",
            Field::shown_only(
                "string",
                &meta("uid"),
                "Unique among all objects that ever were",
            ),
        ),
        (
            "removed",
            Field::shown_only(
                "date",
                &meta("deletionTimestamp"),
                "When somebody deleted it",
            ),
        ),
        (
            "state",
            Field::shown_only("string", &[], "active, or removing"),
        ),
        (
            "transitioning",
            Field::shown_only("enum", &[], "Whether the state is about to change"),
        ),
        (
            "transitioningMessage",
            Field::shown_only("string", &[], "Why"),
        ),
    ];
    Described {
        fields: fields.map(|(name, field)| (name.to_owned(), field)).into(),
        ..Described::default()
    }
}

/// The state of a namespace.
pub(super) fn state(object: &Value) -> Option<State> {
    let ends = object["status"]["phase"] == "Terminating";
    ends.then(|| State::removing(object))
}

/// Refuses a new namespace in a project where the caller may not put one. Objects of other types are none of
/// its business.
///
/// # Errors
/// 403, and 422 for a project of another cluster.
pub(super) fn check_new(view: &View<'_>, sent: &Map<String, Value>) -> Result<(), ApiError> {
    if view.of.id != "namespace" {
        return Ok(());
    }
    let scoped = matches!(view.scope, Scope::Project(..)).then(|| view.scope.to_string());
    match scoped
        .as_deref()
        .or_else(|| sent.get("projectId")?.as_str())
    {
        None | Some("") => Ok(()),
        Some(project) => check_project(view, project),
    }
}

/// Refuses a namespace in a project where the caller may not put one.
///
/// # Errors
/// 403, and 422 for a project of another cluster.
fn check_project(view: &View<'_>, project: &str) -> Result<(), ApiError> {
    let read = Scope::project_of(project).ok();
    let (cluster, name) = match (&read, view.scope.cluster()) {
        (Some(Scope::Project(of, name)), Some(cluster)) if of == cluster => (of, name),
        _ => {
            let message = "projectId must be a project of this cluster, CLUSTER:PROJECT";
            return Err(answer::refused("InvalidReference", "projectId", message));
        }
    };
    let caller = view.caller;
    let may =
        |verb: &str| caller.is_allowed(verb, Project::PLURAL, cluster.as_str(), name.as_str());
    if may(MANAGE) || may("update") {
        return Ok(());
    }
    let message = format!(
        "user {:?} may not manage namespaces of project {project:?}",
        caller.who.username
    );
    Err(crate::authz::Denied(message).into())
}

/// `POST …/namespaces/NAME?action=move`: puts a namespace into another project, or with an empty `projectId`
/// into none. Needs rights in both.
///
/// # Errors
/// What the cluster or one of the projects refuses.
pub(super) async fn move_to(
    view: &View<'_>,
    id: &str,
    sent: &Map<String, Value>,
) -> Result<(), ApiError> {
    let target = sent
        .get("projectId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let project = match target {
        "" => Value::Null,
        target => json!(target),
    };
    let mut attempts = 0;
    loop {
        let (object, path) = item::find(view, id).await?;
        let source = object["metadata"]["annotations"][PROJECT]
            .as_str()
            .unwrap_or_default();
        for project in [source, target] {
            if !project.is_empty() {
                check_project(view, project)?;
            }
        }
        // With the version that was looked at, so that nobody moves it in between.
        let change = json!({"metadata": {
            "resourceVersion": object["metadata"]["resourceVersion"],
            "annotations": {PROJECT: project},
        }});
        attempts += 1;
        match item::ask(view, Method::PATCH, &path, Some(&change)).await {
            // The controllers write to namespaces as well.
            Err(error) if error.reason() == "Conflict" && attempts < item::ATTEMPTS => {}
            answer => return answer.map(drop),
        }
    }
}
