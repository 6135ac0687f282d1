//! Whom a cluster shall know.

use std::collections::BTreeMap;

use http::Method;
use kube::core::ObjectMeta;
use lariat_api::downstream::{
    ClusterAuthToken, ClusterUserAttribute, NAMESPACE, OWNED, OWNED_LABEL,
};
use lariat_api::{ClusterId, EXTRA_TOKEN};

use crate::authn::{Identity, TokenRecord};
use crate::authz::{self, Action};
use crate::controllers::mirror::Key;
use crate::state::App;

/// Who says what is said of users besides.
const PROVIDER: &str = "lariat";

/// What a cluster shall have.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) tokens: BTreeMap<Key, ClusterAuthToken>,
    pub(super) users: BTreeMap<Key, ClusterUserAttribute>,
}

impl Wanted {
    /// The tokens that are good for this cluster alone, of people who may reach it, and these people in
    /// the groups in which a request of theirs would come through the tunnel.
    pub(super) fn new(app: &App, cluster: &ClusterId) -> Self {
        let mut wanted = Self::default();
        let Some(object) = app.directory.cluster(cluster) else {
            return wanted;
        };
        let asking = Action::parse(&Method::GET, "/");
        for (token, who) in app.directory.tokens_for(cluster) {
            // Who must change the password may do nothing before.
            if who.must_change_password {
                continue;
            }
            // No cluster knows of tokens that only read.
            if who.read_only {
                continue;
            }
            // What goes past this server cannot be recorded.
            if authz::must_be_recorded(app, &who, &object) {
                continue;
            }
            if let Ok(groups) = authz::groups_in_cluster(app, &who, &object, &asking) {
                wanted.add(&token, &who, groups.all);
            }
        }
        wanted
    }

    fn add(&mut self, token: &TokenRecord, who: &Identity, groups: Vec<String>) {
        let mut extra = who.extra.clone();
        extra.remove(EXTRA_TOKEN);
        let user = ClusterUserAttribute {
            metadata: named(who.user.as_str()),
            enabled: true,
            groups,
            extra_by_provider: [(PROVIDER.to_owned(), extra)].into(),
            ..ClusterUserAttribute::default()
        };
        self.users.insert(Key::of(&user), user);
        let expires_at = token.expires_at.map(|end| end.to_string());
        let token = ClusterAuthToken {
            metadata: named(token.name.as_str()),
            user_name: who.user.to_string(),
            enabled: true,
            hash: token.hash().unsalted(),
            expires_at: expires_at.unwrap_or_default(),
            ..ClusterAuthToken::default()
        };
        self.tokens.insert(Key::of(&token), token);
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        labels: Some([(OWNED_LABEL.to_owned(), OWNED.to_owned())].into()),
        ..ObjectMeta::default()
    }
}
