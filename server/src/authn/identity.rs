//! Who makes a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lariat_api::{
    ClusterId, EXTRA_PRINCIPALS, EXTRA_TOKEN, EXTRA_USERNAME, GROUP_ADMINISTRATORS,
    GROUP_AUTHENTICATED, TokenName, User, UserId,
};
use tokio_util::sync::CancellationToken;

use super::token::TokenRecord;
use crate::clock::Clock;

/// Who makes a request, proven by a token.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Stable id; the name under which the user appears in connected clusters.
    pub user: UserId,
    /// Name used to log in, here or at the provider.
    pub username: String,
    /// Groups under which the user appears in connected clusters.
    pub groups: Vec<String>,
    /// Groups of the user at login providers. They count in the management API.
    pub provider_groups: Arc<[String]>,
    /// More about the user for connected clusters (`Impersonate-Extra-…`), by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Whether the user administers the server.
    pub administrator: bool,
    /// The token that was shown.
    pub token: TokenName,
    /// The login provider by which the user came.
    pub provider: String,
    /// The user as that provider knows them.
    pub principal: String,
    /// The only cluster that the token is good for.
    pub only_cluster: Option<ClusterId>,
    /// Whether the token is good for reading only.
    pub read_only: bool,
    /// Whether the user must change the password before anything else.
    pub must_change_password: bool,
    /// Whether a browser sends the proof by itself, whichever page asks it to: then what comes back must
    /// be safe to show, and what goes on must have been asked for by a page of this server.
    pub by_browser: bool,
    expires_at: Option<Timestamp>,
    ended: CancellationToken,
}

impl Identity {
    pub(super) fn new(
        user: &User,
        token: &TokenRecord,
        known_as: Option<&str>,
        provider_groups: Arc<[String]>,
        administrator: bool,
    ) -> Self {
        // Who comes by a provider alone has no name here.
        let username = match (user.username.as_str(), known_as) {
            ("", Some(name)) => name,
            ("", None) => &user.display_name,
            (name, _) => name,
        };
        let extra = BTreeMap::from([
            (EXTRA_PRINCIPALS.to_owned(), user.principal_ids.clone()),
            (EXTRA_USERNAME.to_owned(), vec![username.to_owned()]),
            (EXTRA_TOKEN.to_owned(), vec![token.name.to_string()]),
        ]);
        Self {
            user: token.user.clone(),
            username: username.to_owned(),
            groups: groups(administrator),
            provider_groups,
            extra,
            administrator,
            token: token.name.clone(),
            provider: token.provider.clone(),
            principal: token.principal.clone(),
            only_cluster: token.cluster.clone(),
            read_only: token.read_only,
            must_change_password: user.must_change_password,
            by_browser: false,
            expires_at: token.expires_at,
            ended: token.ended.clone(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(user: &str, administrator: bool, only_cluster: Option<&str>) -> Self {
        let id: UserId = user.parse().unwrap();
        Self {
            user: id,
            username: user.to_owned(),
            groups: Vec::new(),
            provider_groups: Arc::default(),
            extra: BTreeMap::new(),
            administrator,
            token: "token-1".parse().unwrap(),
            provider: "local".to_owned(),
            principal: format!("local://{user}"),
            only_cluster: only_cluster.map(|id| id.parse().unwrap()),
            read_only: false,
            must_change_password: false,
            by_browser: false,
            expires_at: None,
            ended: CancellationToken::new(),
        }
    }

    /// The same in other groups of login providers.
    pub(super) fn with_groups(&self, provider_groups: Arc<[String]>, administrator: bool) -> Self {
        Self {
            groups: groups(administrator),
            provider_groups,
            administrator,
            ..self.clone()
        }
    }

    /// Waits until the token is no longer good: revoked, disabled or expired, or its user is. What
    /// goes on for long (a watch, an exec) must stop then. Cancellation-safe.
    pub async fn until_ended(&self, clock: &Clock) {
        let Some(expires_at) = self.expires_at else {
            return self.ended.cancelled().await;
        };
        let left = expires_at.duration_since(clock.now());
        let left = std::time::Duration::try_from(left).unwrap_or_default();
        // A timeout is the end as well.
        let _ = tokio::time::timeout(left, self.ended.cancelled()).await;
    }
}

/// Groups under which a user appears in connected clusters, wherever they come from.
fn groups(administrator: bool) -> Vec<String> {
    let mut groups = vec![GROUP_AUTHENTICATED.to_owned()];
    if administrator {
        groups.push(GROUP_ADMINISTRATORS.to_owned());
    }
    groups
}
