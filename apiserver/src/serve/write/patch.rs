//! Patches of an object.

use super::incoming::{duplicates, incoming, unpruned};
use super::ownership::applied;
use super::{ATTEMPTS, Ownership, begin, changed, manager, stored, told, update, warned};
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
    for _ in 0..ATTEMPTS {
        let old = stored(server, call).await?;
        let mut value = old.as_value().clone();
        patch.apply(&mut value, &call.version.schema)?;
        let document = Document {
            value,
            duplicates: Vec::new(),
        };
        let mut found = incoming(call, document, options.validation)?;
        metadata::place(call, &mut found.object)?;
        let version = found.object.meta_text("resourceVersion");
        let insists = version != old.meta_text("resourceVersion");
        if insists && !version.is_empty() {
            return Err(changed(call));
        }
        match update(server, call, found.object, &old, &owner, options.dry_run).await {
            Err(error) if error == changed(call) => {}
            written => {
                let warnings = warned(call, found.warnings, &written, Some(&old));
                return Ok(told(server, call, StatusCode::OK, written, &warnings));
            }
        }
    }
    Err(changed(call))
}

/// Server-side apply: the object is made if it is not there.
async fn apply(server: &ApiServer, call: &Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, Writing::Apply)?;
    let document = Document::from_yaml(body)?;
    let warnings = duplicates(call, &document, options.validation)?;
    let mut wanted = unpruned(call, document.value)?;
    if wanted.name().is_empty() {
        let name = call.name.as_deref().unwrap_or_default();
        wanted.set_meta("name", name);
    }
    metadata::place(call, &mut wanted.clone())?;
    let version = wanted.meta_text("resourceVersion").to_owned();
    let wanted = wanted.into_value();
    let dry_run = options.dry_run;
    for _ in 0..ATTEMPTS {
        let old = match stored(server, call).await {
            Ok(old) => Some(old),
            Err(error) if error.code() == StatusCode::NOT_FOUND => None,
            Err(error) => return Err(error),
        };
        let mut object = applied(server, call, &options, old.as_ref(), &wanted)?;
        metadata::place(call, &mut object)?;
        if old.is_none() {
            // As upstream: of what is not there, every version is taken.
            object.meta_mut().remove("resourceVersion");
        }
        if let Some(old) = &old
            && !version.is_empty()
            && version != old.meta_text("resourceVersion")
        {
            return Err(changed(call));
        }
        let (code, written) = match &old {
            Some(old) => {
                let owner = Ownership::Applied;
                let written = update(server, call, object, old, &owner, dry_run).await;
                (StatusCode::OK, written)
            }
            None => {
                server.authorize_creation(call)?;
                let owner = Ownership::Applied;
                let written = begin(server, call, object, &owner, dry_run).await;
                (StatusCode::CREATED, written)
            }
        };
        match written {
            Err(error) if error == changed(call) || error.reason() == "AlreadyExists" => {}
            written => {
                let warnings = warned(call, warnings, &written, old.as_ref());
                return Ok(told(server, call, code, written, &warnings));
            }
        }
    }
    Err(changed(call))
}
