//! Patches of an object.

use super::ownership::applied;
use super::{ATTEMPTS, Ownership, begin, changed, incoming, manager, stored, update, warned};
use crate::body::{Document, media_type};
use crate::error::ApiError;
use crate::patch::{APPLY_PATCH, Patch};
use crate::request::WriteOptions;
use crate::serve::{ApiServer, Body, Call, Sent, metadata, read};
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
    let options = WriteOptions::parse(&call.query, false)?;
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
            Err(error) => return Err(error),
            Ok(written) => {
                let response = read::one(server, call, StatusCode::OK, written);
                return Ok(warned(response, &found.warnings));
            }
        }
    }
    Err(changed(call))
}

/// Server-side apply: the object is made if it is not there.
async fn apply(server: &ApiServer, call: &Call, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, true)?;
    let mut config = incoming(call, Document::from_yaml(body)?, options.validation)?;
    if config.object.name().is_empty() {
        let name = call.name.as_deref().unwrap_or_default();
        config.object.set_meta("name", name);
    }
    metadata::place(call, &mut config.object)?;
    let wanted = config.object.into_value();
    let dry_run = options.dry_run;
    for _ in 0..ATTEMPTS {
        let old = match stored(server, call).await {
            Ok(old) => Some(old),
            Err(error) if error.code() == StatusCode::NOT_FOUND => None,
            Err(error) => return Err(error),
        };
        let object = applied(server, call, &options, old.as_ref(), &wanted)?;
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
            Err(error) => return Err(error),
            Ok(written) => {
                let response = read::one(server, call, code, written);
                return Ok(warned(response, &config.warnings));
            }
        }
    }
    Err(changed(call))
}
