//! OpenAPI over HTTP: the form that the client takes, and nothing again that it has.

use super::{Body, answer};
use crate::error::ApiError;
use crate::media;
use crate::openapi::{Document, Documents};
use crate::registry::Registry;
use http::header::{
    CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, InvalidHeaderValue, LOCATION, VARY,
};
use http::{HeaderMap, Response, StatusCode};
use std::sync::{Arc, PoisonError, RwLock};

const JSON: &str = "application/json";

/// Version 2 as protobuf, as it is called now and as kubectl asks for it.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

/// The documents of the registry that was asked for last.
#[derive(Debug)]
pub(super) struct OpenApi(RwLock<Arc<Documents>>);

impl OpenApi {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self(RwLock::new(Arc::new(Documents::new(registry))))
    }

    fn documents(&self, registry: &Arc<Registry>) -> Arc<Documents> {
        let found = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        if found.are_of(registry) {
            return found;
        }
        let mut latest = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !latest.are_of(registry) {
            *latest = Arc::new(Documents::new(Arc::clone(registry)));
        }
        Arc::clone(&latest)
    }

    /// The answer at `/openapi/PATH`; `None` where there is nothing.
    pub(super) fn answer(
        &self,
        registry: &Arc<Registry>,
        path: &[&str],
        query: &str,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, ApiError>> {
        let documents = self.documents(registry);
        match path {
            ["v2"] => {
                let offered = [JSON, V2_PROTOBUF[0], V2_PROTOBUF[1]];
                Some(
                    media::best(headers, &offered).and_then(|found| match found {
                        JSON => sent(documents.v2(), JSON, headers),
                        _ => sent(documents.v2_protobuf(), V2_PROTOBUF[0], headers),
                    }),
                )
            }
            ["v3"] => {
                let index = documents.index();
                Some(media::best(headers, &[JSON]).and_then(|_| sent(index, JSON, headers)))
            }
            ["v3", version @ ..] => {
                let version = version.join("/");
                let document = documents.version(&version)?;
                Some(
                    media::best(headers, &[JSON])
                        .and_then(|_| hashed(document, &version, query, headers)),
                )
            }
            _ => None,
        }
    }
}

/// A document whose address names its hash never changes: the client may keep it. An address with
/// the hash of an earlier one leads to the present one.
fn hashed(
    document: &Document,
    version: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let wanted = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "hash" && !value.is_empty());
    let Some((_, hash)) = wanted else {
        return sent(document, JSON, headers);
    };
    if hash != document.hash {
        let mut response = Response::new(Body::whole(""));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = format!("/openapi/v3/{version}?hash={}", document.hash);
        let location = HeaderValue::try_from(location).map_err(|error| no_header(&error))?;
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let mut response = sent(document, JSON, headers)?;
    let for_a_year = HeaderValue::from_static("public, immutable, max-age=31536000");
    response.headers_mut().insert(CACHE_CONTROL, for_a_year);
    Ok(response)
}

fn sent(
    document: &Document,
    media_type: &'static str,
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let tag = format!("\"{}\"", document.hash);
    let mut response = match has(headers, &tag) {
        true => {
            let mut response = Response::new(Body::whole(""));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => {
            let body = Body::whole(document.bytes.clone());
            answer::typed(StatusCode::OK, media_type, body)
        }
    };
    let tag = HeaderValue::try_from(tag).map_err(|error| no_header(&error))?;
    response.headers_mut().insert(ETAG, tag);
    let vary = HeaderValue::from_static("Accept");
    response.headers_mut().insert(VARY, vary);
    Ok(response)
}

/// Whether the client has what is tagged so.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = tags
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|found| found == "*" || found.strip_prefix("W/").unwrap_or(found) == tag)
}

fn no_header(error: &InvalidHeaderValue) -> ApiError {
    ApiError::internal(format!("a header of an OpenAPI document: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use http::header::ACCEPT;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    fn ask(path: &str, headers: &[(http::HeaderName, &str)]) -> Response<Body> {
        let mut registry = Registry::default();
        for resource in builtin::resources() {
            registry.insert(resource);
        }
        let registry = Arc::new(registry);
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path: Vec<_> = path.split('/').collect();
        let openapi = OpenApi::new(Arc::clone(&registry));
        let answer = openapi.answer(&registry, &path, query, &headers.collect());
        let answer = answer.unwrap_or_else(|| Err(ApiError::no_such_path()));
        answer.unwrap_or_else(answer::failure)
    }

    async fn json(response: Response<Body>) -> Value {
        let body = response.into_body().collect().await.unwrap();
        serde_json::from_slice(&body.to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_index_leads_to_documents_that_may_be_kept() {
        let index = json(ask("v3", &[])).await;
        let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str();
        let path = url.unwrap().strip_prefix("/openapi/").unwrap();
        let response = ask(path, &[(ACCEPT, "application/json")]);
        assert!(
            response.headers()[CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        let document = json(response).await;
        let secret = &document["components"]["schemas"]["io.k8s.api.core.v1.Secret"];
        assert_eq!(
            secret["x-kubernetes-group-version-kind"][0]["kind"],
            "Secret"
        );
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/secrets/{name}"]["patch"];
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(
            parameters
                .iter()
                .any(|one| one["name"] == "fieldValidation")
        );
        assert_eq!(ask(path, &[(IF_NONE_MATCH, &tag)]).status(), 304);
        assert_eq!(ask(path, &[(IF_NONE_MATCH, "\"x\"")]).status(), 200);
        let moved = ask("v3/api/v1?hash=OLD", &[]);
        assert_eq!(moved.status(), 301);
        assert_eq!(moved.headers()[LOCATION], *url.unwrap());
    }

    #[test]
    fn a_client_gets_a_form_that_it_takes() {
        let answered = |path: &str, accept: &str| {
            let response = ask(path, &[(ACCEPT, accept)]);
            let kind = response.headers()["content-type"].to_str().unwrap();
            (response.status().as_u16(), kind.to_owned())
        };
        let kubectl = answered("v2", V2_PROTOBUF[1]);
        assert_eq!(kubectl, (200, V2_PROTOBUF[0].to_owned()));
        assert_eq!(answered("v2", "*/*"), (200, JSON.to_owned()));
        assert_eq!(answered("v3/api/v1", "application/cbor").0, 406);
        assert_eq!(answered("v3/apis/nobody.org/v1", JSON).0, 404);
        assert_eq!(answered("v4", JSON).0, 404);
    }
}
