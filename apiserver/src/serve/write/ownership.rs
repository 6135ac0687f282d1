//! Who owns the fields that a request writes.

use super::changed;
use crate::apply::{self, Error, FieldSet, Path, Writer};
use crate::builtin;
use crate::error::ApiError;
use crate::namespaces;
use crate::object::Object;
use crate::request::WriteOptions;
use crate::serve::{ApiServer, Call};
use http::{HeaderMap, StatusCode, header::USER_AGENT};
use serde_json::Value;

/// How a request comes to own what it writes.
pub(super) enum Ownership {
    /// By writing it, under that name.
    Update(String),
    /// By an apply, which has recorded it.
    Applied,
}

/// The name under which a request owns what it writes: the one that it gives, or the first word of
/// its user agent.
pub(super) fn manager(options: &WriteOptions, headers: &HeaderMap) -> String {
    if !options.manager.is_empty() {
        return options.manager.clone();
    }
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let first = agent.unwrap_or_default().split('/').next();
    first.unwrap_or_default().chars().take(128).collect()
}

impl Ownership {
    /// Writes down who owns what in a changed object.
    pub(super) fn record(
        &self,
        server: &ApiServer,
        call: &Call,
        old: Option<&Object>,
        object: Object,
    ) -> Result<Object, ApiError> {
        let Self::Update(manager) = self else {
            return Ok(object);
        };
        let empty = builtin::empty(&call.resource, &call.api_version());
        let old = old.map_or(&empty, Object::as_value);
        let recorded = with_writer(server, call, manager, |writer| {
            apply::update(Some(old), object.into_value(), writer)
        });
        Object::new(recorded).map_err(ApiError::internal)
    }
}

/// An object after an apply. `old` is `None` when there is none yet.
pub(super) fn applied(
    server: &ApiServer,
    call: &Call,
    options: &WriteOptions,
    old: Option<&Object>,
    config: &Value,
) -> Result<Object, ApiError> {
    let applied = with_writer(server, call, &options.manager, |writer| {
        apply::apply(old.map(Object::as_value), config, writer, options.force)
    });
    let applied = applied.map_err(|error| match error {
        Error::Conflicts(conflicts) => ApiError::apply_conflict(&conflicts),
        // Upstream answers 500 to what does not fit, though it is the client's fault.
        Error::ObjectType(_) | Error::ManagedFields | Error::Typed { .. } => {
            ApiError::bad_request(error.to_string())
        }
        other => {
            let code = StatusCode::INTERNAL_SERVER_ERROR;
            ApiError::new(code, "InternalError", other.to_string())
        }
    })?;
    Object::new(applied).map_err(|_| changed(call))
}

fn with_writer<T>(
    server: &ApiServer,
    call: &Call,
    manager: &str,
    write: impl FnOnce(&Writer<'_>) -> T,
) -> T {
    let subresource = call.subresource.as_deref().unwrap_or_default();
    let mut reset = FieldSet::default();
    match subresource {
        "status" => reset.insert(Path::of_fields(&["spec"])),
        _ if call.version.status => reset.insert(Path::of_fields(&["status"])),
        _ => {}
    }
    if namespaces::are(&call.resource) && subresource.is_empty() {
        // They are the server's, and change at `finalize` alone.
        reset.insert(Path::of_fields(&["spec", "finalizers"]));
    }
    write(&Writer {
        manager,
        schema: &call.version.schema,
        api_version: &call.api_version(),
        kind: &call.resource.kind,
        subresource,
        reset: &reset,
        now: server.now(),
    })
}
