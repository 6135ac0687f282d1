//! Who may do what with the management API: what membership gives, and what roles give besides.

use apiserver::cache::Visible;
use apiserver::rbac::{Rbac, Rule};
use apiserver::serve::{Attributes, Authorizer, Decision, ResourceAttributes, Rules, User};
use lariat_api::{Cluster, GROUP, Kind as _};

use super::{Membership, ONLY_CLUSTER, is_administrator, is_list, one_cluster_only};

/// The group of all who have logged in, as Kubernetes calls it. The roles that everybody has are bound
/// to it.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// Groups of the kinds in which a user asks about itself.
const REVIEWS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Allows what [`Membership`] allows, and what RBAC allows by roles of Kubernetes and of this server. With a token that is good for one cluster
/// only, no more than to see that one, to find out what there is, and to ask about oneself.
#[derive(Clone, Debug)]
pub struct ManagementAuthorizer {
    membership: Membership,
    rbac: Rbac,
}

impl ManagementAuthorizer {
    /// Decides by both.
    #[must_use]
    pub fn new(membership: Membership, rbac: Rbac) -> Self {
        Self { membership, rbac }
    }

    /// What somebody may do, whatever the token is good for.
    fn decide(&self, user: &User, what: &Attributes<'_>) -> Decision {
        let found = self.membership.decide(user, what);
        if matches!(found, Decision::Allow) {
            return found;
        }
        let refused = match self.rbac.authorize(user, what) {
            Decision::Deny(why) => why,
            allowed => return allowed,
        };
        let some = match what {
            Attributes::Resource(what) if is_list(what) && is_ours(what) => {
                self.rbac.visible(user, what)
            }
            _ => None,
        };
        match (found, some) {
            (Decision::AllowSome(own), Some(more)) => Decision::AllowSome(own.or(more)),
            (_, Some(some)) => Decision::AllowSome(some),
            (Decision::Deny(why), None) if why.is_empty() => Decision::Deny(refused),
            (found, None) => found,
        }
    }

    /// What somebody may do with a token that is good for one cluster only.
    fn decide_for_one(&self, user: &User, only: &str, what: &Attributes<'_>) -> Decision {
        let refused = Decision::Deny(one_cluster_only().0);
        let asked = match what {
            Attributes::Resource(asked) if !REVIEWS.contains(&asked.group) => asked,
            // Of nobody in particular, so that it is not more than the token is good for.
            _ => return self.rbac.authorize(&anybody(), what),
        };
        if (asked.group, asked.resource, asked.subresource) != (GROUP, Cluster::PLURAL, "") {
            return refused;
        }
        if asked.verb == "get" && asked.name == only {
            return self.decide(user, what);
        }
        if !is_list(asked) {
            return refused;
        }
        let visible = match self.decide(user, what) {
            Decision::Allow | Decision::AllowAs(_) => Visible::default(),
            Decision::AllowSome(visible) => visible,
            denied @ Decision::Deny(_) => return denied,
        };
        let only = only.to_owned();
        Decision::AllowSome(visible.and(move |item| item.selectable.name() == only))
    }
}

impl Authorizer for ManagementAuthorizer {
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision {
        match user.extra.get(ONLY_CLUSTER) {
            None => self.decide(user, what),
            Some(only) => {
                let only = only.first().map_or("", String::as_str);
                self.decide_for_one(user, only, what)
            }
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        // Membership gives single objects, which rules do not say.
        let mut rules = Rules {
            incomplete: true,
            ..Rules::default()
        };
        if user.extra.contains_key(ONLY_CLUSTER) {
            return rules;
        }
        if is_administrator(user) {
            rules.rules = Rule::everything();
            rules.incomplete = false;
            return rules;
        }
        Rules {
            incomplete: true,
            ..self.rbac.rules(user, namespace)
        }
    }
}

/// Lists of this server's kinds show whoever may not see all what they may get. Those of others are as in
/// Kubernetes: all or nothing.
fn is_ours(what: &ResourceAttributes<'_>) -> bool {
    what.group == GROUP && what.subresource.is_empty()
}

/// Somebody of whom nothing is known but that it has logged in.
fn anybody() -> User {
    User {
        groups: vec![AUTHENTICATED.to_owned()],
        ..User::default()
    }
}
