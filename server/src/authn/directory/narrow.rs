//! Tokens that are good for one cluster alone, which the cluster itself may know.

use std::collections::{BTreeSet, HashMap};

use lariat_api::{ClusterId, UserId};

use crate::authn::token::TokenRecord;

/// Names of tokens, found by cluster and by user.
#[derive(Debug, Default)]
pub(super) struct Narrow {
    /// Names of tokens.
    by_cluster: HashMap<ClusterId, BTreeSet<String>>,
    /// How many tokens for which clusters.
    by_user: HashMap<UserId, HashMap<ClusterId, usize>>,
}

impl Narrow {
    /// The names of the tokens for a cluster.
    pub(super) fn for_cluster(&self, cluster: &ClusterId) -> impl Iterator<Item = &String> {
        self.by_cluster.get(cluster).into_iter().flatten()
    }

    /// The clusters for which a user has tokens.
    pub(super) fn clusters_of(&self, user: &UserId) -> impl Iterator<Item = &ClusterId> {
        self.by_user.get(user).into_iter().flat_map(HashMap::keys)
    }

    /// There is a token.
    pub(super) fn add(&mut self, token: &TokenRecord) {
        let Some(cluster) = &token.cluster else {
            return;
        };
        let names = self.by_cluster.entry(cluster.clone()).or_default();
        names.insert(token.name.to_string());
        let clusters = self.by_user.entry(token.user.clone()).or_default();
        *clusters.entry(cluster.clone()).or_default() += 1;
    }

    /// A token is gone.
    pub(super) fn remove(&mut self, token: &TokenRecord) {
        let Some(cluster) = &token.cluster else {
            return;
        };
        if let Some(names) = self.by_cluster.get_mut(cluster) {
            names.remove(token.name.as_str());
            if names.is_empty() {
                self.by_cluster.remove(cluster);
            }
        }
        let Some(clusters) = self.by_user.get_mut(&token.user) else {
            return;
        };
        if let Some(count) = clusters.get_mut(cluster) {
            *count -= 1;
            if *count == 0 {
                clusters.remove(cluster);
            }
        }
        if clusters.is_empty() {
            self.by_user.remove(&token.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::Token;

    fn token(name: &str, user: &str, cluster: &str) -> TokenRecord {
        let token: Token = serde_json::from_value(serde_json::json!({
            "apiVersion": "management.cattle.io/v3",
            "kind": "Token",
            "metadata": {"name": name},
            "userId": user,
            "clusterName": cluster,
            "tokenHash": "00".repeat(32),
            "expiresAt": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        TokenRecord::new(&token).unwrap()
    }

    #[test]
    fn tokens_are_found_by_cluster_and_clusters_by_user_until_the_last_is_gone() {
        let mut narrow = Narrow::default();
        let tokens = [
            token("token-a", "u-1", "c-1"),
            token("token-b", "u-1", "c-1"),
            token("token-c", "u-2", "c-1"),
            token("token-d", "u-1", ""),
        ];
        tokens.iter().for_each(|token| narrow.add(token));
        let (cluster, user) = ("c-1".parse().unwrap(), "u-1".parse().unwrap());
        let names: Vec<_> = narrow.for_cluster(&cluster).cloned().collect();
        assert_eq!(names, ["token-a", "token-b", "token-c"]);
        for (at, token) in tokens.iter().enumerate() {
            assert_eq!(narrow.clusters_of(&user).count(), usize::from(at < 2));
            narrow.remove(token);
        }
        assert_eq!(narrow.for_cluster(&cluster).count(), 0);
        assert!(narrow.by_cluster.is_empty() && narrow.by_user.is_empty());
    }
}
