//! The token with which a list goes on.

use crate::error::ApiError;
use crate::keys;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Where a list goes on: an opaque token to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continue {
    #[serde(rename = "v")]
    version: String,
    /// The revision of the list; -1 for whatever is there now.
    #[serde(rename = "rv")]
    revision: i64,
    /// The last key that was listed, below the root of all.
    #[serde(rename = "start")]
    after: String,
}

impl Continue {
    const VERSION: &'static str = "meta.k8s.io/v1";

    /// Goes on behind the key `after`: as of `revision`, or with whatever is there now.
    #[must_use]
    pub fn new(revision: Option<u64>, after: &str) -> Self {
        Self {
            version: Self::VERSION.to_owned(),
            revision: revision.map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX)),
            after: after.strip_prefix(keys::ROOT).unwrap_or(after).to_owned(),
        }
    }

    /// The revision of the list; `None` for whatever is there now.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        u64::try_from(self.revision).ok()
    }

    /// The last key that was listed.
    ///
    /// # Errors
    /// 400 for the token of another list than the one of the keys that begin with `prefix`.
    pub fn after(&self, prefix: &str) -> Result<String, ApiError> {
        let key = format!("{}{}", keys::ROOT, self.after);
        if key.starts_with(prefix) {
            return Ok(key);
        }
        Err(Self::invalid("it is of another list"))
    }

    /// 400: the token was not made here, or not for this.
    #[must_use]
    pub fn invalid(why: &str) -> ApiError {
        ApiError::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    }

    /// The token.
    #[must_use]
    pub fn encode(&self) -> String {
        // Three plain fields always serialise.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a token.
    ///
    /// # Errors
    /// 400 for what is none.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let text = text.trim_end_matches('=');
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|error| Self::invalid(&error.to_string()))?;
        let token = serde_json::from_slice(&bytes);
        let token: Self = token.map_err(|error| Self::invalid(&error.to_string()))?;
        if token.version != Self::VERSION {
            let why = "server does not recognize this encoded version";
            return Err(Self::invalid(&format!("{why} {}", token.version)));
        }
        if token.revision == 0 || token.revision < -1 {
            return Err(Self::invalid("incorrect encoded start resourceVersion"));
        }
        if token.after.is_empty() {
            let why = format!("encoded start key empty (version {})", Self::VERSION);
            return Err(Self::invalid(&why));
        }
        let mut parts = token.after.split('/');
        if parts.any(|part| matches!(part, "." | "..")) {
            return Err(Self::invalid(&token.after));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ListOptions;

    #[test]
    fn a_token_comes_back() {
        let token = Continue::new(Some(7), "/registry/core/secrets/default/a");
        let options = ListOptions::parse(&format!("continue={}", token.encode())).unwrap();
        assert_eq!(options.continues, Some(token.clone()));
        let key = token.after("/registry/core/secrets/").unwrap();
        assert_eq!(key, "/registry/core/secrets/default/a");
        let other = token.after("/registry/core/secrets/other/").unwrap_err();
        assert_eq!(other.code(), 400);
        assert_eq!(Continue::new(None, "a").revision(), None);
        let query = format!("continue={}&resourceVersion=7", token.encode());
        assert!(ListOptions::parse(&query).is_err());
    }

    #[test]
    fn a_token_of_no_revision_is_refused() {
        for revision in [0, -2] {
            let token = Continue {
                revision,
                ..Continue::new(None, "/registry/core/secrets/a")
            };
            let refused = Continue::decode(&token.encode()).unwrap_err();
            assert!(refused.message().contains("resourceVersion"), "{refused}");
        }
    }
}
