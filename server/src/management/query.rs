//! The parameters of a request.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use store::Revision;

use crate::edge::ApiError;
use crate::objects::parse_revision;

/// Longest watch, and how long one lasts that does not say.
const WATCH: Duration = Duration::from_secs(1800);

/// The parameters of a request, checked.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) watch: bool,
    pub(super) limit: Option<usize>,
    pub(super) from: Option<Continue>,
    /// Zero and "not given" both mean: whatever is there.
    pub(super) revision: Revision,
    pub(super) exact: bool,
    pub(super) timeout: Duration,
    labels: Vec<Requirement>,
    name: Option<String>,
}

/// Where a list goes on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Continue {
    revision: u64,
    after: String,
}

impl Continue {
    pub(super) fn new(revision: Revision, after: &Bytes) -> Self {
        Self {
            revision: revision.0,
            after: String::from_utf8_lossy(after).into_owned(),
        }
    }

    pub(super) fn encode(&self) -> String {
        // Two plain fields always serialise.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        decoded
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ApiError::bad_request("continue is not a token of this server"))
    }

    /// Revision and key, if the key is in the range that is listed.
    pub(super) fn resume(&self, prefix: &str) -> Result<(Revision, Bytes), ApiError> {
        if !self.after.starts_with(prefix) {
            return Err(ApiError::bad_request(
                "continue is a token for another list",
            ));
        }
        Ok((Revision(self.revision), self.after.clone().into()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Absent(String),
    Is(String, String),
    IsNot(String, String),
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut parsed = Self {
            watch: false,
            limit: None,
            from: None,
            revision: Revision::ZERO,
            exact: false,
            timeout: WATCH,
            labels: Vec::new(),
            name: None,
        };
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number = || {
                let message = format!("{key} must be a number, is {value:?}");
                value
                    .parse::<u64>()
                    .map_err(|_| ApiError::bad_request(message))
            };
            match &*key {
                "watch" => parsed.watch = !matches!(&*value, "0" | "false"),
                "limit" => {
                    let limit = number()?;
                    parsed.limit =
                        (limit > 0).then(|| usize::try_from(limit).unwrap_or(usize::MAX));
                }
                "continue" if !value.is_empty() => parsed.from = Some(Continue::decode(&value)?),
                "resourceVersion" if !value.is_empty() => parsed.revision = parse_revision(&value)?,
                "resourceVersionMatch" => parsed.exact = value == "Exact",
                "timeoutSeconds" => parsed.timeout = Duration::from_secs(number()?).min(WATCH),
                "labelSelector" => parsed.labels = labels(&value)?,
                "fieldSelector" if !value.is_empty() => parsed.name = Some(field(&value)?),
                "dryRun" => {
                    return Err(ApiError::bad_request(
                        "dryRun is not supported by this server",
                    ));
                }
                "sendInitialEvents" if value == "true" => {
                    let message = "sendInitialEvents is not supported by this server";
                    return Err(ApiError::invalid(message));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether the selectors choose an object.
    pub(super) fn selects(&self, meta: &ObjectMeta) -> bool {
        if self.name.is_some() && self.name != meta.name {
            return false;
        }
        let label = |key: &String| meta.labels.as_ref().and_then(|labels| labels.get(key));
        self.labels.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
            Requirement::Is(key, value) => label(key) == Some(value),
            Requirement::IsNot(key, value) => label(key) != Some(value),
        })
    }
}

fn labels(selector: &str) -> Result<Vec<Requirement>, ApiError> {
    let parts = selector
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            if part.contains(['(', ')', '<', '>', ' ']) {
                let message = "only key, !key, key=value and key!=value are supported";
                return Err(ApiError::bad_request(format!(
                    "labelSelector {part:?}: {message}"
                )));
            }
            Ok(if let Some((key, value)) = part.split_once("!=") {
                Requirement::IsNot(key.to_owned(), value.to_owned())
            } else if let Some((key, value)) = part.split_once('=') {
                let value = value.strip_prefix('=').unwrap_or(value);
                Requirement::Is(key.to_owned(), value.to_owned())
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Absent(key.to_owned())
            } else {
                Requirement::Exists(part.to_owned())
            })
        })
        .collect()
}

fn field(selector: &str) -> Result<String, ApiError> {
    let name = selector.strip_prefix("metadata.name=");
    let name = name.map(|name| name.trim_start_matches('='));
    match name.filter(|name| !name.contains([',', '!'])) {
        Some(name) => Ok(name.to_owned()),
        None => {
            let message =
                format!("fieldSelector {selector:?}: only metadata.name=NAME is supported");
            Err(ApiError::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(query: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        let meta = ObjectMeta {
            name: Some("a".into()),
            labels: Some(labels.collect()),
            ..ObjectMeta::default()
        };
        Query::parse(Some(query)).unwrap().selects(&meta)
    }

    #[test]
    fn selectors_choose() {
        let labels = [("env", "prod")];
        for (query, expected) in [
            ("labelSelector=env%3Dprod", true),
            ("labelSelector=env%3D%3Dprod,env", true),
            ("labelSelector=env!%3Dprod", false),
            ("labelSelector=!env", false),
            ("labelSelector=other!%3Dx", true),
            ("fieldSelector=metadata.name%3Da", true),
            ("fieldSelector=metadata.name%3Db", false),
        ] {
            assert_eq!(selects(query, &labels), expected, "{query}");
        }
        for bad in [
            "labelSelector=env+in+(a)",
            "fieldSelector=x%3Dy",
            "limit=x",
            "dryRun=All",
        ] {
            assert!(Query::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_continue_token_is_for_its_own_list() {
        let token = Continue::new(Revision(7), &Bytes::from("/objects/users/u-1")).encode();
        let query = Query::parse(Some(&format!("continue={token}"))).unwrap();
        let from = query.from.unwrap();
        assert_eq!(from.resume("/objects/users/").unwrap().0, Revision(7));
        assert!(from.resume("/objects/tokens/").is_err());
        assert!(Query::parse(Some("continue=!!")).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(query: String) {
            let _ = Query::parse(Some(&query));
        }
    }
}
