//! Who may do what. Decides over parsed values, the same that are then carried out.

mod request_info;

use std::sync::Arc;

use lariat_api::{Cluster, ClusterId, ClusterRole, GROUP_CLUSTER_MEMBERS, GROUP_CLUSTER_OWNERS};

pub use request_info::RequestInfo;

use crate::authn::Identity;
use crate::edge::{ApiError, ProxyRequest};
use crate::state::App;

/// A request to the management API.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// Plural of the kind.
    pub resource: &'static str,
    /// Name of the object; empty for requests about all of them.
    pub name: &'a str,
    /// The cluster that it belongs to, if any.
    pub cluster: Option<&'a Cluster>,
    /// The user that it belongs to, if any.
    pub owner: Option<&'a str>,
}

/// A request is not allowed. Its text is for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Decides about requests.
pub trait Authorizer: Send + Sync + std::fmt::Debug {
    /// Whether somebody may do that to the management API.
    ///
    /// # Errors
    /// With the reason, if not.
    fn authorize(&self, who: &Identity, what: &Attributes<'_>) -> Result<(), Denied>;

    /// Whether somebody may send that request to a cluster. Returns the groups that the user has
    /// there besides those of the identity. The cluster's own RBAC decides after that.
    ///
    /// # Errors
    /// With the reason, if not.
    fn authorize_in_cluster(
        &self,
        who: &Identity,
        cluster: &Cluster,
        what: &RequestInfo,
    ) -> Result<Vec<&'static str>, Denied>;
}

/// Administrators may do everything, members what their role in a cluster says, everybody what
/// concerns only themselves.
#[derive(Clone, Copy, Debug)]
pub struct Membership;

impl Authorizer for Membership {
    fn authorize(&self, who: &Identity, what: &Attributes<'_>) -> Result<(), Denied> {
        let denied = || {
            let Attributes {
                verb,
                resource,
                name,
                ..
            } = what;
            let object = if name.is_empty() {
                String::new()
            } else {
                format!(" {name:?}")
            };
            let user = &who.username;
            Err(Denied(format!(
                "user {user:?} may not {verb} {resource}{object}"
            )))
        };
        if who.only_cluster.is_some() && (what.resource, what.verb) != ("clusters", "get") {
            return Err(Denied("the token is good for one cluster only".to_owned()));
        }
        if let Some(only) = &who.only_cluster
            && what.name != only.as_str()
        {
            return denied();
        }
        if who.administrator {
            return Ok(());
        }
        let reads = matches!(what.verb, "get" | "list" | "watch");
        let role = what.cluster.and_then(|cluster| cluster.role_of(&who.user));
        let own = what.owner == Some(who.user.as_str());
        let allowed = match what.resource {
            "clusters" => match role {
                Some(ClusterRole::Owner) => what.verb != "create",
                Some(ClusterRole::Member) => reads,
                None => false,
            },
            "clusterregistrationtokens" => role == Some(ClusterRole::Owner),
            "tokens" => own,
            "users" => own && reads,
            "settings" => reads,
            _ => false,
        };
        if allowed { Ok(()) } else { denied() }
    }

    fn authorize_in_cluster(
        &self,
        who: &Identity,
        cluster: &Cluster,
        what: &RequestInfo,
    ) -> Result<Vec<&'static str>, Denied> {
        use lariat_api::Kind;

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
                    what.resource_name()
                );
                Err(Denied(message))
            }
        }
    }
}

/// The cluster that a request goes to, if it exists. Who may not see it learns nothing else.
///
/// # Errors
/// 404 for an unknown cluster.
pub(crate) fn cluster(app: &App, request: &ProxyRequest) -> Result<Arc<Cluster>, ApiError> {
    find_cluster(app, &request.cluster)
}

/// A cluster by id.
///
/// # Errors
/// 404 for an unknown cluster.
pub(crate) fn find_cluster(app: &App, id: &ClusterId) -> Result<Arc<Cluster>, ApiError> {
    app.directory.cluster(id).ok_or_else(|| {
        ApiError::not_found(format!(
            "clusters.{} {:?} not found",
            lariat_api::GROUP,
            id.as_str()
        ))
    })
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::forbidden(denied.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::ClusterMember;

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

    fn about<'a>(
        verb: &'static str,
        resource: &'static str,
        cluster: Option<&'a Cluster>,
        owner: Option<&'a str>,
    ) -> Attributes<'a> {
        let name = if cluster.is_some() { "c-1" } else { "" };
        Attributes {
            verb,
            resource,
            name,
            cluster,
            owner,
        }
    }

    #[test]
    fn members_read_owners_change_strangers_see_nothing() {
        let user = somebody("u-1", false, None);
        for (role, verb, allowed) in [
            (None, "get", false),
            (Some(ClusterRole::Member), "get", true),
            (Some(ClusterRole::Member), "update", false),
            (Some(ClusterRole::Member), "delete", false),
            (Some(ClusterRole::Owner), "update", true),
            (Some(ClusterRole::Owner), "create", false),
        ] {
            let cluster = cluster(role);
            let what = about(verb, "clusters", Some(&cluster), None);
            assert_eq!(
                Membership.authorize(&user, &what).is_ok(),
                allowed,
                "{role:?} {verb}"
            );
        }
    }

    #[test]
    fn everybody_has_their_own_tokens_only() {
        let user = somebody("u-1", false, None);
        let own = about("delete", "tokens", None, Some("u-1"));
        let other = about("delete", "tokens", None, Some("u-2"));
        assert!(Membership.authorize(&user, &own).is_ok());
        assert!(Membership.authorize(&user, &other).is_err());
        let user_itself = about("update", "users", None, Some("u-1"));
        assert!(Membership.authorize(&user, &user_itself).is_err());
    }

    #[test]
    fn a_token_for_one_cluster_is_good_for_nothing_else() {
        let admin = somebody("u-1", true, Some("c-2"));
        let first = cluster(None);
        let get = about("get", "clusters", Some(&first), None);
        assert!(Membership.authorize(&admin, &get).is_err());
        let tokens = about("create", "tokens", None, Some("u-1"));
        assert!(Membership.authorize(&admin, &tokens).is_err());
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/pods");
        assert!(
            Membership
                .authorize_in_cluster(&admin, &first, &info)
                .is_err()
        );
        let admin = somebody("u-1", true, Some("c-1"));
        assert!(Membership.authorize(&admin, &get).is_ok());
        assert!(
            Membership
                .authorize_in_cluster(&admin, &first, &info)
                .is_ok()
        );
    }

    #[test]
    fn groups_in_a_cluster_follow_the_role() {
        let info = RequestInfo::parse(&http::Method::GET, "/api/v1/pods");
        let user = somebody("u-1", false, None);
        let member = cluster(Some(ClusterRole::Member));
        let groups = Membership
            .authorize_in_cluster(&user, &member, &info)
            .unwrap();
        assert_eq!(groups, [GROUP_CLUSTER_MEMBERS]);
        let denied = Membership
            .authorize_in_cluster(&user, &cluster(None), &info)
            .unwrap_err();
        let expected = "user \"u-1\" may not list pods in cluster \"c-1\": not a member of it";
        assert_eq!(denied.0, expected);
    }
}
