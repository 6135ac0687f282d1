//! Logins that lead through another site: what binds their end to their beginning is in a sealed cookie
//! of the browser that began them. The server keeps nothing, and nobody finishes a login for another.

use apiserver::error::ApiError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use lariat_api::AuthConfigType;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::authn::provider::FlowSecrets;
use crate::authn::session;
use crate::random;

/// How long somebody has to log in at the other site.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// No other host can set a cookie of such a name.
const COOKIE: &str = "__Host-lariat-login";

/// What sealed cookies are for.
const PURPOSE: &[u8] = b"lariat login flow";

/// Seals and opens flows. The key is made at the start: a flow ends with the server.
#[derive(Debug)]
pub struct Flows(RandomizedNonceKey);

/// A login that began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Name of the provider's AuthConfig.
    pub(crate) provider: String,
    pub(crate) secrets: FlowSecrets,
    pub(crate) purpose: Purpose,
    expires_at: Timestamp,
}

/// What somebody logs in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To be logged in, and go on to that path of this server.
    Session { next: String },
    /// To show that settings work, which are not in use yet.
    Test,
}

/// A login cannot be finished by who tries to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this login began in another browser, or too long ago; log in again")]
pub(crate) struct NotBegunHere;

impl From<NotBegunHere> for ApiError {
    fn from(error: NotBegunHere) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", error.to_string())
    }
}

impl Default for Flows {
    fn default() -> Self {
        let mut key = [0; 32];
        random::fill(&mut key);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key);
        Self(key.expect("a key of 32 bytes is one of AES-256"))
    }
}

impl Flow {
    /// One that begins now.
    pub(crate) fn new(provider: AuthConfigType, purpose: Purpose, now: Timestamp) -> Self {
        Self {
            provider: provider.name().to_owned(),
            secrets: FlowSecrets::generate(),
            purpose,
            expires_at: now + GOOD_FOR,
        }
    }
}

impl Flows {
    /// The cookie that holds a flow.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(crate) fn cookie(&self, flow: &Flow) -> Result<HeaderValue, ApiError> {
        let mut sealed = serde_json::to_vec(flow).map_err(ApiError::internal)?;
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(PURPOSE), &mut sealed)
            .map_err(|_| ApiError::internal("a login cannot be sealed"))?;
        sealed.extend_from_slice(nonce.as_ref());
        let text = URL_SAFE_NO_PAD.encode(sealed);
        let age = GOOD_FOR.as_secs();
        // Lax: it comes back with the browser, from another site.
        let cookie =
            format!("{COOKIE}={text}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={age}");
        HeaderValue::try_from(cookie).map_err(ApiError::internal)
    }

    /// The flow that the browser began which sends these headers, if it comes back with its `state`.
    ///
    /// # Errors
    /// When it began none, or another, or too long ago.
    pub(crate) fn resume(
        &self,
        headers: &HeaderMap,
        state: &str,
        now: Timestamp,
    ) -> Result<Flow, NotBegunHere> {
        let cookie = session::cookie(headers, COOKIE).ok().flatten();
        let flow = cookie
            .and_then(|text| self.open(text))
            .ok_or(NotBegunHere)?;
        let same = flow.secrets.state.as_bytes().ct_eq(state.as_bytes());
        match flow.expires_at > now && bool::from(same) {
            true => Ok(flow),
            false => Err(NotBegunHere),
        }
    }

    fn open(&self, text: &str) -> Option<Flow> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let nonce = sealed.split_off(sealed.len().checked_sub(NONCE_LEN)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::from(PURPOSE), &mut sealed);
        serde_json::from_slice(plain.ok()?).ok()
    }
}

/// What makes a browser forget the flow.
pub(crate) fn forget() -> HeaderValue {
    HeaderValue::from_static(
        "__Host-lariat-login=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::COOKIE as HEADER;

    fn sent(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(HEADER, pair.parse().unwrap())])
    }

    fn begun(now: Timestamp) -> Flow {
        let purpose = Purpose::Session { next: "/x".into() };
        Flow::new(AuthConfigType::Oidc, purpose, now)
    }

    #[test]
    fn a_flow_ends_in_the_browser_that_began_it() {
        let (flows, now) = (Flows::default(), Timestamp::UNIX_EPOCH);
        let flow = begun(now);
        let cookie = flows.cookie(&flow).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(!cookie.contains(&flow.secrets.state));
        let state = flow.secrets.state.as_str();
        let resumed = flows.resume(&sent(cookie), state, now).unwrap();
        assert_eq!(resumed.secrets.verifier, flow.secrets.verifier);
        assert_eq!(resumed.purpose, flow.purpose);

        let refused = |headers: &HeaderMap, state: &str, now| {
            assert_eq!(flows.resume(headers, state, now).unwrap_err(), NotBegunHere);
        };
        refused(&HeaderMap::new(), state, now);
        refused(&sent(cookie), "another", now);
        refused(&sent(cookie), "", now);
        refused(&sent(cookie), state, now + GOOD_FOR);
        let other = flows.cookie(&begun(now)).unwrap();
        refused(&sent(other.to_str().unwrap()), state, now);
        let foreign = Flows::default().cookie(&flow).unwrap();
        refused(&sent(foreign.to_str().unwrap()), state, now);
        for broken in ["", "x", "AAAA", &"A".repeat(200)] {
            refused(&sent(&format!("{COOKIE}={broken}")), state, now);
        }
    }
}
