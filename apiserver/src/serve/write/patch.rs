//! Patches of an object.

use super::incoming::{duplicates, incoming, unpruned};
use super::ownership::applied;
use super::retry::Attempts;
use super::{Ownership, begin, changed, manager, stored, told, update};
use crate::body::{Document, media_type};
use crate::error::ApiError;
use crate::patch::{APPLY_PATCH, Patch};
use crate::request::{WriteOptions, Writing};
use crate::serve::{ApiServer, Body, Call, Sent, metadata};
use http::{Response, StatusCode};

pub(in crate::serve) async fn patch(
    server: &ApiServer,
    call: &Call,
    sent: &Sent,
) -> Result<Response<Body>, ApiError> {
    let media_type = media_type(&sent.headers);
    if media_type == APPLY_PATCH {
        return apply(server, call, &sent.body).await;
    }
    let options = WriteOptions::parse(&call.query, Writing::Patch)?;
    let patch = Patch::parse(&media_type, &sent.body, call.resource.built_in)?;
    let owner = Ownership::Update(manager(&options, &sent.headers));
    let mut warnings = Vec::new();
    let mut attempts = Attempts::of(call);
    let written = loop {
        let attempt = async {
            let old = stored(server, call).await?;
            let mut value = old.as_value().clone();
            patch.apply(&mut value, &call.version.schema)?;
            let document = Document {
                value,
                duplicates: Vec::new(),
            };
            let mut found = incoming(call, document, options.validation)?;
            metadata::place(call, &mut found.object)?;
            warnings = found.warnings;
            let version = found.object.meta_text("resourceVersion");
            let insists = version != old.meta_text("resourceVersion");
            if insists && !version.is_empty() {
                return Err(changed(call));
            }
            let written = update(server, call, found.object, &old, &owner, options.dry_run).await?;
            warnings.extend(metadata::warnings(call, &written, Some(&old)));
            Ok(written)
        };
        let written = attempt.await;
        if attempts.end_with(&written) {
            break written;
        }
    };
    Ok(told(server, call, StatusCode::OK, written, &warnings))
}

/// Server-side apply: the object is made if it is not there.
async fn apply(server: &ApiServer, call: &Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, Writing::Apply)?;
    let document = Document::from_yaml(body)?;
    let twice = duplicates(call, &document, options.validation)?;
    let mut wanted = unpruned(call, document.value)?;
    if wanted.name().is_empty() {
        let name = call.name.as_deref().unwrap_or_default();
        wanted.set_meta("name", name);
    }
    metadata::place(call, &mut wanted.clone())?;
    let version = wanted.meta_text("resourceVersion").to_owned();
    let wanted = wanted.into_value();
    let (owner, dry_run) = (Ownership::Applied, options.dry_run);
    let mut code = StatusCode::OK;
    let mut warnings = Vec::new();
    let mut attempts = Attempts::of(call);
    let written = loop {
        let attempt = async {
            let old = match stored(server, call).await {
                Ok(old) => Some(old),
                Err(error) if error.code() == StatusCode::NOT_FOUND => None,
                Err(error) => return Err(error),
            };
            let mut object = applied(server, call, &options, old.as_ref(), &wanted)?;
            metadata::place(call, &mut object)?;
            warnings.clone_from(&twice);
            let Some(old) = &old else {
                // As upstream: of what is not there, every version is taken.
                object.meta_mut().remove("resourceVersion");
                server.authorize_creation(call)?;
                code = StatusCode::CREATED;
                let made = begin(server, call, object, &owner, dry_run).await;
                let made = made.map_err(|error| match error.reason() {
                    "AlreadyExists" => changed(call),
                    _ => error,
                })?;
                warnings.extend(metadata::warnings(call, &made, None));
                return Ok(made);
            };
            if !version.is_empty() && version != old.meta_text("resourceVersion") {
                return Err(changed(call));
            }
            code = StatusCode::OK;
            let written = update(server, call, object, old, &owner, dry_run).await?;
            warnings.extend(metadata::warnings(call, &written, Some(old)));
            Ok(written)
        };
        let written = attempt.await;
        if attempts.end_with(&written) {
            break written;
        }
    };
    Ok(told(server, call, code, written, &warnings))
}
