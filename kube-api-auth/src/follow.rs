//! Keeps what is known in step with the cluster, through times in which its API server is away: what was
//! last read stays.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute, OWNED, OWNED_LABEL};
use serde::de::DeserializeOwned;
use tracing::{error, info, warn};

use crate::known::Known;
use crate::policy::Policy;

/// Objects in one answer to a list.
const PAGE: u32 = 200;

/// Name of the ConfigMap of the agent's policy, and its key.
const POLICY_MAP: &str = "cattle-agent-policy";
const POLICY_KEY: &str = "policy.yaml";

/// Follows tokens, users and the policy. Does not return; to be dropped.
pub async fn all(kube: Client, namespace: String, known: Arc<Known>) {
    let owned = watcher::Config::default()
        .labels(&format!("{OWNED_LABEL}={OWNED}"))
        .page_size(PAGE);
    let policy = watcher::Config::default().fields(&format!("metadata.name={POLICY_MAP}"));
    let tokens = Api::<ClusterAuthToken>::namespaced(kube.clone(), &namespace);
    let users = Api::<ClusterUserAttribute>::namespaced(kube.clone(), &namespace);
    let policies: Api<ConfigMap> = Api::namespaced(kube, &namespace);
    let mut listed = false;
    futures::future::join3(
        follow("tokens", tokens, owned.clone(), |event| {
            known.take_in_token(event);
        }),
        follow("users", users, owned, |event| known.take_in_user(event)),
        follow("the policy of the agent", policies, policy, |event| {
            if let Some(policy) = policy_of(event, &mut listed) {
                known.set_policy(policy);
            }
        }),
    )
    .await;
}

async fn follow<K>(
    what: &str,
    api: Api<K>,
    config: watcher::Config,
    mut take_in: impl FnMut(Event<K>),
) where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut is_away = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // That a list begins says nothing yet.
                if !matches!(event, Event::Init) && std::mem::take(&mut is_away) {
                    info!(what, "following the cluster again");
                }
                take_in(event);
            }
            Err(error) => {
                // A watch that runs out is told as an error as well; once is enough.
                if !std::mem::replace(&mut is_away, true) {
                    warn!(what, %error, "cannot follow the cluster; what was last read stays");
                }
            }
        }
    }
}

/// The policy that an event says, if it says one. `listed` is whether a list had the ConfigMap.
fn policy_of(event: Event<ConfigMap>, listed: &mut bool) -> Option<Policy> {
    match event {
        Event::Init => {
            *listed = false;
            None
        }
        Event::InitApply(map) | Event::Apply(map) => {
            *listed = true;
            let text = map.data.as_ref().and_then(|data| data.get(POLICY_KEY));
            let missing =
                || Policy::denying(&format!("ConfigMap {POLICY_MAP} has no {POLICY_KEY}"));
            let policy = text.map_or_else(missing, |text| Policy::read(text));
            info!(?policy, "policy in force");
            Some(policy)
        }
        Event::InitDone if *listed => None,
        Event::Delete(_) | Event::InitDone => {
            error!("ConfigMap {POLICY_MAP} is missing: nobody is let in");
            Some(Policy::denying(&format!(
                "ConfigMap {POLICY_MAP} is missing"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_config_map_nobody_is_let_in() {
        let mut listed = false;
        let lets_in =
            |policy: Option<Policy>| policy.map(|policy| policy.check("u-1", &[]).is_ok());
        assert!(policy_of(Event::Init, &mut listed).is_none());
        assert_eq!(
            lets_in(policy_of(Event::InitDone, &mut listed)),
            Some(false)
        );
        let text = "impersonate: {users: ['u-*']}\naccess: readWrite\nnamespaces: ['*']\n";
        let map = ConfigMap {
            data: Some([(POLICY_KEY.to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        };
        assert_eq!(
            lets_in(policy_of(Event::Apply(map.clone()), &mut listed)),
            Some(true)
        );
        assert!(policy_of(Event::InitDone, &mut listed).is_none());
        let bare = ConfigMap::default();
        assert_eq!(
            lets_in(policy_of(Event::Apply(bare), &mut listed)),
            Some(false)
        );
        assert_eq!(
            lets_in(policy_of(Event::Delete(map), &mut listed)),
            Some(false)
        );
    }
}
