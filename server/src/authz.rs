//! Who may do what. Decides over parsed values, the same that are then carried out.

mod access;
mod action;
mod guard;
mod management;
mod ongoing;

use std::sync::Arc;

use apiserver::error::{About, ApiError};
use apiserver::serve::{Attributes, Decision, ResourceAttributes, User};
use http::StatusCode;
use lariat_api::{
    Cluster, ClusterId, GROUP, GROUP_ADMINISTRATORS, GROUP_CLUSTER_MEMBERS, GROUP_CLUSTER_OWNERS,
    Kind,
};

#[cfg(test)]
pub(crate) use access::own_rules;
pub(crate) use access::{
    ADMIN, Access, Held, Holder, InCluster, Limited, Purpose, Right, Rights, Role,
    prefixes as access_prefixes,
};
pub use action::Action;
pub(crate) use guard::Guard;
pub(crate) use management::AUTHENTICATED;
pub use management::ManagementAuthorizer;
pub(crate) use ongoing::{Ongoing, until_less};

use crate::authn::Identity;
use crate::management as api;
use crate::state::App;
use access::Standing;

/// Where a user carries the only cluster that its token is good for.
pub(crate) const ONLY_CLUSTER: &str = "cluster";

/// Why a request is refused that does something, with a token that only reads.
pub(crate) const READING_ONLY: &str = "the token is good for reading only";

/// A request is not allowed. Its text is for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Whether somebody may make tokens of their own.
///
/// # Errors
/// With the reason, if not.
pub(crate) fn own_tokens(who: &Identity) -> Result<(), Denied> {
    match &who.only_cluster {
        None => Ok(()),
        Some(_) => Err(one_cluster_only()),
    }
}

/// Whether somebody may send that request to a cluster: whoever may get the Cluster. Returns the groups
/// that the user has there besides those of the identity. The cluster's own RBAC decides after that.
///
/// # Errors
/// With the reason, if not.
pub(crate) fn in_cluster(
    app: &App,
    who: &Identity,
    cluster: &Cluster,
    what: &Action,
) -> Result<Vec<&'static str>, Denied> {
    let only = who.only_cluster.as_ref();
    if only.is_some_and(|only| only.as_str() != cluster.name()) {
        return Err(Denied("the token is good for another cluster".to_owned()));
    }
    let user = api::user(who);
    if !may_get(app, &user, Cluster::PLURAL, cluster.name()) {
        let (user, verb) = (&who.username, what.verb);
        let cluster = cluster.name();
        let message = format!(
            "user {user:?} may not {verb} {} in cluster {cluster:?}: no role in it",
            what.target
        );
        return Err(Denied(message));
    }
    let standing = app
        .directory
        .access(|access| access.standing(&user, cluster.name()));
    Ok(match standing {
        Some(Standing::Owner) => vec![GROUP_CLUSTER_OWNERS, GROUP_CLUSTER_MEMBERS],
        Some(Standing::Member) => vec![GROUP_CLUSTER_MEMBERS],
        None => Vec::new(),
    })
}

/// Whether what somebody does in containers of a cluster must be recorded: where the cluster or the
/// server says so of all, and where a role of theirs says so.
pub(crate) fn must_be_recorded(app: &App, who: &Identity, cluster: &Cluster) -> bool {
    let settings = cluster.spec.session_recording.as_ref();
    app.config.recordings.all
        || settings.is_some_and(|settings| settings.required)
        || app
            .directory
            .access(|access| access.recorded(&api::user(who), cluster.name()))
}

/// The groups in which a cluster sees somebody.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// All of them: those of the identity, those by roles in the cluster, and of those at login providers the
    /// ones in whose name the cluster can be asked.
    pub(crate) all: Vec<String>,
    /// Those by roles in the cluster.
    pub(crate) by_role: Vec<&'static str>,
}

/// The groups in which a cluster sees somebody who may send it that request. See [`in_cluster`].
///
/// # Errors
/// With the reason, if not.
pub(crate) fn groups_in_cluster(
    app: &App,
    who: &Identity,
    cluster: &Cluster,
    what: &Action,
) -> Result<Groups, Denied> {
    let by_role = in_cluster(app, who, cluster, what)?;
    let own = who.groups.iter().map(String::as_str);
    let own = own.chain(by_role.iter().copied()).map(str::to_owned);
    let of = &who.provider_groups;
    let at_providers = app.controllers.groups_in(cluster.name(), of);
    let all = own.chain(at_providers).collect();
    Ok(Groups { all, by_role })
}

/// The roles that somebody has in a cluster now.
pub(crate) fn roles_in(app: &App, who: &Identity, cluster: &str) -> Held {
    let (user, groups) = (who.user.as_str(), &who.provider_groups);
    (app.directory).access(|access| access.roles_in(cluster, user, groups))
}

/// Whether somebody may get an object of this server's kinds that is in no namespace.
pub(crate) fn may_get(app: &App, user: &User, resource: &str, name: &str) -> bool {
    let what = Attributes::Resource(ResourceAttributes {
        verb: "get",
        group: GROUP,
        resource,
        subresource: "",
        namespace: "",
        name,
    });
    let decided = app.authorizer.authorize(user, &what);
    matches!(decided, Decision::Allow | Decision::AllowAs(_))
}

/// Whether somebody administers the server, as the server itself does.
pub(crate) fn is_administrator(user: &User) -> bool {
    let mut groups = user.groups.iter();
    user.is_master() || groups.any(|group| group == GROUP_ADMINISTRATORS)
}

fn one_cluster_only() -> Denied {
    Denied("the token is good for one cluster only".to_owned())
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
    use lariat_api::GROUP_AUTHENTICATED;

    #[test]
    fn administrators_are_known_by_their_group() {
        let user = |group: &str| User {
            groups: vec![group.to_owned()],
            ..User::default()
        };
        assert!(is_administrator(&user(GROUP_ADMINISTRATORS)));
        assert!(!is_administrator(&user(GROUP_AUTHENTICATED)));
    }
}
