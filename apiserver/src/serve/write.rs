//! Create, replace and patch.

mod ownership;
mod patch;

use ownership::{Ownership, manager};
pub(super) use patch::patch;

use super::admission::judge;
use super::{ApiServer, Body, Call, Sent, answer, metadata, read};
use crate::admission::{Answer, Effects, Write};
use crate::body::{Document, MAX_DEPTH, too_deep};
use crate::error::{About, ApiError};
use crate::keys;
use crate::namespaces;
use crate::object::Object;
use crate::request::{FieldValidation, WriteOptions};
use crate::schema::{self, ErrorKind, Extent, FieldError, MAX_ERRORS};
use http::HeaderMap;
use http::{Response, StatusCode};
use serde_json::Value;
use store::{Revision, Txn, TxnOutcome};

/// How often a write is tried again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// How many warnings a client gets at most.
const MAX_WARNINGS: usize = 20;

/// Most that all of them may be long in bytes, and each if that is not enough: kube-apiserver's limits.
const MAX_WARNED: usize = 4 * 1024;
const MAX_WARNING: usize = 256;

/// An object that was read from a body.
struct Incoming {
    object: Object,
    warnings: Vec<String>,
}

pub(super) async fn create(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, false)?;
    let Incoming { object, warnings } = placed(call, sent, &options)?;
    if call.resource.hooks.is_review() {
        call.wanted.must_be_objects()?;
        let answered = review(server, call, object).await?;
        let response = read::one(server, call, StatusCode::CREATED, answered);
        return Ok(warned(response, &warnings));
    }
    let owner = Ownership::Update(manager(&options, &sent.headers));
    let made = begin(server, call, object, &owner, options.dry_run).await?;
    let response = read::one(server, call, StatusCode::CREATED, made);
    Ok(warned(response, &warnings))
}

/// Answers an object that is not kept, and needs no name.
async fn review(server: &ApiServer, call: &Call, object: Object) -> Result<Object, ApiError> {
    let mut value = object.into_value();
    schema::set_defaults(&call.version.schema, &mut value);
    let errors = schema::validate(&call.version.schema, &value, None);
    if !errors.is_empty() {
        return Err(invalid(call, "", &errors));
    }
    let mut object = Object::new(value).map_err(ApiError::internal)?;
    judge(server, call, [Some(&object), None], false).await?;
    admit(server, call, &mut object, None, true).await?;
    Ok(object)
}

/// Writes an object that is not there yet.
async fn begin(
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
    let object = owner.record(server, call, None, object)?;
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

pub(super) async fn replace(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, false)?;
    let Incoming { object, warnings } = placed(call, sent, &options)?;
    let version = object.meta_text("resourceVersion");
    let blindly = version.is_empty() && call.resource.is_replaced_blindly();
    for _ in 0..ATTEMPTS {
        let old = stored(server, call).await?;
        if version.is_empty() && !blindly {
            let field = "metadata.resourceVersion";
            let error = FieldError::invalid(field, 0, "must be specified for an update");
            return Err(invalid(call, object.name(), &[error]));
        }
        if !blindly && version != old.meta_text("resourceVersion") {
            return Err(changed(call));
        }
        let object = object.clone();
        match update_as(server, call, object, &old, &options, &sent.headers).await {
            Err(error) if blindly && error == changed(call) => {}
            Err(error) => return Err(error),
            Ok(written) => {
                let response = read::one(server, call, StatusCode::OK, written);
                return Ok(warned(response, &warnings));
            }
        }
    }
    Err(changed(call))
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
    if !object.uid().is_empty() && object.uid() != old.uid() {
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
        Some("status") => object = with_status_of(old, &object),
        Some("finalize") => object = with_finalizers_of(old, &object),
        _ if call.version.status => copy_field(&mut object, old, "status"),
        _ => {}
    }
    let mut object = checked(call, object, Some(old))?;
    let effects = admit(server, call, &mut object, Some(old), dry_run).await?;
    object.set_meta("resourceVersion", old.meta_text("resourceVersion"));
    if metadata::has_generation(call) && desired(call, &object) != desired(call, old) {
        let generation = old.meta().get("generation").and_then(Value::as_i64);
        object.set_meta("generation", generation.unwrap_or_default() + 1);
    }
    let object = owner.record(server, call, Some(old), object)?;
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

/// The object as it is in the store.
pub(super) async fn stored(server: &ApiServer, call: &Call) -> Result<Object, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    let key = key(call, name);
    let entry = server.cache().store().get(key.as_bytes()).await?;
    let entry = entry.ok_or_else(|| ApiError::not_found(call.about(name)))?;
    let decoded = Object::decode(&entry.value, entry.modified.0);
    let fit = decoded.and_then(|object| call.version.fit(&call.api_version(), object));
    fit.map_err(|error| ApiError::internal(format!("{key}: {error}")))
}

/// Deletes an object at a revision. It is returned as it was last.
pub(super) async fn delete_now(
    server: &ApiServer,
    call: &Call,
    mut object: Object,
    revision: Revision,
) -> Result<Object, ApiError> {
    let key = key(call, object.name());
    let others = call.resource.hooks.release(&object).await?;
    let txn = together(call, Txn::delete_if(key, revision), others);
    match server.cache().store().txn(txn).await? {
        TxnOutcome::Applied(revision) => {
            call.resource.hooks.written(revision).await;
            object.set_meta("resourceVersion", revision.to_string());
            Ok(object)
        }
        TxnOutcome::Conflict(_) => Err(changed(call)),
    }
}

/// Writes an object over the one at a revision; [`Revision::ZERO`]: there is none.
pub(super) async fn put(
    server: &ApiServer,
    call: &Call,
    mut object: Object,
    expected: Revision,
    others: Txn,
) -> Result<Object, ApiError> {
    let version = call.resource.api_version(&call.resource.storage);
    let asked = object.api_version().to_owned();
    object
        .fields_mut()
        .insert("apiVersion".into(), version.into());
    let key = key(call, object.name());
    let value = object.encode();
    if value.len() > store::MAX_VALUE_BYTES {
        return Err(ApiError::too_large(store::MAX_VALUE_BYTES));
    }
    let txn = together(call, Txn::put_if(key, expected, value), others);
    match server.cache().store().txn(txn).await? {
        TxnOutcome::Applied(revision) => {
            call.resource.hooks.written(revision).await;
            object.set_meta("resourceVersion", revision.to_string());
            object
                .fields_mut()
                .insert("apiVersion".into(), asked.into());
            Ok(object)
        }
        TxnOutcome::Conflict(_) if expected == Revision::ZERO => {
            Err(ApiError::already_exists(call.about(object.name())))
        }
        TxnOutcome::Conflict(_) => Err(changed(call)),
    }
}

fn together(call: &Call, mut txn: Txn, others: Txn) -> Txn {
    for others in [others, call.beside.0.clone()] {
        txn.compares.extend(others.compares);
        txn.ops.extend(others.ops);
    }
    txn
}

/// The object in a body, put where the URL says.
fn placed(call: &Call, sent: &Sent, options: &WriteOptions) -> Result<Incoming, ApiError> {
    let document = Document::parse(&sent.headers, &sent.body, call.message().as_ref())?;
    let mut found = incoming(call, document, options.validation)?;
    metadata::place(call, &mut found.object)?;
    Ok(found)
}

/// The object in a document: of the kind that is asked for, with the fields that its kind has.
fn incoming(
    call: &Call,
    document: Document,
    validation: FieldValidation,
) -> Result<Incoming, ApiError> {
    let mut value = document.value;
    if call.resource.built_in {
        set_kind(call, &mut value);
    }
    check_kind(call, &value)?;
    metadata::check_texts(call, &value)?;
    let unknown = schema::prune(&call.version.schema, &mut value, Extent::Resource);
    let duplicates = document.duplicates.iter();
    let found: Vec<String> = duplicates
        .map(|path| format!("duplicate field {path:?}"))
        .chain(unknown.iter().map(|path| format!("unknown field {path:?}")))
        .collect();
    if validation == FieldValidation::Strict && !found.is_empty() {
        let message = format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            call.resource.kind,
            call.version.name,
            call.resource.kind,
            found.join(", ")
        );
        return Err(ApiError::bad_request(message));
    }
    let warns = validation == FieldValidation::Warn;
    let object = Object::new(value).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Incoming {
        object,
        warnings: if warns { found } else { Vec::new() },
    })
}

/// What Kubernetes' own kinds are need not be said.
fn set_kind(call: &Call, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (field, text) in [
        ("apiVersion", call.api_version()),
        ("kind", call.resource.kind.clone()),
    ] {
        let said = fields.get(field).and_then(Value::as_str);
        if said.is_none_or(str::is_empty) {
            fields.insert(field.into(), text.into());
        }
    }
}

fn check_kind(call: &Call, value: &Value) -> Result<(), ApiError> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let missing = |field: &str| ApiError::bad_request(format!("Object '{field}' is missing"));
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() {
        return Err(missing("Kind"));
    }
    let expected = call.api_version();
    if version != expected {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        );
        return Err(ApiError::bad_request(message));
    }
    if kind != call.resource.kind {
        let message = format!(
            "{kind} in version {:?} cannot be handled as a {}: the object is of another kind",
            call.version.name, call.resource.kind
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(())
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
    errors.extend(schema::validate(
        &call.version.schema,
        &value,
        old.map(Object::as_value),
    ));
    // Kubernetes' own kinds say themselves what may not be there twice.
    if call.resource.built_in {
        errors.retain(|error| error.kind != ErrorKind::Duplicate);
    }
    if !errors.is_empty() {
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

fn key(call: &Call, name: &str) -> String {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    call.kind.prefix().to_owned() + &keys::below(namespace, name)
}

pub(super) fn revision_of(object: &Object) -> Revision {
    // It was set when the object was read.
    Revision(
        object
            .meta_text("resourceVersion")
            .parse()
            .unwrap_or_default(),
    )
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

/// Adds the warnings that kubectl prints.
fn warned(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    let warnings = &warnings[..warnings.len().min(MAX_WARNINGS)];
    let fits = warnings.iter().map(String::len).sum::<usize>() <= MAX_WARNED;
    let longest = if fits { MAX_WARNED } else { MAX_WARNING };
    for warning in warnings {
        let end = warning.floor_char_boundary(longest);
        answer::warn(&mut response, &warning[..end]);
    }
    response
}
