//! The life of a login provider: set up, used, and gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use http::Method;
use serde_json::json;

use super::elsewhere;
use super::provider::{INSIDER, OUTER, OUTSIDER, PASSWORD, Provider};
use super::world::{Somebody, World};

/// Within this what is open ends when access is taken away here.
const SOON: Duration = Duration::from_secs(5);
/// Within this it ends when it is taken away at the provider: the refresh time of two seconds, and as
/// much as it takes to look and to ask.
const REFRESH: Duration = Duration::from_secs(10);

type Case = for<'w> fn(&'w World<'w>, &'w Provider) -> BoxFuture<'w, Result<String>>;

/// The cases in their order: later ones stand on what earlier ones have set up.
const LIFE: &[(&str, Case)] = &[
    (
        "settings that do not work are not saved",
        |world, provider| match provider {
            Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => {
                Box::pin(bad_settings(world, provider))
            }
            Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
                Box::pin(elsewhere::bad_settings(world, provider))
            }
        },
    ),
    (
        "a test that succeeds saves and enables",
        |world, provider| match provider {
            Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => {
                Box::pin(set_up(world, provider))
            }
            Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
                Box::pin(elsewhere::set_up(world, provider))
            }
        },
    ),
    (
        "a nested group lets somebody into the cluster",
        |world, provider| Box::pin(nested_group(world, provider)),
    ),
    (
        "wrong password, nobody, disabled, provider down",
        |world, provider| match provider {
            Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => {
                Box::pin(refusals(world, provider))
            }
            Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
                Box::pin(elsewhere::refusals(world, provider))
            }
        },
    ),
    ("out of the group, out of the cluster", |world, provider| {
        Box::pin(out_of_the_group(world, provider))
    }),
    ("disabled there, logged out here", |world, provider| {
        Box::pin(disabled_there(world, provider))
    }),
    (
        "a provider that is down changes nothing",
        |world, provider| Box::pin(down(world, provider)),
    ),
    (
        "a token revoked while kubectl logs -f runs",
        |world, provider| Box::pin(revoked(world, provider)),
    ),
    (
        "a binding deleted while kubectl logs -f runs",
        |world, provider| Box::pin(unbound(world, provider)),
    ),
    ("logged out", |world, provider| {
        Box::pin(logged_out(world, provider))
    }),
    ("the provider disabled", |world, provider| {
        Box::pin(disabled_here(world, provider))
    }),
];

/// Plays the life of a provider and prints what came of each part; how many passed and failed.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub async fn life_of<'w>(world: &'w World<'w>, provider: &'w Provider) -> (usize, usize) {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in LIFE {
        let (started, called) = (Instant::now(), provider.name());
        match case(world, provider).await {
            Ok(said) => {
                passed += 1;
                println!(
                    "ok      {called}: {name} ({:.1?}): {said}",
                    started.elapsed()
                );
            }
            Err(error) => {
                failed += 1;
                println!(
                    "FAILED  {called}: {name} ({:.1?}): {error:#}",
                    started.elapsed()
                );
            }
        }
    }
    (passed, failed)
}

/// Somebody who gets into the cluster by the binding of a group, and the name of that.
async fn let_in<'w>(world: &'w World<'w>, provider: &Provider) -> Result<(Somebody<'w>, String)> {
    let binding = world.bind(&provider.group(OUTER)).await?;
    let insider = world.log_in(provider, INSIDER).await?;
    insider.until_in(Instant::now()).await?;
    Ok((insider, binding))
}

async fn bad_settings(world: &World<'_>, provider: &Provider) -> Result<String> {
    let path = format!("{}?action=testAndApply", provider.config_path());
    let wrong = provider.trial("root", "certainly wrong")?;
    let (code, words) = world.refused(&path, &wrong).await?;
    ensure!(
        code == 422 && words.contains("username or password is wrong"),
        "{code} {words}"
    );
    provider.stop()?;
    let right = provider.trial("root", PASSWORD)?;
    let down = world.refused(&path, &right).await;
    provider.start()?;
    let (code, words) = down?;
    ensure!(code == 503, "{code} {words}");
    world.is_shut(provider).await?;
    Ok("422 for a wrong password, 503 for no answer".to_owned())
}

async fn set_up(world: &World<'_>, provider: &Provider) -> Result<String> {
    let path = format!("{}?action=testAndApply", provider.config_path());
    let trial = provider.trial("root", PASSWORD)?;
    let api = &world.stage.api;
    let applied = api.call(Method::POST, &path, Some(&trial)).await?;
    ensure!(applied["enabled"] == true, "{applied}");
    two_ways_in(world, provider).await
}

/// The administrator who has tried a provider is known by it as well.
pub(super) async fn two_ways_in(world: &World<'_>, provider: &Provider) -> Result<String> {
    let root = world.log_in(provider, "root").await?;
    let users = "/apis/management.cattle.io/v3/users";
    root.api.call(Method::GET, users, None).await?;
    let (name, password) = world.stage.server.administrator();
    crate::lariat::Api::login(&world.stage.server.url(), name, password).await?;
    Ok("the administrator is one user with two ways in".to_owned())
}

async fn nested_group(world: &World<'_>, provider: &Provider) -> Result<String> {
    let insider = world.log_in(provider, INSIDER).await?;
    let outside = insider.gets_in()?;
    ensure!(outside.is_err(), "gets in without a role");
    let binding = world.bind(&provider.group(OUTER)).await?;
    insider.until_in(Instant::now()).await?;
    let outsider = world.log_in(provider, OUTSIDER).await?;
    let words = outsider.gets_in()?.err().unwrap_or_default();
    ensure!(words.contains("no role in it"), "{words}");
    world.unbind(&binding).await?;
    Ok("by a binding of the outer group; who is in neither is refused".to_owned())
}

async fn refusals(world: &World<'_>, provider: &Provider) -> Result<String> {
    let wrong = world.refusal(provider, INSIDER, "certainly wrong").await?;
    let nobody = world.refusal(provider, "nobody", "certainly wrong").await?;
    ensure!(wrong == nobody && wrong.0 == 401, "{wrong:?} {nobody:?}");
    provider.disable(OUTSIDER)?;
    let disabled = world.refusal(provider, OUTSIDER, PASSWORD).await;
    provider.enable(OUTSIDER)?;
    let (code, words) = disabled?;
    ensure!(
        code == 401 && words.contains("is disabled"),
        "{code} {words}"
    );
    provider.stop()?;
    let down = world.refusal(provider, INSIDER, PASSWORD).await;
    provider.start()?;
    let (code, words) = down?;
    ensure!(
        code == 503 && words.contains("does not answer"),
        "{code} {words}"
    );
    world.log_in(provider, INSIDER).await?;
    Ok("401, 401 with other words, 503".to_owned())
}

async fn out_of_the_group(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    provider.take_out(INSIDER)?;
    let since = Instant::now();
    let (out, words) = insider.until_out(since).await?;
    ensure!(
        out < REFRESH && words.contains("no role in it"),
        "{out:.1?}: {words}"
    );
    let ended = log.ended(since, REFRESH).await?;
    provider.put_in(INSIDER)?;
    insider.until_in(Instant::now()).await?;
    world.unbind(&binding).await?;
    Ok(format!(
        "refused after {out:.1?}, the open stream ended after {ended:.1?}"
    ))
}

async fn disabled_there(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    provider.disable(INSIDER)?;
    let since = Instant::now();
    let ended = log.ended(since, REFRESH).await;
    let out = insider.until_out(since).await;
    provider.enable(INSIDER)?;
    let (ended, (out, _)) = (ended?, out?);
    world.unbind(&binding).await?;
    Ok(format!(
        "refused after {out:.1?}, the open stream ended after {ended:.1?}"
    ))
}

async fn down(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    provider.stop()?;
    let path = format!(
        "/apis/management.cattle.io/v3/authconfigs/{}",
        provider.name()
    );
    let since = Instant::now();
    let seen = loop {
        let config = world.stage.api.call(Method::GET, &path, None).await?;
        let conditions = config["status"]["conditions"].as_array().cloned();
        let reachable = (conditions.into_iter().flatten())
            .find(|condition| condition["type"] == "Reachable")
            .unwrap_or_default();
        if reachable["status"] == "False" {
            break reachable["reason"].clone();
        }
        if since.elapsed() > super::world::PATIENCE {
            provider.start()?;
            anyhow::bail!("no condition says so: {reachable}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let inside = insider.gets_in();
    provider.start()?;
    ensure!(inside?.is_ok(), "lost access because the provider is down");
    ensure!(
        log.ended(Instant::now(), Duration::ZERO).await.is_err(),
        "the stream ended"
    );
    world.unbind(&binding).await?;
    Ok(format!("the condition Reachable says {seen}"))
}

async fn revoked(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    let name = insider.api.token.split(':').next().unwrap_or_default();
    let path = format!("/apis/management.cattle.io/v3/tokens/{name}");
    world.stage.api.call(Method::DELETE, &path, None).await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    let words = insider.gets_in()?.err().unwrap_or_default();
    ensure!(!words.is_empty(), "the token is still good");
    world.unbind(&binding).await?;
    Ok(format!("the stream ended after {ended:.1?}"))
}

async fn unbound(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    world.unbind(&binding).await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    let words = insider.gets_in()?.err().unwrap_or_default();
    ensure!(words.contains("no role in it"), "{words}");
    Ok(format!("the stream ended after {ended:.1?}"))
}

async fn logged_out(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    match provider {
        Provider::OpenLdap(_) | Provider::ActiveDirectory(_) => insider.api.log_out().await?,
        Provider::OpenId(_) | Provider::Keycloak(_) | Provider::GitHub(_) => {
            elsewhere::log_out(world, provider, INSIDER).await?;
        }
    }
    let ended = log.ended(Instant::now(), SOON).await?;
    let refused = insider.api.call(Method::GET, "/apis", None).await;
    ensure!(refused.is_err(), "the token is still good");
    world.unbind(&binding).await?;
    Ok(format!("the stream ended after {ended:.1?}"))
}

async fn disabled_here(world: &World<'_>, provider: &Provider) -> Result<String> {
    let (insider, binding) = let_in(world, provider).await?;
    let log = insider.follow()?;
    let path = format!("{}?action=disable", provider.config_path());
    let api = &world.stage.api;
    api.call(Method::POST, &path, Some(&json!({}))).await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    world.is_shut(provider).await?;
    ensure!(insider.gets_in()?.is_err(), "the token is still good");
    world.unbind(&binding).await?;
    Ok(format!(
        "the stream ended after {ended:.1?}; nobody logs in by it"
    ))
}
