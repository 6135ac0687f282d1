//! Patches: what a client wants changed, and what comes of it.

use crate::body::Document;
use crate::error::ApiError;
use crate::schema::Schema;
use crate::strategic_merge;
use http::StatusCode;
use serde_json::Value;
use std::fmt::Display;

mod json;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// The patch that is no change but what somebody wants: see [`crate::apply`].
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// What to change.
#[derive(Clone, Debug)]
pub enum Patch {
    /// Operations, one after the other (RFC 6902).
    Json(json_patch::Patch),
    /// A part of the object as it is to be (RFC 7396).
    Merge(Value),
    /// The same, with lists that are merged by keys.
    Strategic(Value),
}

impl Patch {
    /// Parses the body of a request. `built_in`: of a kind whose lists can be merged.
    ///
    /// # Errors
    /// 415 for other media types, 400 for what does not parse, 413 for too many operations.
    pub fn parse(media_type: &str, body: &[u8], built_in: bool) -> Result<Self, ApiError> {
        match media_type {
            JSON_PATCH => json::parse(body).map(Self::Json),
            MERGE_PATCH => Ok(Self::Merge(object_patch(body)?)),
            STRATEGIC_PATCH if built_in => Ok(Self::Strategic(object_patch(body)?)),
            _ => {
                let mut understood = vec![JSON_PATCH, MERGE_PATCH, APPLY_PATCH];
                if built_in {
                    understood.insert(2, STRATEGIC_PATCH);
                }
                Err(ApiError::unsupported_media_type(&understood))
            }
        }
    }

    /// Changes `value`, which is undefined if that fails.
    ///
    /// # Errors
    /// When the patch does not fit the value, or would make too much of it.
    pub fn apply(&self, value: &mut Value, schema: &Schema) -> Result<(), ApiError> {
        match self {
            Self::Json(patch) => json::apply(value, patch),
            Self::Merge(patch) => {
                json_patch::merge(value, patch);
                Ok(())
            }
            Self::Strategic(patch) => {
                let merged = strategic_merge::apply(value.take(), patch.clone(), schema);
                *value = merged.map_err(|error| refused(&error))?;
                Ok(())
            }
        }
    }
}

/// A strategic merge patch that is wrong in itself, or does not fit the object.
fn refused(error: &strategic_merge::Error) -> ApiError {
    use strategic_merge::Error;
    match error {
        Error::PrimitiveList | Error::RetainKeys | Error::SetElementOrder => {
            ApiError::bad_request(error.to_string())
        }
        _ => unfit(error),
    }
}

/// 422: the patch is one, but does not fit the object.
fn unfit(error: &dyn Display) -> ApiError {
    let code = StatusCode::UNPROCESSABLE_ENTITY;
    ApiError::new(code, "Invalid", error.to_string())
}

/// 400: the patch is none.
fn undecodable(error: &dyn Display) -> ApiError {
    ApiError::bad_request(format!("error decoding patch: {error}"))
}

/// A patch that has the form of the object.
fn object_patch(body: &[u8]) -> Result<Value, ApiError> {
    let document: Document = serde_json::from_slice(body).map_err(|error| undecodable(&error))?;
    match document.value {
        patch @ Value::Object(_) => Ok(patch),
        _ => Err(undecodable(&"it is not an object")),
    }
}
