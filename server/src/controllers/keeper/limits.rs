//! What namespaces of projects may take: ResourceQuotas and LimitRanges, and NetworkPolicies that close
//! projects to each other. Few clusters have any, so that they are watched only where there are some.

mod allotment;
mod wanted;

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};
use kube::runtime::watcher::Event;
use lariat_api::ResourceQuotaLimit;

use super::apply::Hand;
use super::mirror::{Mirror, TooMany};
use super::names;
use super::namespaces::Space;
use super::object::{Kept, Seen};
use super::plan::Plan;
use crate::authz::Rights;
use crate::controllers::client::Remote;
use crate::controllers::watch::watch;
use wanted::Wanted;

/// The objects of a cluster that limit namespaces.
#[derive(Debug, Default)]
pub(super) struct Limits {
    quotas: Mirror<Seen>,
    ranges: Mirror<Seen>,
    policies: Mirror<Seen>,
}

/// What a watch of them tells.
#[derive(Debug)]
pub(super) enum News {
    Quota(Event<ResourceQuota>),
    Range(Event<LimitRange>),
    Policy(Event<NetworkPolicy>),
}

/// What came of it besides.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How much of the quotas of projects is given to their namespaces, where that has changed.
    pub(super) used: BTreeMap<String, ResourceQuotaLimit>,
    /// What namespaces are told, by name. Empty: nothing is wrong.
    pub(super) told: BTreeMap<String, String>,
}

/// Whether anything of a cluster is to be limited.
pub(super) fn are_said(rights: &Rights) -> bool {
    let mut projects = rights.projects.values();
    rights.isolated || projects.any(|project| project.limited.is_some())
}

/// Whether anything is limited that was said when the server last looked after the cluster.
pub(super) async fn are_left(client: &kube::Client) -> kube::Result<bool> {
    async fn some<K: Kept>(api: Api<K>) -> kube::Result<bool> {
        let one = ListParams::default().labels(names::MANAGED).limit(1);
        Ok(!api.list_metadata(&one).await?.items.is_empty())
    }
    let client = || client.clone();
    Ok(some::<ResourceQuota>(Api::all(client())).await?
        || some::<LimitRange>(Api::all(client())).await?
        || some::<NetworkPolicy>(Api::all(client())).await?)
}

/// Watches all of them.
pub(super) fn follow(remote: &Remote) -> [BoxStream<'static, kube::Result<News>>; 3] {
    let ours = || ListParams::default().labels(names::MANAGED);
    [
        watch(remote.sender(), None, ours(), News::Quota),
        watch(remote.sender(), None, ours(), News::Range),
        watch(remote.sender(), None, ours(), News::Policy),
    ]
}

impl Limits {
    pub(super) fn is_complete(&self) -> bool {
        self.quotas.is_complete() && self.ranges.is_complete() && self.policies.is_complete()
    }

    pub(super) fn len(&self) -> usize {
        self.quotas.len() + self.ranges.len() + self.policies.len()
    }

    pub(super) fn take(&mut self, news: News) -> Result<bool, TooMany> {
        match news {
            News::Quota(event) => self.quotas.take(event, ResourceQuota::seen),
            News::Range(event) => self.ranges.take(event, LimitRange::seen),
            News::Policy(event) => self.policies.take(event, NetworkPolicy::seen),
        }
    }

    /// Makes right what differs.
    pub(super) async fn pass(
        &mut self,
        rights: &Rights,
        cluster: &str,
        spaces: &Mirror<Space>,
        hand: &mut Hand<'_>,
    ) -> Outcome {
        let given = self.quotas.iter();
        let given = given.filter(|(key, _)| key.name == wanted::QUOTA);
        let given = given.map(|(key, seen)| (key.namespace.as_str(), seen));
        let wanted = Wanted::new(rights, cluster, spaces, &given.collect());
        let mut quotas = Plan::new(wanted.quotas, &self.quotas);
        let mut ranges = Plan::new(wanted.ranges, &self.ranges);
        let mut policies = Plan::new(wanted.policies, &self.policies);
        // What is closed first stays closed; a quota is not lifted before another is there.
        hand.write(&mut policies, &mut self.policies).await;
        hand.write(&mut quotas, &mut self.quotas).await;
        hand.write(&mut ranges, &mut self.ranges).await;
        hand.delete(&mut policies, &mut self.policies).await;
        hand.delete(&mut quotas, &mut self.quotas).await;
        hand.delete(&mut ranges, &mut self.ranges).await;
        wanted.outcome
    }
}
