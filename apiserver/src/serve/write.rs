//! Create, replace and patch.

mod entry;
mod incoming;
mod ownership;
mod patch;
mod replace;
mod retry;

pub(super) use entry::{delete_now, put, revision_of, stored};
use incoming::{Incoming, placed, unhandled};
use ownership::{Ownership, manager};
pub(super) use patch::patch;
pub(super) use replace::replace;
pub(super) use retry::Attempts;

use super::admission::judge;
use super::{ApiServer, Body, Call, Sent, answer, metadata, read};
use crate::admission::{Answer, Effects, Write};
use crate::body::{MAX_DEPTH, too_deep};
use crate::builtin;
use crate::error::{About, ApiError};
use crate::namespaces;
use crate::object::Object;
use crate::request::{Verb, WriteOptions, Writing};
use crate::schema::{self, ErrorKind, FieldError, MAX_ERRORS};
use http::HeaderMap;
use http::{Response, StatusCode};
use serde_json::Value;
use store::Revision;

/// How many warnings a client gets at most.
const MAX_WARNINGS: usize = 20;

/// How many names are made up for an object that comes without one, if they are taken: kube-apiserver's number.
const MADE_UP_NAMES: usize = 8;

/// Most that all of them may be long in bytes, and each if that is not enough: kube-apiserver's limits.
const MAX_WARNED: usize = 4 * 1024;
const MAX_WARNING: usize = 256;

pub(super) async fn create(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, Writing::Create)?;
    let Incoming {
        object,
        mut warnings,
    } = placed(call, sent, &options)?;
    let owner = Ownership::Update(manager(&options, &sent.headers));
    if call.resource.hooks.is_review() {
        call.wanted.must_be_objects()?;
        let answered = review(server, call, object, &owner).await;
        return Ok(told(server, call, StatusCode::CREATED, answered, &warnings));
    }
    let made = begin(server, call, object, &owner, options.dry_run).await;
    if let Ok(made) = &made {
        warnings.extend(metadata::warnings(call, made, None));
    }
    Ok(told(server, call, StatusCode::CREATED, made, &warnings))
}

/// Answers an object that is not kept, and needs no name.
async fn review(
    server: &ApiServer,
    call: &Call,
    object: Object,
    owner: &Ownership,
) -> Result<Object, ApiError> {
    let mut value = object.into_value();
    schema::set_defaults(&call.version.schema, &mut value);
    let errors = schema::validate(&call.version.schema, &value, None);
    if !errors.is_empty() {
        return Err(invalid(call, "", &errors));
    }
    let object = Object::new(value).map_err(ApiError::internal)?;
    let mut object = owner.record(server, call, None, object)?;
    judge(server, call, [Some(&object), None], true).await?;
    admit(server, call, &mut object, None, true).await?;
    Ok(object)
}

/// Writes an object that is not there yet. One that comes without a name gets one that is not taken.
async fn begin(
    server: &ApiServer,
    call: &Call,
    object: Object,
    owner: &Ownership,
    dry_run: bool,
) -> Result<Object, ApiError> {
    if !object.name().is_empty() {
        return begin_named(server, call, object, owner, dry_run).await;
    }
    let mut names = 0;
    loop {
        names += 1;
        match begin_named(server, call, object.clone(), owner, dry_run).await {
            Err(error) if !error.is_name_taken() => return Err(error),
            Err(error) if names == MADE_UP_NAMES => return Err(error.no_name_found()),
            Err(_) => {}
            Ok(made) => return Ok(made),
        }
    }
}

async fn begin_named(
    server: &ApiServer,
    call: &Call,
    mut object: Object,
    owner: &Ownership,
    dry_run: bool,
) -> Result<Object, ApiError> {
    metadata::begin(&mut object, server.now())?;
    if metadata::has_generation(call) {
        object.set_meta("generation", 1);
    }
    if object.name().is_empty()
        && let Some(name) = call.resource.hooks.name()
    {
        object.set_meta("name", name);
    }
    if let Some(namespace) = &call.namespace {
        namespaces::check_creation(server, &call.resource, namespace, object.name()).await?;
    }
    if call.version.status {
        object.fields_mut().remove("status");
    }
    let mut object = checked(call, object, None)?;
    let effects = admit(server, call, &mut object, None, dry_run).await?;
    let object = recorded(server, call, None, object, owner)?;
    judge(server, call, [Some(&object), None], dry_run).await?;
    if dry_run {
        return Ok(object);
    }
    let made = put(server, call, object, Revision::ZERO, effects.txn).await?;
    Ok(answered(made, effects.answer))
}

/// Lets the kind have its say.
async fn admit(
    server: &ApiServer,
    call: &Call,
    object: &mut Object,
    old: Option<&Object>,
    dry_run: bool,
) -> Result<Effects, ApiError> {
    let write = write_of(server, call, old, dry_run);
    call.resource.hooks.admit(&write, object).await
}

/// Lets the kind have its say before an object is deleted, or begins to be.
pub(super) async fn admit_deletion(
    server: &ApiServer,
    call: &Call,
    old: &Object,
    dry_run: bool,
) -> Result<(), ApiError> {
    let write = write_of(server, call, Some(old), dry_run);
    call.resource.hooks.admit_deletion(&write).await
}

fn write_of<'a>(
    server: &ApiServer,
    call: &'a Call,
    old: Option<&'a Object>,
    dry_run: bool,
) -> Write<'a> {
    Write {
        user: &call.user,
        old,
        subresource: call.subresource.as_deref().unwrap_or_default(),
        now: server.now(),
        dry_run,
        group: &call.resource.group,
        kind: &call.resource.kind,
    }
}

fn answered(mut object: Object, answer: Option<Answer>) -> Object {
    if let Some(answer) = answer {
        answer(&mut object);
    }
    object
}

/// Writes a changed object over `old`, in the name of whom the request says.
pub(super) async fn update_as(
    server: &ApiServer,
    call: &Call,
    object: Object,
    old: &Object,
    options: &WriteOptions,
    headers: &HeaderMap,
) -> Result<Object, ApiError> {
    let owner = Ownership::Update(manager(options, headers));
    update(server, call, object, old, &owner, options.dry_run).await
}

/// Writes a changed object over `old`. What changes nothing is not written.
async fn update(
    server: &ApiServer,
    call: &Call,
    mut object: Object,
    old: &Object,
    owner: &Ownership,
    dry_run: bool,
) -> Result<Object, ApiError> {
    let is_other = !object.uid().is_empty() && object.uid() != old.uid();
    if is_other && call.verb == Verb::Update {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            object.uid(),
            old.uid()
        );
        return Err(ApiError::conflict(call.about(old.name()), &why));
    }
    metadata::carry(&mut object, old);
    match call.subresource.as_deref() {
        // The metadata of a namespace is written with its status.
        Some("status") if namespaces::are(&call.resource) => copy_field(&mut object, old, "spec"),
        Some("status") => {
            let managers = object.meta().get("managedFields").cloned();
            object = with_status_of(old, &object);
            if let (Ownership::Applied, Some(managers)) = (owner, managers) {
                object.set_meta("managedFields", managers);
            }
        }
        Some("finalize") => object = with_finalizers_of(old, &object),
        _ if call.version.status => copy_field(&mut object, old, "status"),
        _ => {}
    }
    let mut object = checked(call, object, Some(old))?;
    let effects = admit(server, call, &mut object, Some(old), dry_run).await?;
    object.set_meta("resourceVersion", old.meta_text("resourceVersion"));
    if desired(call, &object) != desired(call, old) {
        metadata::count_change(call, &mut object, old);
    }
    let object = recorded(server, call, Some(old), object, owner)?;
    judge(server, call, [Some(&object), Some(old)], dry_run).await?;
    if dry_run || (object == *old && effects.txn.ops.is_empty()) {
        return Ok(object);
    }
    let revision = revision_of(old);
    if object.is_deleting() && !is_held(call, &object) {
        return delete_now(server, call, object, revision).await;
    }
    let written = put(server, call, object, revision, effects.txn).await?;
    Ok(answered(written, effects.answer))
}

/// A written object with who owns it, as it is kept.
fn recorded(
    server: &ApiServer,
    call: &Call,
    old: Option<&Object>,
    mut object: Object,
    owner: &Ownership,
) -> Result<Object, ApiError> {
    builtin::trim(&call.resource, &mut object);
    let mut object = owner.record(server, call, old, object)?;
    builtin::settle(&call.resource, &mut object);
    if call.version.name == call.resource.storage {
        return Ok(object);
    }
    let Some(stored) = call.resource.version(&call.resource.storage) else {
        return Ok(object);
    };
    // Nobody owns what only the stored version gives.
    let mut value = object.into_value();
    schema::set_defaults(&stored.schema, &mut value);
    Object::new(value).map_err(ApiError::internal)
}

/// Sets defaults and checks everything.
fn checked(call: &Call, object: Object, old: Option<&Object>) -> Result<Object, ApiError> {
    if object.depth() > MAX_DEPTH {
        return Err(too_deep());
    }
    let mut errors = metadata::check(call, &object, old);
    errors.truncate(MAX_ERRORS);
    let name = object.name().to_owned();
    let mut value = object.into_value();
    schema::set_defaults(&call.version.schema, &mut value);
    let old = old.map(Object::as_value);
    let of_metadata = errors.len();
    let mut errors = schema::validate_after(&call.version.schema, &value, old, errors);
    let is_decoded = matches!(call.verb, Verb::Create | Verb::Update);
    if call.resource.built_in && is_decoded {
        // Upstream reads these into Go types, before it looks at anything else.
        let unread = errors
            .iter()
            .find(|error| error.kind == ErrorKind::TypeInvalid);
        if let Some(error) = unread {
            return Err(unhandled(call, &error.to_string()));
        }
    }
    // Kubernetes' own kinds say themselves what may not be there twice.
    if call.resource.built_in {
        errors.retain(|error| error.kind != ErrorKind::Duplicate);
    }
    if !errors.is_empty() {
        if errors.len() == of_metadata {
            errors.extend(call.resource.hooks.faults(&value, old));
        }
        return Err(invalid(call, &name, &errors));
    }
    Object::new(value).map_err(ApiError::internal)
}

/// What people want of an object, which its generation counts.
fn desired<'a>(call: &Call, object: &'a Object) -> Vec<(&'a String, &'a Value)> {
    let has_status = call.version.status;
    let fields = object.fields().iter();
    fields
        .filter(|(name, _)| *name != "metadata" && !(has_status && *name == "status"))
        .collect()
}

/// `old` with the status of `new`.
fn with_status_of(old: &Object, new: &Object) -> Object {
    let mut object = old.clone();
    copy_field(&mut object, new, "status");
    object
}

/// `old` with what keeps it, of `new`.
fn with_finalizers_of(old: &Object, new: &Object) -> Object {
    let mut object = old.clone();
    let finalizers = new.as_value().pointer("/spec/finalizers").cloned();
    if let Some(spec) = object.fields_mut().get_mut("spec") {
        spec["finalizers"] = finalizers.unwrap_or_default();
    }
    object
}

/// Whether an object that is being deleted stays for a while.
pub(super) fn is_held(call: &Call, object: &Object) -> bool {
    let by_itself = namespaces::are(&call.resource) && namespaces::is_held(object);
    by_itself || object.finalizers().next().is_some()
}

fn copy_field(object: &mut Object, from: &Object, field: &str) {
    match from.fields().get(field) {
        Some(value) => drop(object.fields_mut().insert(field.into(), value.clone())),
        None => drop(object.fields_mut().remove(field)),
    }
}

pub(super) fn invalid(call: &Call, name: &str, errors: &[FieldError]) -> ApiError {
    let about = About {
        what: &call.resource.kind,
        ..call.about(name)
    };
    ApiError::invalid(about, errors)
}

pub(super) fn changed(call: &Call) -> ApiError {
    let name = call.name.as_deref().unwrap_or_default();
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    ApiError::conflict(call.about(name), why)
}

/// Answers with what was written, or why it was not, and with the warnings that kubectl prints.
fn told(
    server: &ApiServer,
    call: &Call,
    code: StatusCode,
    written: Result<Object, ApiError>,
    warnings: &[String],
) -> Response<Body> {
    let response = written.and_then(|written| read::one(server, call, code, written));
    let mut response = response.unwrap_or_else(answer::failure);
    let warnings = &warnings[..warnings.len().min(MAX_WARNINGS)];
    let fits = warnings.iter().map(String::len).sum::<usize>() <= MAX_WARNED;
    let longest = if fits { MAX_WARNED } else { MAX_WARNING };
    for warning in warnings {
        let end = warning.floor_char_boundary(longest);
        answer::warn(&mut response, &warning[..end]);
    }
    response
}
