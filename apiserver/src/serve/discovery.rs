//! What is served: discovery and OpenAPI.

use super::{ApiServer, Body, answer};
use crate::discovery;
use crate::error::ApiError;
use http::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

/// The form of discovery that kubectl prefers.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl ApiServer {
    /// Answers what is served.
    pub(super) fn describe(
        &self,
        path: &str,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let registry = self.registry();
        let aggregated = wants_aggregated(headers);
        let segments: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let ["openapi", path @ ..] = segments.as_slice() {
            let found = self.openapi.answer(&registry, path, query, headers);
            return found.unwrap_or_else(|| Err(ApiError::no_such_path()));
        }
        let found = match segments.as_slice() {
            ["api"] if aggregated => Some(discovery::aggregated(&registry, true)),
            ["apis"] if aggregated => Some(discovery::aggregated(&registry, false)),
            ["api"] => Some(discovery::core_versions(&registry)),
            ["apis"] => Some(discovery::groups(&registry)),
            ["api", version] => discovery::resources(&registry, "", version),
            ["apis", group] => discovery::group(&registry, group),
            ["apis", group, version] => discovery::resources(&registry, group, version),
            _ => None,
        };
        let found = found.ok_or_else(ApiError::no_such_path)?;
        let (media_type, caching) = match found["kind"].as_str() {
            Some("APIGroupDiscoveryList") => (AGGREGATED, "public"),
            _ => ("application/json", "no-cache, private"),
        };
        let body = Body::whole(found.to_string());
        let mut answer = answer::typed(StatusCode::OK, media_type, body);
        let caching = HeaderValue::from_static(caching);
        answer.headers_mut().insert(CACHE_CONTROL, caching);
        Ok(answer)
    }
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter();
    let mut choices = accept
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    choices.any(|choice| {
        let parts: Vec<_> = choice.split(';').map(str::trim).collect();
        ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"]
            .iter()
            .all(|wanted| parts.contains(wanted))
    })
}
