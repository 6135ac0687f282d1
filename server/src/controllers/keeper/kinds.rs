//! The kinds by which roles and projects are kept, and what of their objects counts.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::Api;
use kube::core::ObjectMeta;
use lariat_api::{Amount, Project};

use super::names;
use super::object::{Kept, Print};

impl Kept for ClusterRole {
    const KIND: &'static str = "ClusterRole";
    const LABEL: &'static str = names::MANAGED;

    fn print(&self) -> Print {
        // Kubernetes writes the rules of one that is put together of others.
        let composed = self.aggregation_rule.is_some();
        let rules = self.rules.as_deref().unwrap_or_default();
        Print::of(&composed, &(marks(&self.metadata), rules))
    }

    fn api(client: &kube::Client, _: &str) -> Api<Self> {
        Api::all(client.clone())
    }
}

impl Kept for ClusterRoleBinding {
    const KIND: &'static str = "ClusterRoleBinding";
    const LABEL: &'static str = names::MANAGED;

    fn print(&self) -> Print {
        let subjects = self.subjects.as_deref().unwrap_or_default();
        Print::of(&self.role_ref, &(marks(&self.metadata), subjects))
    }

    fn api(client: &kube::Client, _: &str) -> Api<Self> {
        Api::all(client.clone())
    }
}

impl Kept for RoleBinding {
    const KIND: &'static str = "RoleBinding";
    const LABEL: &'static str = names::MANAGED;

    fn print(&self) -> Print {
        let subjects = self.subjects.as_deref().unwrap_or_default();
        Print::of(&self.role_ref, &(marks(&self.metadata), subjects))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }
}

impl Kept for ResourceQuota {
    const KIND: &'static str = "ResourceQuota";
    const LABEL: &'static str = names::MANAGED;

    fn print(&self) -> Print {
        let spec = self.spec.as_ref();
        // Those with scopes count something else.
        let scoped = spec.is_some_and(|spec| {
            spec.scopes
                .as_ref()
                .is_some_and(|scopes| !scopes.is_empty())
                || spec.scope_selector.is_some()
        });
        Print::of(&scoped, &(marks(&self.metadata), shown(self.most())))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }

    fn most(&self) -> BTreeMap<String, Amount> {
        let hard = self.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        amounts(hard)
    }

    fn project(&self) -> &str {
        let marks = marks(&self.metadata);
        marks
            .get(Project::ID_ANNOTATION)
            .copied()
            .unwrap_or_default()
    }
}

impl Kept for LimitRange {
    const KIND: &'static str = "LimitRange";
    const LABEL: &'static str = names::MANAGED;

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
        Print::of(&(), &(marks(&self.metadata), limits))
    }

    fn api(client: &kube::Client, namespace: &str) -> Api<Self> {
        in_namespace(client, namespace)
    }
}

impl Kept for NetworkPolicy {
    const KIND: &'static str = "NetworkPolicy";
    const LABEL: &'static str = names::MANAGED;

    fn print(&self) -> Print {
        Print::of(&(), &(marks(&self.metadata), &self.spec))
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
