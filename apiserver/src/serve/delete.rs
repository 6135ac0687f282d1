//! Delete: one object, or all that a selector means.

use super::admission::judge;
use super::write::{Attempts, admit_deletion, delete_now, is_held, put, revision_of, stored};
use super::{ApiServer, Body, Call, Sent, answer, metadata, read};
use crate::body::Document;
use crate::builtin::strategy;
use crate::cache::Filter;
use crate::crd;
use crate::error::{About, ApiError};
use crate::namespaces;
use crate::object::Object;
use crate::protobuf;
use crate::request::{
    ListOptions, WriteOptions, Writing, invalid_options, unknown_dry_run, whole_number,
};
use crate::schema::FieldError;
use crate::upstream;
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Txn;

/// The kind of a body.
const KIND: &str = "DeleteOptions";

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteOptions {
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

pub(super) async fn delete(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::read(call, &sent.headers, &sent.body)?;
    let deleted = delete_one(server, call, &options).await?;
    if deleted.is_deleting() && is_held(call, &deleted) {
        return read::one(server, call, StatusCode::OK, deleted);
    }
    if strategy(&call.resource).returns_deleted {
        return read::one(server, call, StatusCode::OK, deleted);
    }
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {
            "name": deleted.name(), "kind": call.resource.plural, "uid": deleted.uid(),
        },
    });
    if !call.resource.group.is_empty() {
        status["details"]["group"] = call.resource.group.as_str().into();
    }
    Ok(answer::value(StatusCode::OK, call.wanted.encoding, &status))
}

pub(super) async fn delete_collection(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = DeleteOptions::read(call, &sent.headers, &sent.body)?;
    let listing = ListOptions::parse(&call.query)?;
    read::catch_up(server, listing.revision).await?;
    let filter: Filter = call.filter(&listing)?;
    let kind = call.kind(server.cache()).await?;
    let found = kind.list(&filter, None, server.cache().revision());
    let mut items = Vec::new();
    for item in &found.items {
        let one = call.for_object(item.selectable.namespace(), item.selectable.name());
        match delete_one(server, &one, &options).await {
            Ok(object) => items.push(object.into_value()),
            // Somebody else was faster.
            Err(error) if error.reason() == "NotFound" => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({
        "kind": call.resource.list_kind, "apiVersion": call.api_version(),
        "metadata": read::list_meta(call, &found), "items": items,
    });
    Ok(answer::value(StatusCode::OK, call.wanted.encoding, &list))
}

/// Deletes, or begins to: an object with finalizers stays until they are done.
async fn delete_one(
    server: &ApiServer,
    call: &Call,
    options: &DeleteOptions,
) -> Result<Object, ApiError> {
    if namespaces::are(&call.resource) {
        namespaces::check_deletion(call.name.as_deref().unwrap_or_default())?;
    }
    let mut attempts = Attempts::of(call);
    loop {
        let attempt = async {
            let old = stored(server, call).await?;
            options.check(call, &old)?;
            admit_deletion(server, call, &old, options.is_dry_run()).await?;
            let mut object = old.clone();
            options.set_finalizers(&mut object);
            judge(server, call, [None, Some(&old)], options.is_dry_run()).await?;
            if crd::are(&call.resource) && !object.is_deleting() {
                crd::mark(&mut object, server.now());
            }
            let waits = is_held(call, &object);
            if waits && !object.is_deleting() {
                object.set_meta("deletionTimestamp", metadata::seconds(server.now()));
                if namespaces::are(&call.resource) {
                    namespaces::mark(&mut object);
                } else if !crd::are(&call.resource) {
                    object.set_meta("deletionGracePeriodSeconds", 0);
                    metadata::count_change(call, &mut object, &old);
                }
            }
            if options.is_dry_run() || (waits && object == old) {
                return Ok(object);
            }
            let revision = revision_of(&old);
            match waits {
                true => put(server, call, object, revision, Txn::default()).await,
                false => delete_now(server, call, object, revision).await,
            }
        };
        let deleted = attempt.await;
        if attempts.end_with(&deleted) {
            return deleted;
        }
    }
}

/// What the options are in protobuf, of whatever group they are said to be.
fn message() -> protobuf::Expected {
    protobuf::Expected {
        type_name: upstream::meta(KIND),
        api_version: String::new(),
        kind: KIND.into(),
    }
}

/// Whether it is what may be sent to delete something.
fn check_kind(options: &Value) -> Result<(), ApiError> {
    match options["kind"].as_str() {
        None | Some("" | KIND) => Ok(()),
        Some(other) => Err(unfit(&format!("no kind {other:?} is expected"))),
    }
}

fn unfit(why: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the body is no {KIND}: {why}"))
}

impl DeleteOptions {
    fn read(call: &Call, headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let query = WriteOptions::parse(&call.query, Writing::Delete)?;
        let mut options: Self = if body.is_empty() {
            Self::default()
        } else {
            let value = Document::parse(headers, body, Some(&message()))?.value;
            check_kind(&value)?;
            serde_json::from_value(value).map_err(|error| unfit(&error))?
        };
        if query.dry_run {
            options.dry_run = Some(vec!["All".into()]);
        }
        for (name, value) in url::form_urlencoded::parse(call.query.as_bytes()) {
            match &*name {
                _ if value.is_empty() => {}
                "propagationPolicy" => options.propagation_policy = Some(value.into_owned()),
                "gracePeriodSeconds" => {
                    whole_number(&value).map_err(ApiError::bad_request)?;
                }
                _ => {}
            }
        }
        options.validate()?;
        Ok(options)
    }

    fn validate(&self) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        if let Some(policy) = &self.propagation_policy {
            let policies = ["Foreground", "Background", "Orphan", "nil"];
            if !policies[..3].contains(&policy.as_str()) {
                let error =
                    FieldError::not_supported("propagationPolicy", policy.as_str(), &policies);
                errors.push(error);
            }
            if self.orphan_dependents.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(FieldError::invalid(
                    "propagationPolicy",
                    policy.as_str(),
                    detail,
                ));
            }
        }
        let dry_run: Vec<&str> = self.dry_run.iter().flatten().map(String::as_str).collect();
        if dry_run.iter().any(|value| *value != "All") {
            errors.push(unknown_dry_run(&dry_run));
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(invalid_options(KIND, &errors))
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run
            .as_ref()
            .is_some_and(|values| !values.is_empty())
    }

    fn check(&self, call: &Call, object: &Object) -> Result<(), ApiError> {
        let Some(wanted) = &self.preconditions else {
            return Ok(());
        };
        let about = About {
            what: &call.resource.kind,
            ..call.about(object.name())
        };
        let fields = [
            ("UID", &wanted.uid, object.uid()),
            (
                "ResourceVersion",
                &wanted.resource_version,
                object.meta_text("resourceVersion"),
            ),
        ];
        for (field, meant, is) in fields {
            if let Some(meant) = meant.as_deref().filter(|meant| *meant != is) {
                return Err(ApiError::other_than_meant(about, field, meant, is));
            }
        }
        Ok(())
    }

    /// Dependents are waited for, or let go, by a controller that takes its finalizer away then.
    fn set_finalizers(&self, object: &mut Object) {
        let wanted = match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some("Foreground"), _) => Some(FOREGROUND),
            (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
            (Some(_), _) | (None, Some(false)) => None,
            (None, None) => return,
        };
        let kept = object
            .finalizers()
            .filter(|name| ![FOREGROUND, ORPHAN].contains(name));
        let finalizers: Vec<Value> = kept.chain(wanted).map(Value::from).collect();
        if finalizers.is_empty() {
            object.meta_mut().remove("finalizers");
        } else {
            object.set_meta("finalizers", finalizers);
        }
    }
}
