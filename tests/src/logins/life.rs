//! The life of a login provider: set up, used, and gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use http::Method;
use serde_json::json;

use super::directory::{Directory, INSIDER, OUTER, OUTSIDER, PASSWORD};
use super::world::{Somebody, World};

/// Within this what is open ends when access is taken away here.
const SOON: Duration = Duration::from_secs(5);
/// Within this it ends when it is taken away in the directory: the refresh time of two seconds, and as
/// much as it takes to look and to ask.
const REFRESH: Duration = Duration::from_secs(10);

type Case = for<'w> fn(&'w World<'w>, &'w Directory) -> BoxFuture<'w, Result<String>>;

/// The cases in their order: later ones stand on what earlier ones have set up.
const LIFE: &[(&str, Case)] = &[
    (
        "settings that do not work are not saved",
        |world, directory| Box::pin(bad_settings(world, directory)),
    ),
    (
        "a test that succeeds saves and enables",
        |world, directory| Box::pin(set_up(world, directory)),
    ),
    (
        "a nested group lets somebody into the cluster",
        |world, directory| Box::pin(nested_group(world, directory)),
    ),
    (
        "wrong password, nobody, disabled, directory down",
        |world, directory| Box::pin(refusals(world, directory)),
    ),
    (
        "out of the group, out of the cluster",
        |world, directory| Box::pin(out_of_the_group(world, directory)),
    ),
    (
        "disabled in the directory, logged out here",
        |world, directory| Box::pin(disabled_there(world, directory)),
    ),
    (
        "a directory that is down changes nothing",
        |world, directory| Box::pin(down(world, directory)),
    ),
    (
        "a token revoked while kubectl logs -f runs",
        |world, directory| Box::pin(revoked(world, directory)),
    ),
    (
        "a binding deleted while kubectl logs -f runs",
        |world, directory| Box::pin(unbound(world, directory)),
    ),
    ("logged out", |world, directory| {
        Box::pin(logged_out(world, directory))
    }),
    ("the provider disabled", |world, directory| {
        Box::pin(disabled_here(world, directory))
    }),
];

/// Plays the life of a provider and prints what came of each part; how many passed and failed.
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
pub async fn life_of<'w>(world: &'w World<'w>, directory: &'w Directory) -> (usize, usize) {
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in LIFE {
        let (started, provider) = (Instant::now(), directory.name());
        match case(world, directory).await {
            Ok(said) => {
                passed += 1;
                println!(
                    "ok      {provider}: {name} ({:.1?}): {said}",
                    started.elapsed()
                );
            }
            Err(error) => {
                failed += 1;
                println!(
                    "FAILED  {provider}: {name} ({:.1?}): {error:#}",
                    started.elapsed()
                );
            }
        }
    }
    (passed, failed)
}

/// Somebody who gets into the cluster by the binding of a group, and the name of that.
async fn let_in<'w>(world: &'w World<'w>, directory: &Directory) -> Result<(Somebody<'w>, String)> {
    let binding = world.bind(&directory.group(OUTER)).await?;
    let insider = world.log_in(directory, INSIDER).await?;
    insider.until_in(Instant::now()).await?;
    Ok((insider, binding))
}

async fn bad_settings(world: &World<'_>, directory: &Directory) -> Result<String> {
    let path = format!("{}?action=testAndApply", directory.config_path());
    let wrong = directory.trial("root", "certainly wrong")?;
    let (code, words) = world.refused(&path, &wrong).await?;
    ensure!(
        code == 422 && words.contains("username or password is wrong"),
        "{code} {words}"
    );
    directory.stop()?;
    let right = directory.trial("root", PASSWORD)?;
    let down = world.refused(&path, &right).await;
    directory.start()?;
    let (code, words) = down?;
    ensure!(code == 503, "{code} {words}");
    let name = directory.name();
    let (code, _) = world.refusal(directory, INSIDER, PASSWORD).await?;
    ensure!(code == 404, "{name} was saved: {code}");
    Ok("422 for a wrong password, 503 for no answer".to_owned())
}

async fn set_up(world: &World<'_>, directory: &Directory) -> Result<String> {
    let path = format!("{}?action=testAndApply", directory.config_path());
    let trial = directory.trial("root", PASSWORD)?;
    let api = &world.stage.api;
    let applied = api.call(Method::POST, &path, Some(&trial)).await?;
    ensure!(applied["enabled"] == true, "{applied}");
    // The administrator has both ways in.
    let root = world.log_in(directory, "root").await?;
    let users = "/apis/management.cattle.io/v3/users";
    root.api.call(Method::GET, users, None).await?;
    let (name, password) = world.stage.server.administrator();
    crate::lariat::Api::login(&world.stage.server.url(), name, password).await?;
    Ok("the administrator is one user with two ways in".to_owned())
}

async fn nested_group(world: &World<'_>, directory: &Directory) -> Result<String> {
    let insider = world.log_in(directory, INSIDER).await?;
    let outside = insider.gets_in()?;
    ensure!(outside.is_err(), "gets in without a role");
    let binding = world.bind(&directory.group(OUTER)).await?;
    insider.until_in(Instant::now()).await?;
    let outsider = world.log_in(directory, OUTSIDER).await?;
    let words = outsider.gets_in()?.err().unwrap_or_default();
    ensure!(words.contains("no role in it"), "{words}");
    world.unbind(&binding).await?;
    Ok("by a binding of the outer group; who is in neither is refused".to_owned())
}

async fn refusals(world: &World<'_>, directory: &Directory) -> Result<String> {
    let wrong = world.refusal(directory, INSIDER, "certainly wrong").await?;
    let nobody = world
        .refusal(directory, "nobody", "certainly wrong")
        .await?;
    ensure!(wrong == nobody && wrong.0 == 401, "{wrong:?} {nobody:?}");
    directory.disable(OUTSIDER)?;
    let disabled = world.refusal(directory, OUTSIDER, PASSWORD).await;
    directory.enable(OUTSIDER)?;
    let (code, words) = disabled?;
    ensure!(
        code == 401 && words.contains("is disabled"),
        "{code} {words}"
    );
    directory.stop()?;
    let down = world.refusal(directory, INSIDER, PASSWORD).await;
    directory.start()?;
    let (code, words) = down?;
    ensure!(
        code == 503 && words.contains("does not answer"),
        "{code} {words}"
    );
    world.log_in(directory, INSIDER).await?;
    Ok("401, 401 with other words, 503".to_owned())
}

async fn out_of_the_group(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    directory.take_out(INSIDER)?;
    let since = Instant::now();
    let (out, words) = insider.until_out(since).await?;
    ensure!(
        out < REFRESH && words.contains("no role in it"),
        "{out:.1?}: {words}"
    );
    let ended = log.ended(since, REFRESH).await?;
    directory.put_in(INSIDER)?;
    insider.until_in(Instant::now()).await?;
    world.unbind(&binding).await?;
    Ok(format!(
        "refused after {out:.1?}, the open stream ended after {ended:.1?}"
    ))
}

async fn disabled_there(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    directory.disable(INSIDER)?;
    let since = Instant::now();
    let ended = log.ended(since, REFRESH).await;
    let out = insider.until_out(since).await;
    directory.enable(INSIDER)?;
    let (ended, (out, _)) = (ended?, out?);
    world.unbind(&binding).await?;
    Ok(format!(
        "refused after {out:.1?}, the open stream ended after {ended:.1?}"
    ))
}

async fn down(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    directory.stop()?;
    let path = format!(
        "/apis/management.cattle.io/v3/authconfigs/{}",
        directory.name()
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
            directory.start()?;
            anyhow::bail!("no condition says so: {reachable}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let inside = insider.gets_in();
    directory.start()?;
    ensure!(inside?.is_ok(), "lost access because the directory is down");
    ensure!(
        log.ended(Instant::now(), Duration::ZERO).await.is_err(),
        "the stream ended"
    );
    world.unbind(&binding).await?;
    Ok(format!("the condition Reachable says {seen}"))
}

async fn revoked(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
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

async fn unbound(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    world.unbind(&binding).await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    let words = insider.gets_in()?.err().unwrap_or_default();
    ensure!(words.contains("no role in it"), "{words}");
    Ok(format!("the stream ended after {ended:.1?}"))
}

async fn logged_out(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    insider.api.log_out().await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    let refused = insider.api.call(Method::GET, "/apis", None).await;
    ensure!(refused.is_err(), "the token is still good");
    world.unbind(&binding).await?;
    Ok(format!("the stream ended after {ended:.1?}"))
}

async fn disabled_here(world: &World<'_>, directory: &Directory) -> Result<String> {
    let (insider, binding) = let_in(world, directory).await?;
    let log = insider.follow()?;
    let path = format!("{}?action=disable", directory.config_path());
    let api = &world.stage.api;
    api.call(Method::POST, &path, Some(&json!({}))).await?;
    let ended = log.ended(Instant::now(), SOON).await?;
    let (code, _) = world.refusal(directory, INSIDER, PASSWORD).await?;
    ensure!(code == 404, "{code}");
    ensure!(insider.gets_in()?.is_err(), "the token is still good");
    world.unbind(&binding).await?;
    Ok(format!(
        "the stream ended after {ended:.1?}; nobody logs in by it"
    ))
}
