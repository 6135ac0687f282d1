//! Who may do what. Decides over parsed values, the same that are then carried out.

mod access;
mod action;
mod guard;
mod management;

use std::sync::Arc;

use apiserver::cache::{Item, Visible};
use apiserver::error::{About, ApiError};
use apiserver::serve::{Attributes, Decision, ResourceAttributes, User};
use http::StatusCode;
use lariat_api::{
    Cluster, ClusterId, ClusterRole, GROUP, GROUP_ADMINISTRATORS, GROUP_CLUSTER_MEMBERS,
    GROUP_CLUSTER_OWNERS, Kind, Token, UserId,
};

pub(crate) use access::{Access, prefixes as access_prefixes};
pub use action::Action;
pub(crate) use guard::Guard;
pub(crate) use management::AUTHENTICATED;
pub use management::ManagementAuthorizer;

use crate::authn::{Directory, Identity};
use crate::state::App;
use crate::stored::decode;

/// Where a user carries the only cluster that its token is good for.
pub(crate) const ONLY_CLUSTER: &str = "cluster";

/// A request is not allowed. Its text is for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Administrators may do everything, members what their role in a cluster says, everybody what
/// concerns only themselves.
#[derive(Clone, Debug)]
pub struct Membership {
    directory: Arc<Directory>,
}

impl Membership {
    /// Roles as the directory knows them.
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// Whether somebody may make tokens of their own.
    ///
    /// # Errors
    /// With the reason, if not.
    pub fn authorize_own_tokens(who: &Identity) -> Result<(), Denied> {
        match &who.only_cluster {
            None => Ok(()),
            Some(_) => Err(one_cluster_only()),
        }
    }

    /// Whether somebody may send that request to a cluster. Returns the groups that the user has
    /// there besides those of the identity. The cluster's own RBAC decides after that.
    ///
    /// # Errors
    /// With the reason, if not.
    pub fn authorize_in_cluster(
        who: &Identity,
        cluster: &Cluster,
        what: &Action,
    ) -> Result<Vec<&'static str>, Denied> {
        if who
            .only_cluster
            .as_ref()
            .is_some_and(|only| only.as_str() != cluster.name())
        {
            return Err(Denied("the token is good for another cluster".to_owned()));
        }
        match cluster.role_of(&who.user) {
            Some(ClusterRole::Owner) => Ok(vec![GROUP_CLUSTER_OWNERS, GROUP_CLUSTER_MEMBERS]),
            Some(ClusterRole::Member) => Ok(vec![GROUP_CLUSTER_MEMBERS]),
            None if who.administrator => Ok(Vec::new()),
            None => {
                let (user, verb) = (&who.username, what.verb);
                let cluster = cluster.name();
                let message = format!(
                    "user {user:?} may not {verb} {} in cluster {cluster:?}: not a member of it",
                    what.target
                );
                Err(Denied(message))
            }
        }
    }

    fn role(&self, user: &UserId, cluster: &str) -> Option<ClusterRole> {
        let cluster = self.directory.cluster(&cluster.parse().ok()?)?;
        cluster.role_of(user)
    }

    /// What somebody may do, whatever the token is good for.
    fn decide(&self, user: &User, what: &Attributes<'_>) -> Decision {
        if is_administrator(user) {
            return Decision::Allow;
        }
        match (what, user.name.parse()) {
            (Attributes::Resource(what), Ok(id)) => self.decide_by_role(&id, what),
            (Attributes::Resource(_), Err(_)) => {
                Decision::Deny("not a user of this server".to_owned())
            }
            (Attributes::Path { .. }, _) => Decision::Deny(String::new()),
        }
    }

    /// What a user who is no administrator may do.
    fn decide_by_role(&self, user: &UserId, what: &ResourceAttributes<'_>) -> Decision {
        let reads = matches!(what.verb, "get" | "list" | "watch");
        let across = is_list(what);
        let allowed = match what.resource {
            _ if what.group != GROUP || !what.subresource.is_empty() => false,
            "clusters" if across => return Decision::AllowSome(clusters_of(user)),
            "clusters" => match self.role(user, what.name) {
                Some(ClusterRole::Owner) => true,
                Some(ClusterRole::Member) => reads,
                None => false,
            },
            "clusterregistrationtokens" if across && what.namespace.is_empty() => {
                return Decision::AllowSome(self.in_own_clusters(user));
            }
            "clusterregistrationtokens" => {
                self.role(user, what.namespace) == Some(ClusterRole::Owner)
            }
            "tokens" if across => return Decision::AllowSome(tokens_of(user)),
            "tokens" if what.verb == "create" => true,
            "tokens" => {
                let token = self.directory.token(what.name);
                token.is_some_and(|token| token.user == *user)
            }
            "users" if across => {
                let user = user.to_string();
                return Decision::AllowSome(Visible::when(move |item| {
                    item.selectable.name() == user
                }));
            }
            "users" => reads && what.name == user.as_str(),
            "settings" => reads,
            _ => false,
        };
        if allowed {
            Decision::Allow
        } else {
            Decision::Deny(String::new())
        }
    }

    fn in_own_clusters(&self, user: &UserId) -> Visible {
        let (own, user) = (self.clone(), user.clone());
        Visible::when(move |item| {
            own.role(&user, item.selectable.namespace()) == Some(ClusterRole::Owner)
        })
    }
}

/// Whether somebody administers the server, as the server itself does.
pub(crate) fn is_administrator(user: &User) -> bool {
    let mut groups = user.groups.iter();
    user.is_master() || groups.any(|group| group == GROUP_ADMINISTRATORS)
}

fn is_list(what: &ResourceAttributes<'_>) -> bool {
    matches!(what.verb, "list" | "watch")
}

fn one_cluster_only() -> Denied {
    Denied("the token is good for one cluster only".to_owned())
}

/// What the object itself says counts: the directory may be ahead of what is told, or behind.
fn clusters_of(user: &UserId) -> Visible {
    seen_by(user, |cluster: &Cluster| {
        let members = cluster.spec.members.iter();
        members.map(|member| member.user_id.to_string()).collect()
    })
}

fn tokens_of(user: &UserId) -> Visible {
    seen_by(user, |token: &Token| vec![token.user_id.clone()])
}

/// Objects that concern a user. `users` says whom an object concerns.
fn seen_by<K: Kind>(user: &UserId, users: fn(&K) -> Vec<String>) -> Visible {
    let user = user.to_string();
    Visible::when(move |item: &Item| {
        let concerned = item.read(|entry| decode(entry).map_or_else(|_| Vec::new(), |k| users(&k)));
        concerned.is_some_and(|concerned| concerned.contains(&user))
    })
}

/// A cluster by id.
///
/// # Errors
/// 404 for an unknown cluster.
pub(crate) fn find_cluster(app: &App, id: &ClusterId) -> Result<Arc<Cluster>, ApiError> {
    let found = app.directory.cluster(id);
    found.ok_or_else(|| no_such_cluster(id.as_str()))
}

/// 404 for a cluster of that id.
pub(crate) fn no_such_cluster(id: &str) -> ApiError {
    ApiError::not_found(About {
        group: GROUP,
        what: Cluster::PLURAL,
        name: id,
    })
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", denied.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::{ClusterMember, GROUP_AUTHENTICATED};

    fn somebody(user: &str, administrator: bool, only: Option<&str>) -> Identity {
        Identity::for_test(user, administrator, only)
    }

    fn cluster(role: Option<ClusterRole>) -> Cluster {
        let mut cluster = Cluster::new("prod");
        cluster.metadata.name = Some("c-1".into());
        let user_id = "u-1".parse().unwrap();
        cluster.spec.members = role
            .map(|role| ClusterMember { user_id, role })
            .into_iter()
            .collect();
        cluster
    }

    #[test]
    fn administrators_are_known_by_their_group() {
        let user = |group: &str| User {
            groups: vec![group.to_owned()],
            ..User::default()
        };
        assert!(is_administrator(&user(GROUP_ADMINISTRATORS)));
        assert!(!is_administrator(&user(GROUP_AUTHENTICATED)));
    }

    #[test]
    fn a_token_for_one_cluster_is_good_for_nothing_else() {
        let first = cluster(None);
        let info = Action::parse(&http::Method::GET, "/api/v1/pods");
        let allowed = |who: &Identity| Membership::authorize_in_cluster(who, &first, &info).is_ok();
        let other = somebody("u-1", true, Some("c-2"));
        assert!(!allowed(&other));
        assert!(Membership::authorize_own_tokens(&other).is_err());
        assert!(allowed(&somebody("u-1", true, Some("c-1"))));
    }

    #[test]
    fn groups_in_a_cluster_follow_the_role() {
        let info = Action::parse(&http::Method::GET, "/api/v1/pods");
        let user = somebody("u-1", false, None);
        let member = cluster(Some(ClusterRole::Member));
        let groups = Membership::authorize_in_cluster(&user, &member, &info).unwrap();
        assert_eq!(groups, [GROUP_CLUSTER_MEMBERS]);
        let denied = Membership::authorize_in_cluster(&user, &cluster(None), &info).unwrap_err();
        let expected = "user \"u-1\" may not list pods in cluster \"c-1\": not a member of it";
        assert_eq!(denied.0, expected);
    }
}
