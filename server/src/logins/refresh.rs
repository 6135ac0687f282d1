//! Whether people are still who they were: providers are asked again about those who have tokens.
//!
//! A provider that does not answer changes nothing: nobody loses access because a directory is down, and
//! nobody gets any.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use lariat_api::{AuthConfig, AuthConfigType, Kind as _, User, UserAttribute};
use tokio::time::{Instant, MissedTickBehavior};

use super::metrics::Metrics;
use super::{admission, attributes, grants, status};
use crate::authn::provider::{Known, LoginError, Refreshed};
use crate::management::Number;
use crate::state::App;
use crate::tokens;

/// How often it is looked about whom to ask.
const LOOK: Duration = Duration::from_secs(1);
/// How often a provider is asked whether it answers.
const PROBE: Duration = Duration::from_secs(60);
/// How long a provider is left alone that has not answered for a while, and somebody about whom it cannot be asked.
const PAUSE: Duration = Duration::from_secs(10);
/// About how many people it is asked at once.
const AT_ONCE: usize = 4;

/// Asks providers again about everybody who has tokens, as often as the settings say, and ends the tokens of
/// those that are disabled. Does not return; to be dropped.
pub(crate) async fn keep(app: Arc<App>) {
    let metrics = Metrics::new(&app.metrics);
    let others = AuthConfigType::ALL.into_iter();
    let others = others.filter(|type_| *type_ != AuthConfigType::Local);
    join_all(others.map(|type_| keep_one(&app, type_, &metrics))).await;
}

/// When a provider is asked whether it answers.
#[derive(Clone, Copy)]
struct Probed {
    /// It was with these settings.
    generation: Option<i64>,
    /// It is again then.
    again: Instant,
}

/// A provider that fails is left alone: a moment at first, so that its restart delays nobody's loss of access,
/// then longer and longer.
struct Pause {
    until: Option<Instant>,
    next: Duration,
}

impl Pause {
    const NONE: Self = Self {
        until: None,
        next: LOOK,
    };

    fn begin(&mut self, now: Instant) {
        self.until = Some(now + self.next);
        self.next = (2 * self.next).min(PAUSE);
    }
}

async fn keep_one(app: &App, type_: AuthConfigType, metrics: &Metrics) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probed: Option<Probed> = None;
    let mut pause = Pause::NONE;
    let mut left_alone: HashMap<String, Instant> = HashMap::new();
    loop {
        ticks.tick().await;
        let (now, name) = (Instant::now(), type_.name());
        let Some(config) = app.providers.enabled_config(type_) else {
            (probed, pause) = (None, Pause::NONE);
            metrics.forget(name);
            log(name, "end tokens", &tokens::revoke_all_of(app, name).await);
            continue;
        };
        let generation = config.metadata.generation;
        let known = probed.filter(|probed| probed.generation == generation);
        if known.is_some() && pause.until.is_some_and(|until| now < until) {
            continue;
        }
        let has_failed = pause.until.take().is_some();
        if has_failed || known.is_none_or(|known| known.again <= now) {
            let again = now + PROBE;
            probed = Some(Probed { generation, again });
            if !probe(app, &config, metrics).await {
                pause.begin(now);
                continue;
            }
        }
        left_alone.retain(|_, until| now < *until);
        let mut due = due(app, type_, app.clock.now());
        due.retain(|user| !left_alone.contains_key(user.name()));
        let asked = stream::iter(due).map(async |user| {
            let done = refresh(app, &config, &user).await;
            (user, done)
        });
        let mut asked = std::pin::pin!(asked.buffer_unordered(AT_ONCE));
        while let Some((user, done)) = asked.next().await {
            metrics.refreshed(name, done.is_ok());
            let Err(error) = done else { continue };
            if error.code() == StatusCode::SERVICE_UNAVAILABLE {
                pause.begin(now);
                break;
            }
            left_alone.insert(user.name().to_owned(), now + PAUSE);
            log(name, "refresh a user", &Err(error));
        }
        if pause.until.is_none() {
            pause = Pause::NONE;
        }
    }
}

/// Asks the providers of a user again, at once.
///
/// # Errors
/// 404 for nobody, 503 when a provider does not answer.
pub(crate) async fn refresh_user(app: &App, id: &str) -> Result<(), ApiError> {
    let Some(user) = app.directory.user(id) else {
        let message = format!("there is no user {id:?}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "NotFound", message));
    };
    for type_ in AuthConfigType::ALL {
        if let Some(config) = app.providers.enabled_config(type_)
            && principal_of(app, &user, type_).is_some()
        {
            refresh(app, &config, &user).await?;
        }
    }
    Ok(())
}

/// Whom to ask a provider about: who has tokens of it and was not asked about for long, and who is to be asked
/// about soon.
fn due(app: &App, type_: AuthConfigType, now: Timestamp) -> Vec<Arc<User>> {
    let max_age = app.directory.number(Number::UserInfoMaxAge);
    let max_age = SignedDuration::from_secs(i64::try_from(max_age).unwrap_or(i64::MAX));
    let is_due = |user: &User| {
        let attribute = app.directory.attribute(user);
        let last = attribute
            .as_deref()
            .and_then(|one| one.last_refresh.as_ref());
        last.is_none_or(|last| now.duration_since(last.0) >= max_age)
    };
    let mut due: Vec<_> = (app.directory.users_of_tokens(type_.name()).into_iter())
        .filter(|user| is_due(user))
        .collect();
    for user in app.directory.users_to_refresh() {
        let is_new = due.iter().all(|other| other.name() != user.name());
        if is_new && principal_of(app, &user, type_).is_some() {
            due.push(user);
        }
    }
    due
}

/// What a provider calls somebody.
fn principal_of(app: &App, user: &User, type_: AuthConfigType) -> Option<String> {
    let attribute = app.directory.attribute(user);
    let known = attribute
        .as_deref()
        .and_then(|one| one.extra(type_.name(), UserAttribute::PRINCIPAL_ID));
    // What the provider said of somebody may have been taken from them since.
    known
        .filter(|known| user.principal_ids.iter().any(|id| id == known))
        .map(str::to_owned)
}

async fn refresh(app: &App, config: &AuthConfig, user: &User) -> Result<(), ApiError> {
    let type_ = config.type_;
    let attribute = app.directory.attribute(user);
    // What is good once must not be shown twice.
    let _granting = app.granting.lock(type_).await;
    let grant = match type_.redirects() {
        true => grants::of(app, user.name(), type_).await?,
        false => None,
    };
    let known = principal_of(app, user, type_).map(|principal| Known {
        grant: grant.clone(),
        principal,
        stable_id: attribute
            .as_deref()
            .and_then(|one| one.extra(type_.name(), UserAttribute::STABLE_ID))
            .map(str::to_owned),
    });
    let refreshed = match &known {
        Some(known) => {
            let provider = app.providers.of(config).await?;
            provider.refresh(known).await?
        }
        None => Refreshed::Gone,
    };
    if let Refreshed::Still(account) = &refreshed
        && let Some(fresh) = &account.grant
        && account.grant != grant
    {
        grants::keep(app, user, type_, fresh).await?;
    }
    match refreshed {
        Refreshed::Still(account) if admission::is_admitted(app, config, &account, Some(user)) => {
            attributes::note(app, user.name(), type_, &account).await
        }
        Refreshed::Still(_) | Refreshed::Gone => {
            let (user, provider) = (user.name(), type_.name());
            tracing::info!(user, provider, "no longer let in by the login provider");
            tokens::revoke_of(app, user, provider).await?;
            attributes::forget_groups(app, user, type_).await
        }
    }
}

/// Whether a provider answers.
async fn probe(app: &App, config: &AuthConfig, metrics: &Metrics) -> bool {
    let answer = match app.providers.of(config).await {
        Ok(provider) => provider.check().await,
        Err(error) => {
            let why = error.log().unwrap_or_else(|| error.message());
            Err(LoginError::Misconfigured(why.to_owned()))
        }
    };
    if let Err(error) = &answer {
        tracing::warn!(provider = config.name(), %error, "a login provider does not work");
    }
    metrics.reachable(config.type_.name(), answer.is_ok());
    let noted = status::asked(app, config, &answer).await;
    log(config.name(), "note its state", &noted);
    answer.is_ok()
}

fn log(provider: &str, step: &str, done: &Result<(), ApiError>) {
    if let Err(error) = done {
        let error = error.log().unwrap_or_else(|| error.message());
        tracing::warn!(provider, error, "login provider: cannot {step}");
    }
}
