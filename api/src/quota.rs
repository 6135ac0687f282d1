//! How much of a cluster a project, a namespace or a container may take.

mod amount;

pub use amount::{Amount, NoQuantity};

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{rule, rule_at};

/// A quantity of Kubernetes, such as `500m` or `2Gi`, not below zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let expression = "isQuantity(self) && quantity(self).compareTo(quantity('0')) >= 0";
        let message = "must be a quantity of Kubernetes, not below zero";
        json_schema!({
            "type": "string",
            "maxLength": 64,
            "x-kubernetes-validations": [rule(expression, message)],
        })
    }
}

/// What a project may take altogether.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectResourceQuota {
    /// The most of each resource.
    pub limit: ResourceQuotaLimit,
    /// How much of it the namespaces have been given. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_limit: Option<ResourceQuotaLimit>,
}

/// What a namespace may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceResourceQuota {
    /// The most of each resource.
    pub limit: ResourceQuotaLimit,
}

/// The most of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuotaLimit {
    /// Number of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Quantity>,
    /// Number of services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Quantity>,
    /// Number of replication controllers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_controllers: Option<Quantity>,
    /// Number of secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Quantity>,
    /// Number of config maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_maps: Option<Quantity>,
    /// Number of persistent volume claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claims: Option<Quantity>,
    /// Number of services that take a port of every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services_node_ports: Option<Quantity>,
    /// Number of services that take a load balancer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services_load_balancers: Option<Quantity>,
    /// Processors that containers ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_cpu: Option<Quantity>,
    /// Memory that containers ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_memory: Option<Quantity>,
    /// Storage that claims ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_storage: Option<Quantity>,
    /// Processors that containers may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_cpu: Option<Quantity>,
    /// Memory that containers may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_memory: Option<Quantity>,
    /// Others by the names that Kubernetes has for them in a ResourceQuota, for example
    /// `requests.nvidia.com/gpu`. At most 50.
    #[schemars(extend("maxProperties" = 50))]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extended: BTreeMap<String, Quantity>,
}

/// What a container asks for and may take that says nothing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = of_a_container()))]
pub struct ContainerResourceLimit {
    /// Processors that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_cpu: Option<Quantity>,
    /// Memory that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_memory: Option<Quantity>,
    /// Processors that it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_cpu: Option<Quantity>,
    /// Memory that it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits_memory: Option<Quantity>,
}

impl ResourceQuotaLimit {
    /// What is limited, by the names that Kubernetes has for it in a ResourceQuota.
    #[must_use]
    pub fn named(&self) -> BTreeMap<&str, &Quantity> {
        let known = [
            ("pods", &self.pods),
            ("services", &self.services),
            ("replicationcontrollers", &self.replication_controllers),
            ("secrets", &self.secrets),
            ("configmaps", &self.config_maps),
            ("persistentvolumeclaims", &self.persistent_volume_claims),
            ("services.nodeports", &self.services_node_ports),
            ("services.loadbalancers", &self.services_load_balancers),
            ("requests.cpu", &self.requests_cpu),
            ("requests.memory", &self.requests_memory),
            ("requests.storage", &self.requests_storage),
            ("limits.cpu", &self.limits_cpu),
            ("limits.memory", &self.limits_memory),
        ];
        let known = known.into_iter();
        let known = known.filter_map(|(name, most)| Some((name, most.as_ref()?)));
        let others = self.extended.iter();
        others
            .map(|(name, most)| (name.as_str(), most))
            .chain(known)
            .collect()
    }

    /// The same from such names.
    #[must_use]
    pub fn from_named(mut named: BTreeMap<String, Quantity>) -> Self {
        Self {
            pods: named.remove("pods"),
            services: named.remove("services"),
            replication_controllers: named.remove("replicationcontrollers"),
            secrets: named.remove("secrets"),
            config_maps: named.remove("configmaps"),
            persistent_volume_claims: named.remove("persistentvolumeclaims"),
            services_node_ports: named.remove("services.nodeports"),
            services_load_balancers: named.remove("services.loadbalancers"),
            requests_cpu: named.remove("requests.cpu"),
            requests_memory: named.remove("requests.memory"),
            requests_storage: named.remove("requests.storage"),
            limits_cpu: named.remove("limits.cpu"),
            limits_memory: named.remove("limits.memory"),
            extended: named,
        }
    }
}

const RESOURCES: [&str; 13] = [
    "pods",
    "services",
    "replicationControllers",
    "secrets",
    "configMaps",
    "persistentVolumeClaims",
    "servicesNodePorts",
    "servicesLoadBalancers",
    "requestsCpu",
    "requestsMemory",
    "requestsStorage",
    "limitsCpu",
    "limitsMemory",
];

/// The rules of an object that has a quota of its own and one for each of its namespaces.
pub(crate) fn of_a_project() -> Vec<Value> {
    const OWN: &str = "self.resourceQuota";
    const EACH: &str = "self.namespaceDefaultResourceQuota";
    let both = rule(
        &format!("has({OWN}) == has({EACH})"),
        "must have both resourceQuota and namespaceDefaultResourceQuota, or neither",
    );
    let fits = RESOURCES.map(|resource| {
        let (own, each) = (
            format!("{OWN}.limit.{resource}"),
            format!("{EACH}.limit.{resource}"),
        );
        let within = at_most(&each, &own);
        let expression =
            format!("!has({OWN}) || !has({EACH}) || !has({each}) || (has({own}) && {within})");
        let at = format!(".namespaceDefaultResourceQuota.limit.{resource}");
        rule_at(&at, &expression, "must be within that of the project")
    });
    let (own, each) = (
        format!("{OWN}.limit.extended"),
        format!("{EACH}.limit.extended"),
    );
    let within = at_most(&format!("{each}[name]"), &format!("{own}[name]"));
    let all = format!("{each}.all(name, name in {own} && {within})");
    let expression =
        format!("!has({OWN}) || !has({EACH}) || !has({each}) || (has({own}) && {all})");
    let extended = rule_at(
        ".namespaceDefaultResourceQuota.limit.extended",
        &expression,
        "must be within those of the project",
    );
    [both].into_iter().chain(fits).chain([extended]).collect()
}

fn of_a_container() -> Value {
    let fits = ["Cpu", "Memory"].map(|resource| {
        let (asked, most) = (
            format!("self.requests{resource}"),
            format!("self.limits{resource}"),
        );
        let within = at_most(&asked, &most);
        let expression = format!("!has({asked}) || !has({most}) || {within}");
        let message = format!("must be within limits{resource}");
        rule_at(&format!(".requests{resource}"), &expression, &message)
    });
    fits.into()
}

/// What is no quantity is refused by itself.
fn at_most(small: &str, large: &str) -> String {
    let unclear = format!("!isQuantity({small}) || !isQuantity({large})");
    format!("({unclear} || quantity({small}).compareTo(quantity({large})) <= 0)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_has_a_name_in_kubernetes() {
        let mut fields = serde_json::Map::new();
        for (number, name) in RESOURCES.iter().enumerate() {
            fields.insert((*name).to_owned(), number.to_string().into());
        }
        fields.insert("extended".to_owned(), serde_json::json!({"a.b/c": "7"}));
        let limit: ResourceQuotaLimit = serde_json::from_value(fields.into()).unwrap();
        let named = limit.named();
        assert_eq!(named.len(), RESOURCES.len() + 1);
        assert_eq!(named["services.nodeports"].0, "6");
        let owned = named.iter();
        let owned = owned.map(|(name, most)| ((*name).to_owned(), (*most).clone()));
        assert_eq!(ResourceQuotaLimit::from_named(owned.collect()), limit);
    }
}
