//! The kinds of objects that are kept in clusters, and what of them counts.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::Api;
use kube::core::ObjectMeta;
use lariat_api::{Amount, Project};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::names;

/// What is remembered of an object: as much as to see whether it is as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) print: Print,
    /// Of a quota, the most of each resource.
    pub(super) most: BTreeMap<String, Amount>,
    /// Of a quota, the project of which it is a part.
    pub(super) project: String,
}

/// A fingerprint of what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// Of what cannot be changed: another object has to take its place.
    pub(super) fixed: [u8; 16],
    pub(super) rest: [u8; 16],
}

/// A kind that is kept.
pub(super) trait Kept:
    kube::Resource<DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its name, for people.
    const KIND: &'static str;

    fn print(&self) -> Print;

    /// Where an object is read and written.
    fn api(client: &kube::Client, namespace: &str) -> Api<Self>;

    /// What is remembered of an object that a cluster told of. Nothing of one that is not ours.
    fn seen(&self) -> Option<Seen> {
        let meta = self.meta();
        if !is_ours(meta) {
            return None;
        }
        Some(Seen {
            uid: meta.uid.clone().unwrap_or_default(),
            print: self.print(),
            most: self.most(),
            project: marks(meta)
                .get(Project::ID_ANNOTATION)
                .map_or("", |it| it)
                .to_owned(),
        })
    }

    /// What a quota allows.
    fn most(&self) -> BTreeMap<String, Amount> {
        BTreeMap::new()
    }
}

impl Kept for ClusterRole {
    const KIND: &'static str = "ClusterRole";

    fn print(&self) -> Print {
        // Kubernetes writes the rules of one that is put together of others.
        let composed = self.aggregation_rule.is_some();
        let rules = self.rules.as_deref().unwrap_or_default();
        print(&composed, &(marks(&self.metadata), rules))
    }

    fn api(client: &kube::Client, _: &str) -> Api<Self> {
        Api::all(client.clone())
    }
}

impl Kept for ClusterRoleBinding {
    const KIND: &'static str = "ClusterRoleBinding";

    fn print(&self) -> Print {
        let subjects = self.subjects.as_deref().unwrap_or_default();
        print(&self.role_ref, &(marks(&self.metadata), subjects))
    }

    fn api(client: &kube::Client, _: &str) -> Api<Self> {
        Api::all(client.clone())
    }
}

impl Kept for RoleBinding {
    const KIND: &'static str = "RoleBinding";

    fn print(&self) -> Print {
        let subjects = self.subjects.as_deref().unwrap_or_default();
        print(&self.role_ref, &(marks(&self.metadata), subjects))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }
}

impl Kept for ResourceQuota {
    const KIND: &'static str = "ResourceQuota";

    fn print(&self) -> Print {
        let spec = self.spec.as_ref();
        // Those with scopes count something else.
        let scoped = spec.is_some_and(|spec| {
            spec.scopes
                .as_ref()
                .is_some_and(|scopes| !scopes.is_empty())
                || spec.scope_selector.is_some()
        });
        print(&scoped, &(marks(&self.metadata), shown(self.most())))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }

    fn most(&self) -> BTreeMap<String, Amount> {
        let hard = self.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        amounts(hard)
    }
}

impl Kept for LimitRange {
    const KIND: &'static str = "LimitRange";

    fn print(&self) -> Print {
        let limits = self.spec.iter().flat_map(|spec| &spec.limits);
        let limits = limits.map(|limit| {
            let all = [
                &limit.default,
                &limit.default_request,
                &limit.max,
                &limit.min,
                &limit.max_limit_request_ratio,
            ];
            (&limit.type_, all.map(|some| shown(amounts(some.as_ref()))))
        });
        let limits: Vec<_> = limits.collect();
        print(&(), &(marks(&self.metadata), limits))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }
}

impl Kept for NetworkPolicy {
    const KIND: &'static str = "NetworkPolicy";

    fn print(&self) -> Print {
        print(&(), &(marks(&self.metadata), &self.spec))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }
}

/// Amounts of a list of Kubernetes. What is no quantity Kubernetes refuses.
fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> BTreeMap<String, Amount> {
    let list = list.into_iter().flatten();
    list.filter_map(|(name, most)| Some((name.clone(), most.0.parse().ok()?)))
        .collect()
}

/// Amounts in one way of writing: Kubernetes writes them in its own.
fn shown(amounts: BTreeMap<String, Amount>) -> BTreeMap<String, String> {
    let amounts = amounts.into_iter();
    amounts
        .map(|(name, most)| (name, most.to_string()))
        .collect()
}

fn in_namespace<K>(client: &kube::Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Whether an object is one of those that may be changed and deleted here.
pub(super) fn is_ours(meta: &ObjectMeta) -> bool {
    let labels = meta.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(names::MANAGED))
}

/// The labels and annotations that are kept. Others may add theirs.
fn marks(meta: &ObjectMeta) -> BTreeMap<&str, &str> {
    let labels = [
        names::MANAGED,
        names::OWNER,
        names::QUOTA,
        Project::ID_ANNOTATION,
    ];
    let labels = labels.map(|name| (name, meta.labels.as_ref()));
    let annotations = [(names::TEMPLATE, meta.annotations.as_ref())];
    let kept = labels.into_iter().chain(annotations);
    let kept = kept.filter_map(|(name, of)| Some((name, of?.get(name)?.as_str())));
    kept.collect()
}

fn print(fixed: &impl Serialize, rest: &impl Serialize) -> Print {
    Print {
        fixed: digest(fixed),
        rest: digest(rest),
    }
}

fn digest(value: &impl Serialize) -> [u8; 16] {
    // What Kubernetes' types are written as has no keys but texts, which cannot fail.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let whole: [u8; 32] = Sha256::digest(text).into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}
