//! What the server may ask of this cluster: a policy that lives in the cluster and that the
//! server cannot change through the tunnel. What it does not allow is denied.

mod rules;

pub use rules::Policy;

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "cattle-agent-policy";

/// Its key that holds the policy.
const KEY: &str = "policy.yaml";

/// The policy in force; clones see the same one.
#[derive(Clone, Debug)]
pub struct Current(Arc<RwLock<Arc<Policy>>>);

impl Current {
    /// Denies everything, for this reason.
    pub fn denying(reason: &str) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Policy::denying(reason)))))
    }

    /// The policy to decide one request by.
    pub fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

/// Keeps `current` in step with the ConfigMap until `stop`. While the cluster cannot be asked, the
/// last policy stays in force.
pub async fn watch(kube: Client, namespace: String, current: Current, stop: CancellationToken) {
    let maps: Api<ConfigMap> = Api::namespaced(kube, &namespace);
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let events = watcher(maps, only_ours).default_backoff();
    let events = events.take_until(stop.cancelled_owned());
    pin_mut!(events);
    let mut seen_in_list = false;
    let mut is_away = false;
    while let Some(event) = events.next().await {
        // That a list begins says nothing yet.
        let begins = matches!(event, Ok(watcher::Event::Init));
        match event {
            Ok(watcher::Event::Init) => seen_in_list = false,
            Ok(watcher::Event::InitApply(map) | watcher::Event::Apply(map)) => {
                seen_in_list = true;
                apply(&current, &map, &namespace);
            }
            Ok(watcher::Event::Delete(_)) => deny_missing(&current, &namespace),
            Ok(watcher::Event::InitDone) if !seen_in_list => deny_missing(&current, &namespace),
            Ok(watcher::Event::InitDone) => {}
            Err(error) => {
                // It is tried again and again; once is enough.
                if !std::mem::replace(&mut is_away, true) {
                    warn!(%error, "cannot watch the policy; the last one stays in force");
                }
                continue;
            }
        }
        if !begins && std::mem::take(&mut is_away) {
            info!("watching the policy again");
        }
    }
}

fn apply(current: &Current, map: &ConfigMap, namespace: &str) {
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    let parsed = text
        .ok_or_else(|| format!("it has no key {KEY}"))
        .and_then(|text| {
            Policy::parse(text, namespace).map_err(|error| first_line(&error.to_string()))
        });
    match parsed {
        Ok(policy) => {
            info!(?policy, "policy in force");
            current.set(policy);
        }
        Err(reason) => {
            error!(
                config_map = CONFIG_MAP,
                reason, "policy cannot be read: everything is denied"
            );
            let reason = format!("ConfigMap {CONFIG_MAP} cannot be read: {reason}");
            current.set(Policy::denying(&reason));
        }
    }
}

/// A parser's message goes on with an excerpt of the text.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn deny_missing(current: &Current, namespace: &str) {
    error!(
        config_map = CONFIG_MAP,
        namespace, "policy is missing: everything is denied"
    );
    let reason = format!("ConfigMap {CONFIG_MAP} in namespace {namespace} is missing");
    current.set(Policy::denying(&reason));
}
