//! The entry of an object in the store.

use super::changed;
use crate::builtin;
use crate::error::ApiError;
use crate::keys;
use crate::object::Object;
use crate::serve::{ApiServer, Call};
use store::{Revision, Txn, TxnOutcome};

/// The object as it is in the store, in the version that is asked for.
pub(in crate::serve) async fn stored(server: &ApiServer, call: &Call) -> Result<Object, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    let key = key(call, name);
    let entry = server.cache().store().get(key.as_bytes()).await?;
    let entry = entry.ok_or_else(|| ApiError::not_found(call.about(name)))?;
    let decoded = Object::decode(&entry.value, entry.modified.0);
    let fit = decoded.and_then(|mut object| {
        builtin::from_kept(&call.resource, &mut object);
        call.version.fit(&call.api_version(), object)
    });
    fit.map_err(|error| ApiError::internal(format!("{key}: {error}")))
}

/// Deletes an object at a revision. It is returned as it was last.
pub(in crate::serve) async fn delete_now(
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
pub(in crate::serve) async fn put(
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
    let mut kept = object.clone();
    builtin::to_kept(&call.resource, &mut kept);
    let value = kept.encode();
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

fn key(call: &Call, name: &str) -> String {
    let namespace = call.namespace.as_deref().unwrap_or_default();
    call.prefix() + &keys::below(namespace, name)
}

pub(in crate::serve) fn revision_of(object: &Object) -> Revision {
    // It was set when the object was read.
    Revision(
        object
            .meta_text("resourceVersion")
            .parse()
            .unwrap_or_default(),
    )
}
