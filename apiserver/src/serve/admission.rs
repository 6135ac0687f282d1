//! Policies are asked before something is written.

use super::{ApiServer, Call, scale};
use crate::error::ApiError;
use crate::object::Object;
use crate::policy::{Operation, Write, enforce};

/// Asks the policies about an object that takes the place of another one, or of none; or that goes.
pub(super) async fn judge(
    server: &ApiServer,
    call: &Call,
    [object, old]: [Option<&Object>; 2],
    dry_run: bool,
) -> Result<(), ApiError> {
    if !call.judged || server.policies().are_none() {
        return Ok(());
    }
    let operation = match (object, old) {
        (Some(_), None) => Operation::Create,
        (None, _) => Operation::Delete,
        _ => Operation::Update,
    };
    let subresource = call.subresource.as_deref().unwrap_or_default();
    // Who asks for a scale knows nothing of the object.
    let paths = call.version.scale.as_ref();
    let paths = paths.filter(|_| subresource == "scale");
    let shown = |object: Option<&Object>| match (object, paths) {
        (Some(object), Some(paths)) => Object::new(scale::scale_of(object, paths)).ok(),
        (object, _) => object.cloned(),
    };
    let (object, old) = (shown(object), shown(old));
    let name = call.name.as_deref();
    let name = name.or(object.as_ref().map(Object::name));
    let write = Write {
        user: &call.user,
        operation,
        resource: &call.resource,
        version: &call.version.name,
        subresource,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name: name.unwrap_or_default(),
        object: object.as_ref(),
        old: old.as_ref(),
        dry_run,
    };
    let admitted = enforce(server, &write).await?;
    call.notes.add(admitted.warnings, admitted.annotations);
    admitted.refused.map_or(Ok(()), Err)
}
