//! A person with a real browser, who logs in where browsers are sent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::chromium::Person;

use super::provider::{PASSWORD, Provider};
use super::world::{PATIENCE, World};

/// The button of the page on which an application is allowed what it asks for.
const CONSENT: &str = "button[name=decision][value=allow], button[name=authorize][value='1']";

/// What the page is that the browser shows. One that was answered and is still shown is none.
const WHAT: &str = "window.answered ? '' : document.querySelector('input[name=password]') ? 'password' : \
    document.querySelector(\"button[name=decision], button[name=authorize]\") ? 'consent' : ''";

/// Opens a path of the server, and returns where that led.
pub(super) fn open(world: &World<'_>, person: Person<'_>, path: &str) -> Result<String> {
    Ok(person.open(&format!("{}{path}", world.url()))?)
}

/// Logs in at a provider to which browsers are sent, with a browser that knows nothing yet. Returns the
/// bearer token of the session, which no script sees.
pub(super) async fn log_in(
    world: &World<'_>,
    person: Person<'_>,
    provider: &Provider,
    name: &str,
) -> Result<String> {
    person.leave()?;
    let at = arrive(world, person, provider, name, PASSWORD).await?;
    ensure!(at == format!("{}/login", world.url()), "{name} is at {at}");
    person.text("#name")?;
    token(person)
}

/// Begins a login on the server's page, signs in there, and returns where that ended.
pub(super) async fn arrive(
    world: &World<'_>,
    person: Person<'_>,
    provider: &Provider,
    name: &str,
    password: &str,
) -> Result<String> {
    open(world, person, "/login")?;
    person.click(&format!("#with-{}", provider.name()))?;
    sign_in(world, person, name, password).await
}

/// Does what a provider asks, until the browser is back at the server or is asked for the password again.
pub(super) async fn sign_in(
    world: &World<'_>,
    person: Person<'_>,
    name: &str,
    password: &str,
) -> Result<String> {
    let (since, mut tried) = (Instant::now(), false);
    loop {
        let at = person.url()?;
        ensure!(since.elapsed() < PATIENCE, "{name} is still at {at}");
        if at.starts_with(&world.url()) {
            // The page of the login is where it began, and where it ends.
            let began = at.ends_with("/login") || at.contains("/login/with/");
            if !began {
                return Ok(at);
            }
            if tried {
                person.text("#in")?;
                return Ok(at);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        // A page that goes away meanwhile is none.
        let what = person.run(WHAT).unwrap_or_default();
        match what.as_str() {
            Some("password") if tried => return Ok(at),
            Some("password") => {
                tried = true;
                person.fill("input[name=login]", name)?;
                person.fill("input[name=password]", password)?;
                answer(person, "button")?;
            }
            Some("consent") => answer(person, CONSENT)?,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn answer(person: Person<'_>, button: &str) -> Result<()> {
    person.run("window.answered = true")?;
    Ok(person.click(button)?)
}

/// The bearer token of the session.
pub(super) fn token(person: Person<'_>) -> Result<String> {
    let cookies = person.cookies()?;
    let session = cookies.iter().find(|one| one["name"] == "R_SESS");
    let token = session.and_then(|one| one["value"].as_str());
    Ok(token.context("no session")?.to_owned())
}

/// Logs in with the account of the server that administers it.
pub(super) fn administer(world: &World<'_>, person: Person<'_>) -> Result<()> {
    let (name, password) = world.stage.server.administrator();
    person.leave()?;
    open(world, person, "/login")?;
    by_password(person, name, password)?;
    let shown = person.text("#name")?;
    ensure!(shown == name, "the page shows {shown:?}");
    Ok(())
}

/// Logs in on the server's own page, which is shown.
pub(super) fn by_password(person: Person<'_>, name: &str, password: &str) -> Result<()> {
    person.fill("#username", name)?;
    person.fill("#secret", password)?;
    Ok(person.click("#password button")?)
}

/// What the server answers to a script of its page.
pub(super) fn ask(person: Person<'_>, path: &str, body: &Value) -> Result<(u64, Value)> {
    let (path, body) = (json!(path), json!(body.to_string()));
    let asked = person.run(&format!(
        "fetch({path}, {{method: 'POST', body: {body}, headers: {{'Content-Type': 'application/json', \
         'X-API-CSRF': document.cookie.match(/CSRF=([^;]*)/)[1]}}}}) \
         .then(async (answer) => ({{status: answer.status, json: await answer.json()}}))"
    ))?;
    match asked["status"].as_u64() {
        Some(status) => Ok((status, asked["json"].clone())),
        None => bail!("no answer: {asked}"),
    }
}
