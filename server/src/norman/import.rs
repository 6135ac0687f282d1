//! The manifest that connects a cluster.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Response, StatusCode};
use lariat_api::Cluster;
use serde_json::json;

use super::answer;
use crate::edge::{Body, with_type};
use crate::registration::{self, RegistrationError};
use crate::state::App;

const AGENT: &str = include_str!("../../../manifests/cluster-agent.yaml");
const ENDPOINT: &str = include_str!("../../../manifests/kube-api-auth.yaml");

/// `GET /v3/import/TOKEN.yaml`, with `?image=` and `?authImage=` for other images of the agent and the token
/// webhook, and `?endpoint=` for or against the authorized endpoint, whatever the Cluster says of it.
pub(crate) async fn import(
    app: &Arc<App>,
    file: &str,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let token = file.strip_suffix(".yaml").unwrap_or_default();
    // Rancher writes the id of the cluster behind the token; it says nothing that we need.
    let token = token.split_once('_').map_or(token, |(token, _)| token);
    let cluster = registration::inspect(app, token).await.map_err(refused)?;
    let found = app.directory.cluster(&cluster);
    let found = found.as_deref();
    let checksum = app.certificates.checksum().unwrap_or_default();
    let server = app.config.server_url.as_str().trim_end_matches('/');
    let agent = image(query, "image", &app.config.agent_image)?;
    let mut manifest = render(
        AGENT,
        &[
            ("server", server),
            ("caChecksum", &checksum),
            ("registrationToken", token),
            ("clusterId", cluster.as_str()),
            ("image", &agent),
            ("impersonation", impersonation(found)),
        ],
    );
    if has_endpoint(found, query)? {
        let webhook = image(query, "authImage", &app.config.auth_image)?;
        manifest.push_str("---\n");
        manifest.push_str(&render(ENDPOINT, &[("image", &webhook)]));
    }
    Ok(with_type(StatusCode::OK, "application/yaml", manifest))
}

/// An image that a query asks for, or the usual one.
fn image(query: Option<&str>, parameter: &str, usual: &str) -> Result<String, ApiError> {
    let image = answer::parameter(query, parameter).unwrap_or_else(|| usual.to_owned());
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if image.is_empty() || image.len() > 512 || !image.bytes().all(good) {
        let message = format!("{parameter} is not the name of a container image");
        return Err(ApiError::bad_request(message));
    }
    Ok(image)
}

/// Whether the manifest is for a cluster with an authorized endpoint.
fn has_endpoint(cluster: Option<&Cluster>, query: Option<&str>) -> Result<bool, ApiError> {
    match answer::parameter(query, "endpoint").as_deref() {
        None => Ok(cluster.is_some_and(|cluster| cluster.endpoint().is_some())),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(ApiError::bad_request("endpoint must be true or false")),
    }
}

/// The verb by which the agent may impersonate users where the API server does not constrain it: the verb of those that
/// do once more, if that is to be the only one.
fn impersonation(cluster: Option<&Cluster>) -> &'static str {
    match cluster.is_some_and(|cluster| cluster.spec.constrained_impersonation) {
        true => "impersonate:user-info",
        false => "impersonate",
    }
}

fn refused(error: RegistrationError) -> ApiError {
    match error {
        RegistrationError::Store(error) => error.into(),
        error => ApiError::new(StatusCode::NOT_FOUND, "NotFound", error.to_string()),
    }
}

/// Fills the places of a manifest. A string in JSON is a quoted scalar in YAML, whatever is in it.
fn render(template: &str, values: &[(&str, &str)]) -> String {
    let mut manifest = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((place, after)) = after.split_once("}}") else {
            break;
        };
        manifest.push_str(before);
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == place) {
            manifest.push_str(&json!(value).to_string());
        }
        rest = after;
    }
    manifest.push_str(rest);
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute};
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn every_place_is_filled_and_no_value_escapes() {
        let nasty = "\": {}\n---\nkind: \"ClusterRoleBinding\u{2028}' # \\";
        let values = [
            ("server", nasty),
            ("caChecksum", ""),
            ("registrationToken", "t"),
            ("clusterId", "c-1"),
            ("image", "i"),
            ("impersonation", "impersonate"),
        ];
        let manifest = render(AGENT, &values);
        assert!(!manifest.contains("{{"));
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&manifest).unwrap();
        assert!(documents.len() >= 8, "{}", documents.len());
        let secret = documents
            .iter()
            .find(|document| document["kind"] == "Secret")
            .unwrap();
        assert_eq!(secret["stringData"]["server"], nasty);
        assert_eq!(secret["stringData"]["token"], "t");
        for document in &documents {
            assert!(document["apiVersion"].is_string() && document["kind"].is_string());
        }
    }

    #[test]
    fn the_manifests_have_no_place_that_nobody_fills() {
        let places = |template: &'static str| {
            let parts = template.split("{{").skip(1);
            parts.map(|part| part.split("}}").next().unwrap())
        };
        let known = [
            "server",
            "caChecksum",
            "registrationToken",
            "clusterId",
            "image",
            "impersonation",
        ];
        for place in places(AGENT) {
            assert!(known.contains(&place), "{place}");
        }
        assert_eq!(places(ENDPOINT).collect::<Vec<_>>(), ["image"]);
    }

    /// Nobody has them made by hand: the schemas must have every field that is written.
    #[test]
    fn the_definitions_have_the_fields_of_the_kinds() {
        let token = ClusterAuthToken {
            user_name: "u-1".to_owned(),
            enabled: true,
            hash: "$2::x".to_owned(),
            expires_at: "2026-01-01T00:00:00Z".to_owned(),
            ..ClusterAuthToken::default()
        };
        let user = ClusterUserAttribute {
            enabled: true,
            groups: vec!["g".to_owned()],
            extra_by_provider: [("local".to_owned(), [("k".to_owned(), vec![])].into())].into(),
            ..ClusterUserAttribute::default()
        };
        let manifest = render(ENDPOINT, &[("image", "i")]);
        let documents: Vec<Value> = serde_saphyr::from_multiple(&manifest).unwrap();
        for (kind, object) in [
            ("ClusterAuthToken", json!(token)),
            ("ClusterUserAttribute", json!(user)),
        ] {
            let definition = (documents.iter())
                .find(|document| document["spec"]["names"]["kind"] == kind)
                .unwrap();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let fields = |object: &Value| -> BTreeSet<String> {
                object.as_object().unwrap().keys().cloned().collect()
            };
            let mut written = fields(&object);
            for field in ["apiVersion", "kind", "metadata"] {
                written.remove(field);
            }
            assert_eq!(fields(&schema["properties"]), written, "{kind}");
        }
    }
}
