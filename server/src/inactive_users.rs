//! Users who have not logged in for long are disabled, and then deleted, where the settings say so.

use std::sync::Arc;
use std::time::Duration;

use apiserver::error::ApiError;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use lariat_api::{Kind as _, User, UserAttribute};
use serde_json::json;

use crate::management::{answered, failure};
use crate::state::App;

/// After how long without a login users are disabled.
pub(crate) const DISABLE_AFTER: &str = "disable-inactive-user-after";
/// After how long without a login users are deleted.
pub(crate) const DELETE_AFTER: &str = "delete-inactive-user-after";
/// Annotation of a User: when somebody enabled it again. It counts as a login, or it would be disabled again
/// before its user can log in.
pub(crate) const ENABLED_AT: &str = "authz.lariat.internal/enabled-at";

/// How often they are looked for.
const SWEEP: Duration = Duration::from_secs(3600);
/// The shortest times that the settings may say: a slip must not lock everybody out.
const LEAST: [(&str, SignedDuration); 2] = [
    (DISABLE_AFTER, SignedDuration::from_hours(24)),
    (DELETE_AFTER, SignedDuration::from_hours(14 * 24)),
];

/// The value of a setting is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a duration in hours, minutes and seconds, such as 720h: at least {least}h, or 0s for never"
)]
pub(crate) struct NotADuration {
    least: i64,
}

/// Checks the value of a setting. Those that are not of this part are as good as any.
///
/// # Errors
/// When it is none.
pub(crate) fn check_setting(name: &str, value: &str) -> Result<(), NotADuration> {
    let Some((_, least)) = LEAST.into_iter().find(|(known, _)| *known == name) else {
        return Ok(());
    };
    let is_one = |length: SignedDuration| length.is_zero() || length >= least;
    match value.is_empty() || parse(value).is_some_and(is_one) {
        true => Ok(()),
        false => Err(NotADuration {
            least: least.as_hours(),
        }),
    }
}

/// Disables and deletes users for as long as the server runs. Does not return; to be dropped.
pub(crate) async fn keep_swept(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        sweep(&app).await;
    }
}

/// Disables and deletes the users whose time has come. One about whom that fails is left for the next time.
pub async fn sweep(app: &App) {
    let now = app.clock.now();
    let users = app.directory.users(|_| true);
    let accounts = users.iter().filter_map(|(_, user)| Account::of(app, user));
    for (account, step) in due(accounts.collect(), now) {
        // Somebody may have logged in meanwhile.
        let user = app.directory.user(&account.id);
        let current = user.and_then(|user| Account::of(app, &user));
        if current.and_then(|current| current.step(now)) != Some(step) {
            continue;
        }
        let (user, last_seen) = (account.id.as_str(), account.last_seen);
        match step.take(app, user).await {
            Ok(()) => tracing::info!(user, %last_seen, ?step, "a user did not log in for long"),
            Err(error) => {
                let error = error.log().unwrap_or_else(|| error.message());
                tracing::warn!(user, error, "cannot disable or delete an inactive user");
            }
        }
    }
}

/// A user, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    id: String,
    enabled: bool,
    administrator: bool,
    /// The first administrator, who is always kept.
    first: bool,
    /// When they last logged in, were made or were enabled again, whichever is the latest.
    last_seen: Timestamp,
    disable_after: Option<SignedDuration>,
    delete_after: Option<SignedDuration>,
}

/// What becomes of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Disable,
    Delete,
}

impl Account {
    /// `None`: the user is being deleted, or nothing says since when there is one.
    fn of(app: &App, user: &User) -> Option<Self> {
        let meta = &user.metadata;
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let attribute = app.directory.attribute(user);
        let attribute = attribute.as_deref();
        let login = attribute.and_then(|one| one.last_login.as_ref());
        let annotations = meta.annotations.iter().flatten();
        let enabled_at = annotations.filter(|(name, _)| *name == ENABLED_AT);
        let enabled_at = enabled_at.filter_map(|(_, value)| value.parse::<Timestamp>().ok());
        let created = meta.creation_timestamp.as_ref()?.0;
        let others = login.map(|login| login.0).into_iter().chain(enabled_at);
        let labels = meta.labels.as_ref();
        let after = |setting: &str, own: fn(&UserAttribute) -> &str| {
            let own = attribute.map(own).filter(|own| !own.is_empty());
            let setting = app.directory.setting(setting);
            parse(own.unwrap_or(&setting)).filter(|after| after.is_positive())
        };
        let administrator = app.directory.access(|access| {
            let groups = access.groups_of(user.name());
            access.is_administrator(user.name(), &groups)
        });
        Some(Self {
            id: user.name().to_owned(),
            enabled: user.enabled,
            administrator,
            first: labels.is_some_and(|labels| labels.contains_key(User::BOOTSTRAPPING_LABEL)),
            last_seen: others.fold(created, Timestamp::max),
            disable_after: after(DISABLE_AFTER, |one| one.disable_after.as_str()),
            delete_after: after(DELETE_AFTER, |one| one.delete_after.as_str()),
        })
    }

    fn step(&self, now: Timestamp) -> Option<Step> {
        let away = now.duration_since(self.last_seen);
        let is_over = |after: Option<SignedDuration>| after.is_some_and(|after| away >= after);
        if self.first {
            None
        } else if is_over(self.delete_after) {
            Some(Step::Delete)
        } else if self.enabled && is_over(self.disable_after) {
            Some(Step::Disable)
        } else {
            None
        }
    }
}

impl Step {
    async fn take(self, app: &App, user: &str) -> Result<(), ApiError> {
        let users: Api<User> = Api::all(app.own.clone());
        let taken = match self {
            Self::Disable => {
                let change = Patch::Merge(json!({"enabled": false}));
                let params = PatchParams::default();
                users.patch(user, &params, &change).await.map(drop)
            }
            Self::Delete => {
                let params = DeleteParams::default();
                users.delete(user, &params).await.map(drop)
            }
        };
        // Somebody else may have been faster.
        match answered(&taken, StatusCode::NOT_FOUND) {
            true => Ok(()),
            false => taken.map_err(failure),
        }
    }
}

/// What is to become of whom, those first who are away longest. An administrator who can log in is left.
fn due(mut accounts: Vec<Account>, now: Timestamp) -> Vec<(Account, Step)> {
    accounts.sort_by_key(|account| account.last_seen);
    let administers = |account: &Account| account.enabled && account.administrator;
    let mut left = accounts.iter().filter(|one| administers(one)).count();
    let due = accounts.into_iter().filter_map(|account| {
        let step = account.step(now)?;
        if administers(&account) {
            if left == 1 {
                return None;
            }
            left -= 1;
        }
        Some((account, step))
    });
    due.collect()
}

/// A duration as Go writes it, of whole hours, minutes and seconds.
fn parse(text: &str) -> Option<SignedDuration> {
    if text.is_empty() {
        return None;
    }
    let (mut seconds, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let (number, with_unit) = rest.split_at(rest.find(['h', 'm', 's'])?);
        let unit = match with_unit.chars().next()? {
            'h' => 3600,
            'm' => 60,
            _ => 1,
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: i64 = number.parse().ok()?;
        seconds = number.checked_mul(unit)?.checked_add(seconds)?;
        rest = with_unit.get(1..)?;
    }
    Some(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Somebody who was last seen so many hours ago.
    fn away(id: &str, hours: i64) -> Account {
        Account {
            id: id.to_owned(),
            enabled: true,
            administrator: false,
            first: false,
            last_seen: NOW - SignedDuration::from_hours(hours),
            disable_after: Some(SignedDuration::from_hours(100)),
            delete_after: Some(SignedDuration::from_hours(200)),
        }
    }

    fn steps(accounts: Vec<Account>) -> Vec<(String, Step)> {
        let due = due(accounts, NOW).into_iter();
        due.map(|(account, step)| (account.id, step)).collect()
    }

    #[test]
    fn who_is_away_is_disabled_and_then_deleted() {
        assert_eq!(away("a", 99).step(NOW), None);
        assert_eq!(away("a", 100).step(NOW), Some(Step::Disable));
        assert_eq!(away("a", 199).step(NOW), Some(Step::Disable));
        assert_eq!(away("a", 200).step(NOW), Some(Step::Delete));
        let disabled = |hours| Account {
            enabled: false,
            ..away("a", hours)
        };
        assert_eq!(disabled(150).step(NOW), None);
        assert_eq!(disabled(200).step(NOW), Some(Step::Delete));
        let for_ever = Account {
            disable_after: None,
            delete_after: None,
            ..away("a", 9999)
        };
        assert_eq!(for_ever.step(NOW), None);
        let first = Account {
            first: true,
            ..away("a", 9999)
        };
        assert_eq!(first.step(NOW), None);
    }

    #[test]
    fn one_administrator_stays_who_was_there_last() {
        let administrator = |id, hours| Account {
            administrator: true,
            ..away(id, hours)
        };
        let all = vec![
            administrator("a", 120),
            administrator("b", 300),
            away("c", 130),
            administrator("d", 250),
        ];
        let expected = [
            ("b".to_owned(), Step::Delete),
            ("d".to_owned(), Step::Delete),
            ("c".to_owned(), Step::Disable),
        ];
        assert_eq!(steps(all), expected);
        // One who is disabled already is not who keeps the door.
        let off = Account {
            enabled: false,
            ..administrator("e", 300)
        };
        let expected = [("e".to_owned(), Step::Delete)];
        assert_eq!(steps(vec![off, administrator("a", 250)]), expected);
    }

    #[test]
    fn durations_are_those_of_go() {
        let seconds = SignedDuration::from_secs;
        for (text, expected) in [
            ("720h", Some(seconds(720 * 3600))),
            ("1h30m5s", Some(seconds(5405))),
            ("0s", Some(seconds(0))),
            ("", None),
            ("h", None),
            ("720", None),
            ("-1h", None),
            ("+1h", None),
            ("1d", None),
            ("1.5h", None),
            ("1h ", None),
            ("99999999999999999999h", None),
            ("9223372036854775807h", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_slip_in_a_setting_locks_nobody_out() {
        for good in ["", "0s", "336h", "20160m"] {
            assert_eq!(check_setting(DELETE_AFTER, good), Ok(()), "{good}");
        }
        for bad in ["335h", "30", "a month", "1s"] {
            let error = check_setting(DELETE_AFTER, bad).unwrap_err();
            assert_eq!(error, NotADuration { least: 336 }, "{bad}");
        }
        assert!(check_setting(DISABLE_AFTER, "24h").is_ok());
        assert!(check_setting(DISABLE_AFTER, "23h").is_err());
        assert!(check_setting("cacerts", "anything").is_ok());
    }
}
