//! The manifest that connects a cluster.

use std::sync::Arc;

use apiserver::error::ApiError;
use http::{Response, StatusCode};
use serde_json::json;

use super::answer;
use crate::edge::{Body, with_type};
use crate::registration::{self, RegistrationError};
use crate::state::App;

const MANIFEST: &str = include_str!("../../../manifests/cluster-agent.yaml");

/// `GET /v3/import/TOKEN.yaml`, with `?image=` for another image of the agent.
pub(crate) async fn import(
    app: &Arc<App>,
    file: &str,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let token = file.strip_suffix(".yaml").unwrap_or_default();
    // Rancher writes the id of the cluster behind the token; it says nothing that we need.
    let token = token.split_once('_').map_or(token, |(token, _)| token);
    let cluster = registration::inspect(app, token).await.map_err(refused)?;
    let image = answer::parameter(query, "image").unwrap_or_else(|| app.config.agent_image.clone());
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    if image.is_empty() || image.len() > 512 || !image.bytes().all(good) {
        return Err(ApiError::bad_request(
            "image is not the name of a container image",
        ));
    }
    let checksum = app.certificates.checksum().unwrap_or_default();
    let manifest = render(&[
        (
            "server",
            app.config.server_url.as_str().trim_end_matches('/'),
        ),
        ("caChecksum", &checksum),
        ("registrationToken", token),
        ("clusterId", cluster.as_str()),
        ("image", &image),
    ]);
    Ok(with_type(StatusCode::OK, "application/yaml", manifest))
}

fn refused(error: RegistrationError) -> ApiError {
    match error {
        RegistrationError::Store(error) => error.into(),
        error => ApiError::new(StatusCode::NOT_FOUND, "NotFound", error.to_string()),
    }
}

/// Fills the places of the manifest. A string in JSON is a quoted scalar in YAML, whatever is in
/// it.
fn render(values: &[(&str, &str)]) -> String {
    let mut manifest = String::with_capacity(MANIFEST.len() + 1024);
    let mut rest = MANIFEST;
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

    #[test]
    fn every_place_is_filled_and_no_value_escapes() {
        let nasty = "\": {}\n---\nkind: \"ClusterRoleBinding\u{2028}' # \\";
        let manifest = render(&[
            ("server", nasty),
            ("caChecksum", ""),
            ("registrationToken", "t"),
            ("clusterId", "c-1"),
            ("image", "i"),
        ]);
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
    fn the_manifest_has_no_place_that_nobody_fills() {
        let known = [
            "server",
            "caChecksum",
            "registrationToken",
            "clusterId",
            "image",
        ];
        for part in MANIFEST.split("{{").skip(1) {
            let place = part.split("}}").next().unwrap();
            assert!(known.contains(&place), "{place}");
        }
    }
}
