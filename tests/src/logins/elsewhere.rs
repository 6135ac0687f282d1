//! What is different where browsers are sent: how settings are tried out, what is refused, and logging out.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::browser::{Visit, Visitor};

use super::life::two_ways_in;
use super::person;
use super::provider::{INSIDER, OUTSIDER, PASSWORD, Provider, SECRET};
use super::world::{PATIENCE, World};

/// An administrator who tries a provider out in a browser.
const ADMINISTRATOR: &str = "administrator";

/// Tries settings out as an administrator does: asks where to go, goes there, comes back with a code, and
/// hands it over.
async fn tried(world: &World<'_>, provider: &Provider, secret: &str) -> Result<(u64, Value)> {
    let admin = world.chromium.person(ADMINISTRATOR);
    person::administer(world, admin)?;
    let (field, settings) = provider.settings(&world.url(), secret)?;
    let path = provider.config_path();
    let (status, begun) = person::ask(admin, &format!("{path}?action=configureTest"), &settings)?;
    if status != 200 {
        return Ok((status, begun));
    }
    let there = begun["redirectUrl"].as_str().context("no redirectUrl")?;
    admin.open(there)?;
    let at = person::sign_in(world, admin, "root", PASSWORD).await?;
    ensure!(at.contains("/verify-auth?"), "the test led to {at}");
    let trial = json!({
        "code": admin.text("#code")?, "state": admin.text("#state")?, field: settings,
    });
    person::open(world, admin, "/login")?;
    person::ask(admin, &format!("{path}?action=testAndApply"), &trial)
}

pub(super) async fn bad_settings(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (status, wrong) = tried(world, provider, "another secret").await?;
    ensure!(status == 422, "{status}: {wrong}");
    provider.stop()?;
    let down = tried(world, provider, SECRET).await;
    provider.start()?;
    let (status, down) = down?;
    ensure!(status == 503, "{status}: {down}");
    world.is_shut(provider).await?;
    Ok("422 for a wrong secret, 503 for no answer".to_owned())
}

pub(super) async fn set_up(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (status, applied) = tried(world, provider, SECRET).await?;
    ensure!(status == 200 && applied["enabled"] == true, "{applied}");
    ensure!(
        !applied.to_string().contains(SECRET),
        "the answer holds the secret"
    );
    two_ways_in(world, provider).await
}

pub(super) async fn refusals(world: &World<'_>, provider: &Provider) -> Result<String> {
    let stranger = world.chromium.person("stranger");
    let mut said = Vec::new();
    for (name, password) in [(INSIDER, "certainly wrong"), ("nobody", PASSWORD)] {
        stranger.leave()?;
        let at = person::arrive(world, stranger, provider, name, password).await?;
        ensure!(!at.starts_with(&world.url()), "{name} is back at {at}");
        said.push(stranger.text("p")?);
    }
    ensure!(said[0] == said[1], "{said:?}");
    provider.disable(OUTSIDER)?;
    stranger.leave()?;
    let disabled = person::arrive(world, stranger, provider, OUTSIDER, PASSWORD).await;
    provider.enable(OUTSIDER)?;
    // By the provider, or by this server after it.
    let disabled = match disabled?.starts_with(&world.url()) {
        true => stranger.text("#problem")?,
        false => stranger.text("p")?,
    };
    ensure!(person::token(stranger).is_err(), "there is a session");

    let (back, flow) = come_back(world, provider).await?;
    provider.stop()?;
    let down = world.sent_to(&back, &flow).await;
    provider.start()?;
    let down = down?;
    ensure!(
        down.ends_with("/login?problem=unavailable"),
        "sent to {down}"
    );
    person::open(world, stranger, "/login?problem=unavailable")?;
    let down = stranger.text("#problem")?;
    ensure!(down.contains("does not answer"), "{down}");
    stranger.leave()?;
    world.log_in(provider, INSIDER).await?;
    Ok(format!("{:?}, {disabled:?}, {down:?}", said[0]))
}

/// Where a browser comes back to with a code, and the cookie of its login: the provider can go away in between.
async fn come_back(world: &World<'_>, provider: &Provider) -> Result<(String, String)> {
    let begin = format!("/login/with/{}", provider.name());
    let (there, cookie) = world.begun(&begin).await?;
    let visitor = Visitor {
        name: INSIDER,
        password: PASSWORD,
        consents: true,
    };
    let visit = provider.browser()?.sign_in(&there, &visitor)?;
    let Visit::Left(back) = visit else {
        anyhow::bail!("not sent back: {visit:?}");
    };
    let query = back.query().context("no query")?;
    Ok((format!("{}?{query}", back.path()), cookie))
}

/// Logs out on the server's page, and at the provider where that follows.
pub(super) async fn log_out(world: &World<'_>, provider: &Provider, name: &str) -> Result<()> {
    let leaving = world.chromium.person(name);
    person::open(world, leaving, "/login")?;
    leaving.text("#name")?;
    leaving.click("#logout")?;
    if let Provider::OpenId(oidc) | Provider::Keycloak(oidc) = provider {
        leaving.arrive(oidc.issuer())?;
        leaving.click("button[name=logout]")?;
        leaving.arrive(&format!("{}/login", world.url()))?;
    }
    leaving.text("#out")?;
    let since = Instant::now();
    while person::token(leaving).is_ok() {
        ensure!(since.elapsed() < PATIENCE, "the session is still there");
        tokio::task::yield_now().await;
    }
    Ok(())
}
