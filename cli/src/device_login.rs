//! `lariat login --browser`: a person confirms the login in a browser, where they are logged in already or
//! log in however the server lets them.
//!
//! The code is shown here and there, and whoever confirms compares. Only this program gets the token: the
//! server gives it to who has the device code and the verifier, which never leave this process.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::Server;

const LOGINS: &str = "/v3-public/deviceLogins";

/// The longest that a server may let people wait, and between two questions.
const MAX_WAIT: Duration = Duration::from_secs(1800);
const MAX_INTERVAL: Duration = Duration::from_secs(30);

/// Logs in by a browser; `show` tells the person where to go. Returns the answer with the token.
pub async fn log_in(
    server: &Server,
    description: &str,
    show: impl Fn(&Shown),
) -> anyhow::Result<Value> {
    let verifier = verifier()?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let new = json!({"codeChallenge": challenge, "description": description});
    let begun = server.send(Method::POST, LOGINS, &new).await?;
    let shown = Shown::read(server, &begun)?;
    show(&shown);
    let redeem = json!({"deviceCode": begun["deviceCode"], "codeVerifier": verifier});
    let path = format!("{LOGINS}?action=redeem");
    let started = Instant::now();
    while started.elapsed() < shown.expires_in {
        tokio::time::sleep(shown.interval).await;
        let (status, answer) = server.ask(Method::POST, &path, &redeem).await?;
        match status {
            StatusCode::ACCEPTED | StatusCode::TOO_MANY_REQUESTS => {}
            status if status.is_success() => return Ok(answer),
            _ => bail!(
                "{}",
                answer["message"].as_str().unwrap_or("the server refused")
            ),
        }
    }
    bail!("nobody confirmed the login in time; run the command again")
}

/// What a person is shown who is to confirm.
#[derive(Debug)]
pub struct Shown {
    /// Where to go.
    pub url: String,
    /// What both sides show.
    pub code: String,
    interval: Duration,
    expires_in: Duration,
}

impl Shown {
    fn read(server: &Server, begun: &Value) -> anyhow::Result<Self> {
        let text = |field: &str| {
            let value = begun[field].as_str().unwrap_or_default();
            let plain = !value.is_empty() && value.chars().all(|one| one.is_ascii_graphic());
            plain
                .then(|| value.to_owned())
                .context("the server does not log in by a browser")
        };
        let seconds = |field: &str, most: Duration| {
            let seconds = begun[field].as_u64().unwrap_or(1).max(1);
            Duration::from_secs(seconds).min(most)
        };
        let url = text("verificationUriComplete")?;
        if !url.starts_with("https://") {
            bail!("{} names no https:// address to log in at", server.url());
        }
        Ok(Self {
            url,
            code: text("userCode")?,
            interval: seconds("interval", MAX_INTERVAL),
            expires_in: seconds("expiresIn", MAX_WAIT),
        })
    }
}

/// 256 random bits.
fn verifier() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::CryptoProvider::get_default();
    let provider = provider.context("no source of randomness")?;
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
