//! Requests of the server itself.

use super::{ApiServer, User};
use crate::error::ApiError;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

impl ApiServer {
    /// The answer to a request of the server itself.
    ///
    /// # Errors
    /// What anybody would be told.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let media_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, media_type)
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(ApiError::internal)?;
        // Boxed, as what is asked may ask again.
        let answer: BoxFuture<'_, _> = Box::pin(self.answer(User::server(), request));
        let (mut parts, body) = answer.await.into_parts();
        if let Some(error) = parts.extensions.remove::<ApiError>() {
            if let Some(log) = error.log() {
                tracing::error!(path, "{log}");
            }
            return Err(error);
        }
        let Ok(body) = body.collect().await;
        serde_json::from_slice(&body.to_bytes()).map_err(ApiError::internal)
    }
}

/// Whether what was to be changed or deleted is so, or is gone.
pub(crate) fn is_settled(answer: &Result<Value, ApiError>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => error.code() == StatusCode::NOT_FOUND,
    }
}
