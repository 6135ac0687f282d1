//! Patches of an object.

use super::ownership::applied;
use super::{ATTEMPTS, Ownership, begin, changed, incoming, manager, stored, update, warned};
use crate::body::{Document, media_type};
use crate::error::ApiError;
use crate::request::WriteOptions;
use crate::schema::Schema;
use crate::serve::{ApiServer, Body, Call, Sent, metadata, read};
use crate::strategic_merge;
use http::{Response, StatusCode};
use serde_json::Value;

/// Most operations of a JSON patch.
const MAX_OPERATIONS: usize = 10_000;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// What to change.
enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

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

impl Patch {
    /// `built_in`: of a kind whose lists can be merged.
    fn parse(media_type: &str, body: &[u8], built_in: bool) -> Result<Self, ApiError> {
        match media_type {
            JSON_PATCH => {
                let patch: json_patch::Patch = serde_json::from_slice(body)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
                if patch.0.len() > MAX_OPERATIONS {
                    let message = format!(
                        "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.0.len()
                    );
                    return Err(ApiError::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "RequestEntityTooLarge",
                        message,
                    ));
                }
                Ok(Self::Json(patch))
            }
            MERGE_PATCH => Ok(Self::Merge(Document::from_json(body)?.value)),
            STRATEGIC_PATCH if built_in => Ok(Self::Strategic(Document::from_json(body)?.value)),
            other => {
                let mut understood = vec![JSON_PATCH, MERGE_PATCH, APPLY_PATCH];
                if built_in {
                    understood.insert(2, STRATEGIC_PATCH);
                }
                Err(ApiError::unsupported_media_type(other, &understood))
            }
        }
    }

    fn apply(&self, value: &mut Value, schema: &Schema) -> Result<(), ApiError> {
        match self {
            Self::Json(patch) => json_patch::patch(value, patch).map_err(|error| {
                let code = StatusCode::UNPROCESSABLE_ENTITY;
                ApiError::new(code, "Invalid", error.to_string())
            }),
            Self::Merge(patch) => {
                json_patch::merge(value, patch);
                Ok(())
            }
            Self::Strategic(patch) => {
                let merged = strategic_merge::apply(value.take(), patch.clone(), schema);
                *value = merged.map_err(|error| unfit(&error))?;
                Ok(())
            }
        }
    }
}

/// A strategic merge patch that is wrong in itself, or does not fit the object.
fn unfit(error: &strategic_merge::Error) -> ApiError {
    use strategic_merge::Error;
    let message = error.to_string();
    match error {
        Error::PrimitiveList | Error::RetainKeys | Error::SetElementOrder => {
            ApiError::bad_request(message)
        }
        _ => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message),
    }
}
