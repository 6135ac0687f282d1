//! Who may do what with the management API: what roles give, those of Kubernetes and those of this server.

use std::sync::Arc;

use apiserver::cache::{Item, Visible};
use apiserver::rbac::{Rbac, Rule};
use apiserver::serve::{Attributes, Authorizer, Decision, ResourceAttributes, Rules, User};
use lariat_api::{Cluster, GROUP, Kind as _, Project, Token};

use super::{ONLY_CLUSTER, is_administrator, one_cluster_only};
use crate::authn::Directory;
use crate::stored::decode;

/// The group of all who have logged in, as Kubernetes calls it. The roles that everybody has are bound
/// to it.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// Groups of the kinds in which a user asks about itself.
const REVIEWS: [&str; 2] = ["authentication.k8s.io", "authorization.k8s.io"];

/// Allows administrators everything, and others what RBAC allows and what they do with their own tokens.
/// With a token that is good for one cluster only, no more than to see that one, to find out what there
/// is, and to ask about oneself.
#[derive(Clone, Debug)]
pub struct ManagementAuthorizer {
    directory: Arc<Directory>,
    rbac: Rbac,
}

impl ManagementAuthorizer {
    /// Decides by roles, and by who has which token.
    #[must_use]
    pub fn new(directory: Arc<Directory>, rbac: Rbac) -> Self {
        Self { directory, rbac }
    }

    /// What somebody may do, whatever the token is good for.
    fn decide(&self, user: &User, what: &Attributes<'_>) -> Decision {
        if is_administrator(user) {
            return Decision::Allow;
        }
        let refused = match self.rbac.authorize(user, what) {
            Decision::Deny(why) => Decision::Deny(why),
            allowed => return allowed,
        };
        match what {
            Attributes::Resource(what) if what.group == GROUP && what.subresource.is_empty() => {
                self.decide_for_some(user, what).unwrap_or(refused)
            }
            _ => refused,
        }
    }

    /// Lists of this server's kinds show whoever may not see all what they may get, be it nothing of what
    /// everybody may have some of. Those of other kinds are as in Kubernetes: all or nothing.
    fn decide_for_some(&self, user: &User, what: &ResourceAttributes<'_>) -> Option<Decision> {
        if !is_list(what) {
            let token = self.directory.token(what.name);
            let own = token.is_some_and(|token| token.user.as_str() == user.name);
            return (own && what.resource == Token::PLURAL).then_some(Decision::Allow);
        }
        let some = self.rbac.visible(user, what);
        let own = match what.resource {
            Token::PLURAL => Some(tokens_of(user)),
            Cluster::PLURAL | Project::PLURAL if what.namespace.is_empty() => {
                Some(Visible::when(|_| false))
            }
            _ => None,
        };
        let visible = match (some, own) {
            (Some(some), Some(own)) => some.or(own),
            (some, own) => some.or(own)?,
        };
        Some(Decision::AllowSome(visible))
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
        // Nor do rules say whose tokens are whose.
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

fn is_list(what: &ResourceAttributes<'_>) -> bool {
    matches!(what.verb, "list" | "watch")
}

/// What the object itself says counts: the directory may be ahead of what is told, or behind.
fn tokens_of(user: &User) -> Visible {
    let user = user.name.clone();
    Visible::when(move |item: &Item| {
        let whose = item.read(|entry| decode::<Token>(entry).map(|token| token.user_id));
        matches!(whose, Some(Ok(whose)) if *whose == user)
    })
}

/// Somebody of whom nothing is known but that it has logged in.
fn anybody() -> User {
    User {
        groups: vec![AUTHENTICATED.to_owned()],
        ..User::default()
    }
}
