//! The authorization code grant of OAuth 2 (RFC 6749) with PKCE (RFC 7636), as a client of one provider.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, Response, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;
use url::form_urlencoded::{self, Serializer};

use super::LoginError;
use super::http::Http;
use super::redirect::FlowSecrets;

const FORM: &str = "application/x-www-form-urlencoded";

/// A client of one provider.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: SecretString,
    /// Where browsers are sent.
    pub(super) authorization: Url,
    /// Where codes become tokens.
    pub(super) token: Url,
    /// Where browsers are sent back to.
    pub(super) redirect: Url,
    /// Whether the secret is shown in the form of a request, and not as Basic.
    pub(super) secret_in_form: bool,
}

/// What a provider gives.
#[derive(Debug, Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    #[serde(default)]
    pub(super) refresh_token: Option<SecretString>,
    #[serde(default)]
    pub(super) id_token: Option<String>,
}

/// What a provider says to a request for tokens.
#[derive(Debug)]
pub(super) enum Said {
    Tokens(Tokens),
    /// The code or the refresh token is not, or no longer, good.
    NotGood(String),
}

/// An error of RFC 6749, section 5.2. GitHub says it with the status 200.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Client {
    /// Where to send a browser, asking for that scope and `more`.
    pub(super) fn authorize(
        &self,
        secrets: &FlowSecrets,
        scope: &str,
        more: &[(&str, &str)],
    ) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.as_bytes()));
        let mut url = self.authorization.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.id)
            .append_pair("redirect_uri", self.redirect.as_str())
            .append_pair("scope", scope)
            .append_pair("state", &secrets.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        url
    }

    /// Gives a code for tokens. The code is good once.
    ///
    /// # Errors
    /// When the provider does not answer, or does not know this client.
    pub(super) async fn redeem(
        &self,
        http: &Http,
        code: &SecretString,
        secrets: &FlowSecrets,
    ) -> Result<Tokens, LoginError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", self.redirect.as_str()),
            ("code_verifier", &secrets.verifier),
        ];
        match self
            .ask(http, &fields, "redeem the code of a login")
            .await?
        {
            Said::Tokens(tokens) => Ok(tokens),
            Said::NotGood(reason) => Err(LoginError::Refused { reason }),
        }
    }

    /// Gives a refresh token for fresh tokens. It may be good once.
    ///
    /// # Errors
    /// When the provider does not answer, or does not know this client.
    pub(super) async fn refresh(&self, http: &Http, token: &str) -> Result<Said, LoginError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.ask(http, &fields, "ask about somebody again").await
    }

    async fn ask(
        &self,
        http: &Http,
        fields: &[(&str, &str)],
        step: &'static str,
    ) -> Result<Said, LoginError> {
        let request = self.request(fields)?;
        let answer = http.send(request).await;
        said(&answer.map_err(|error| error.during(step))?, step)
    }

    /// A request for tokens, with the secret of this client.
    fn request(&self, fields: &[(&str, &str)]) -> Result<Request<Vec<u8>>, LoginError> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut request = Request::post(self.token.as_str())
            .header(header::CONTENT_TYPE, FORM)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "lariat");
        let secret = self.secret.expose_secret();
        if self.secret_in_form {
            form.append_pair("client_id", &self.id);
            form.append_pair("client_secret", secret);
        } else {
            // RFC 6749, section 2.3.1: each is encoded as in a form before it is put into Basic.
            let encoded =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encoded(&self.id), encoded(secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        }
        let request = request.body(form.finish().into_bytes());
        request.map_err(|error| LoginError::Misconfigured(error.to_string()))
    }
}

fn said(answer: &Response<Vec<u8>>, step: &'static str) -> Result<Said, LoginError> {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(answer.body()) {
        let reason = format!("{}: {}", refusal.error, refusal.error_description);
        return match refusal.error.as_str() {
            // All but the first are those of GitHub.
            "invalid_grant" | "bad_verification_code" | "unverified_user_email" => {
                Ok(Said::NotGood(reason))
            }
            "temporarily_unavailable" | "server_error" => {
                Err(LoginError::Unavailable { step, reason })
            }
            _ => Err(LoginError::Misconfigured(format!(
                "cannot {step}: {reason}"
            ))),
        };
    }
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body())
            .map(Said::Tokens)
            .map_err(|error| LoginError::Misconfigured(format!("cannot {step}: {error}"))),
        status => {
            let reason = format!("the provider answered {status}");
            match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => Err(LoginError::Unavailable { step, reason }),
                false => Err(LoginError::Misconfigured(format!(
                    "cannot {step}: {reason}"
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_with_what_binds_its_return() {
        let client = Client {
            id: "a client".into(),
            secret: "secret".into(),
            authorization: Url::parse("https://id.test/auth?tenant=1").unwrap(),
            token: Url::parse("https://id.test/token").unwrap(),
            redirect: Url::parse("https://lariat.test/verify-auth").unwrap(),
            secret_in_form: false,
        };
        // RFC 7636, appendix B.
        let secrets = FlowSecrets {
            state: "s&t".into(),
            nonce: "n".into(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        };
        let url = client.authorize(&secrets, "openid email", &[("nonce", "n")]);
        assert_eq!(
            url.as_str(),
            "https://id.test/auth?tenant=1&response_type=code&client_id=a+client\
             &redirect_uri=https%3A%2F%2Flariat.test%2Fverify-auth&scope=openid+email&state=s%26t\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
             &code_challenge_method=S256&nonce=n"
        );
        assert!(!url.as_str().contains("secret"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let of = |status: u16, body: &str| {
            let mut answer = Response::new(body.as_bytes().to_vec());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            said(&answer, "x")
        };
        let tokens = r#"{"access_token":"a","token_type":"bearer","expires_in":1}"#;
        assert!(matches!(of(200, tokens), Ok(Said::Tokens(_))));
        for bad in [
            r#"{"error":"invalid_grant"}"#,
            r#"{"error":"bad_verification_code"}"#,
        ] {
            assert!(matches!(of(400, bad), Ok(Said::NotGood(_))));
            assert!(matches!(of(200, bad), Ok(Said::NotGood(_))));
        }
        for (status, body) in [
            (401, r#"{"error":"invalid_client"}"#),
            (200, "<html>"),
            (404, ""),
        ] {
            assert!(matches!(
                of(status, body),
                Err(LoginError::Misconfigured(_))
            ));
        }
        for (status, body) in [
            (502, "<html>"),
            (429, ""),
            (503, r#"{"error":"server_error"}"#),
        ] {
            assert!(matches!(
                of(status, body),
                Err(LoginError::Unavailable { .. })
            ));
        }
    }
}
