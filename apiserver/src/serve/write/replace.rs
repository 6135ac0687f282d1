//! Replacing an object.

use super::incoming::{Incoming, placed};
use super::retry::Attempts;
use super::{Ownership, begin, changed, manager, stored, told, update};
use crate::builtin;
use crate::error::ApiError;
use crate::request::{WriteOptions, Writing};
use crate::schema::FieldError;
use crate::serve::{ApiServer, Body, Call, Sent, metadata};
use http::{Response, StatusCode};

pub(in crate::serve) async fn replace(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, Writing::Update)?;
    let Incoming {
        object,
        mut warnings,
    } = placed(call, sent, &options)?;
    let strategy = builtin::strategy(&call.resource);
    let owner = Ownership::Update(manager(&options, &sent.headers));
    let version = object.meta_text("resourceVersion");
    let takes_any = version.is_empty() && strategy.updates_any_version;
    let mut code = StatusCode::OK;
    let mut attempts = Attempts::of(call);
    let written = loop {
        let attempt = async {
            let old = match stored(server, call).await {
                Err(error)
                    if error.code() == StatusCode::NOT_FOUND && strategy.creates_on_update =>
                {
                    server.authorize_creation(call)?;
                    code = StatusCode::CREATED;
                    return begin(server, call, object.clone(), &owner, options.dry_run).await;
                }
                old => old?,
            };
            if version.is_empty() && !takes_any {
                let rule = "must be specified for an update";
                let error = FieldError::invalid("metadata.resourceVersion", 0, rule);
                return Err(ApiError::invalid(call.about(object.name()), &[error]));
            }
            if !takes_any && version != old.meta_text("resourceVersion") {
                return Err(changed(call));
            }
            let written =
                update(server, call, object.clone(), &old, &owner, options.dry_run).await?;
            warnings.extend(metadata::warnings(call, &written, Some(&old)));
            Ok(written)
        };
        let written = attempt.await;
        if attempts.end_with(&written) {
            break written;
        }
    };
    Ok(told(server, call, code, written, &warnings))
}
