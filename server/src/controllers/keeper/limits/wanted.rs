//! The objects that limit the namespaces of a cluster's projects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use lariat_api::{ContainerResourceLimit, Project, ResourceQuotaLimit};

use super::super::mirror::{Key, Mirror};
use super::super::names;
use super::super::namespaces::Space;
use super::super::object::Seen;
use super::Outcome;
use super::allotment::{self, Claim, Most};
use crate::authz::{Limited, Purpose, Rights};

/// Name of the ResourceQuota of a namespace.
pub(super) const QUOTA: &str = "project-quota";

/// Name of its LimitRange.
const RANGE: &str = "project-container-defaults";

/// Name of its NetworkPolicy.
const POLICY: &str = "project-only";

/// What a cluster shall have.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) quotas: BTreeMap<Key, ResourceQuota>,
    pub(super) ranges: BTreeMap<Key, LimitRange>,
    pub(super) policies: BTreeMap<Key, NetworkPolicy>,
    pub(super) outcome: Outcome,
}

impl Wanted {
    /// What a cluster shall have in which namespaces `has` been given that much before.
    pub(super) fn new(
        rights: &Rights,
        cluster: &str,
        spaces: &Mirror<Space>,
        has: &BTreeMap<&str, &Seen>,
    ) -> Self {
        let mut wanted = Self::default();
        let system = rights.projects.iter();
        let mut system = system.filter(|(_, project)| project.purpose == Purpose::System);
        let system = system.next().map(|(name, _)| name.as_str());
        let mut claims: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
        for (key, space) in spaces.iter() {
            let name = key.name.as_str();
            // What is not limited any more is told nothing any more.
            wanted.outcome.told.insert(name.to_owned(), String::new());
            let project = space.project(cluster);
            let facts = project.and_then(|it| Some((it, rights.projects.get(it)?)));
            let Some((project, facts)) = facts else {
                continue;
            };
            if facts
                .limited
                .as_ref()
                .is_some_and(|limited| limited.limit.is_some())
            {
                let claims = claims.entry(project).or_default();
                // A part of another project's quota is none of this one's.
                let has = has.get(name).filter(|seen| seen.project == project);
                claims.push(Claim {
                    made: space.made,
                    namespace: name,
                    annotation: &space.quota,
                    has: has.map(|seen| &seen.most),
                });
            }
            let container = facts.limited.as_ref().and_then(|it| it.container.as_ref());
            if let Some(range) = container.and_then(|most| range(name, most)) {
                wanted.ranges.insert(Key::within(name, RANGE), range);
            }
            if rights.isolated && facts.purpose != Purpose::System {
                let policy = policy(name, project, system);
                wanted.policies.insert(Key::within(name, POLICY), policy);
            }
        }
        for (project, facts) in &rights.projects {
            let limited = facts.limited.as_ref();
            if let Some((limited, limit)) = limited.and_then(|it| Some((it, it.limit.as_ref()?))) {
                let claims = claims.remove(project.as_str()).unwrap_or_default();
                wanted.split(project, limited, limit, &claims);
            }
        }
        wanted
    }

    fn split(
        &mut self,
        project: &str,
        limited: &Limited,
        limit: &ResourceQuotaLimit,
        claims: &[Claim<'_>],
    ) {
        let each = limited.each.as_ref().map(allotment::amounts);
        let each = each.unwrap_or_default();
        let split = allotment::split(&allotment::amounts(limit), &each, claims);
        let used = allotment::used(&split).into_iter();
        let used = used.map(|(name, most)| (name, lariat_api::Quantity(most.to_string())));
        let used = ResourceQuotaLimit::from_named(used.collect());
        if limited.used.as_ref() != Some(&used) {
            self.outcome.used.insert(project.to_owned(), used);
        }
        for (namespace, allotted) in split {
            let quota = quota(&namespace, project, &allotted.most);
            self.quotas.insert(Key::within(&namespace, QUOTA), quota);
            let told = allotted.refused.unwrap_or_default();
            self.outcome.told.insert(namespace, told);
        }
    }
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some([(names::MANAGED.to_owned(), "true".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

fn quota(namespace: &str, project: &str, most: &Most) -> ResourceQuota {
    let mut metadata = meta(namespace, QUOTA);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::QUOTA.to_owned(), "true".to_owned());
    labels.insert(Project::ID_ANNOTATION.to_owned(), project.to_owned());
    let most = most.iter();
    let hard = most.map(|(name, most)| (name.clone(), Quantity(most.to_string())));
    ResourceQuota {
        metadata,
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.collect()),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    }
}

fn range(namespace: &str, most: &ContainerResourceLimit) -> Option<LimitRange> {
    let both = |cpu: &Option<lariat_api::Quantity>, memory: &Option<lariat_api::Quantity>| {
        let named = [("cpu", cpu), ("memory", memory)].into_iter();
        let named = named.filter_map(|(name, most)| Some((name.to_owned(), most.as_ref()?)));
        let named: BTreeMap<_, _> = named
            .map(|(name, most)| (name, Quantity(most.0.clone())))
            .collect();
        Some(named).filter(|named| !named.is_empty())
    };
    // Kubernetes fills in the same.
    let asks = |asked: &Option<lariat_api::Quantity>, most: &Option<lariat_api::Quantity>| {
        asked.clone().or_else(|| most.clone())
    };
    let cpu = asks(&most.requests_cpu, &most.limits_cpu);
    let memory = asks(&most.requests_memory, &most.limits_memory);
    let default_request = both(&cpu, &memory);
    let default = both(&most.limits_cpu, &most.limits_memory);
    if default_request.is_none() && default.is_none() {
        return None;
    }
    Some(LimitRange {
        metadata: meta(namespace, RANGE),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default,
                default_request,
                ..LimitRangeItem::default()
            }],
        }),
    })
}

/// Lets in what comes from namespaces of the same project, and of that which is for what the cluster needs.
fn policy(namespace: &str, project: &str, system: Option<&str>) -> NetworkPolicy {
    let from = |project: &str| NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some([(Project::ID_ANNOTATION.to_owned(), project.to_owned())].into()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: meta(namespace, POLICY),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(
                    [Some(project), system]
                        .into_iter()
                        .flatten()
                        .map(from)
                        .collect(),
                ),
                ..NetworkPolicyIngressRule::default()
            }]),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ..NetworkPolicySpec::default()
        }),
    }
}
