//! A part of a cluster.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::{Named, printable, resource, settled};
use crate::quota::of_a_project;
use crate::{
    ApiVersion, Column, Condition, ContainerResourceLimit, Kind, KindName, NamespaceResourceQuota,
    ProjectId, ProjectResourceQuota,
};

/// Namespaces of a cluster that have members, roles and a quota in common. It lives in the namespace of the
/// cluster. In the cluster, namespaces say by the annotation `field.cattle.io/projectId` that they belong
/// to it.
///
/// Its name is its id: `p-xxxxx`, or what was given when it was created, unique on the server. What belongs
/// to the project, such as its bindings, lives in a namespace of that name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `Project`.
    pub kind: KindName<Project>,
    /// Standard object metadata.
    #[serde(default)]
    #[schemars(with = "Named<ProjectId>")]
    pub metadata: ObjectMeta,
    /// What the project's owners ask for.
    pub spec: ProjectSpec,
    /// What the server sees. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ProjectStatus>,
}

/// What the owners of a project ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_spec()))]
pub struct ProjectSpec {
    /// Name shown to people, of 1 to 253 characters, none of them a control character. Need not be unique.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [printable()]))]
    pub display_name: String,
    /// Free text. At most 4096 characters.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Id of the cluster. The same as the namespace, which is also its default. Cannot be changed.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// What the project may take altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_quota: Option<ProjectResourceQuota>,
    /// What a namespace of it may take that says nothing itself. Needed with a quota of the project, and
    /// not without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_default_resource_quota: Option<NamespaceResourceQuota>,
    /// What a container asks for and may take that says nothing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_default_resource_limit: Option<ContainerResourceLimit>,
}

/// What the server sees of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectStatus {
    /// What was seen of it, one of each type.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The namespace of what belongs to the project.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backing_namespace: String,
}

impl Project {
    /// The label of the project of each cluster that is for namespaces without another.
    pub const DEFAULT_LABEL: &str = "authz.management.cattle.io/default-project";
    /// The label of the project of each cluster that is for what the cluster itself needs.
    pub const SYSTEM_LABEL: &str = "authz.management.cattle.io/system-project";
    /// The annotation of namespaces in connected clusters that says in which project they are:
    /// `CLUSTER:PROJECT`.
    pub const ID_ANNOTATION: &str = "field.cattle.io/projectId";
}

fn of_a_spec() -> serde_json::Value {
    let mut rules = vec![settled("clusterName")];
    rules.extend(of_a_project());
    rules.into()
}

resource!(Project, NamespaceResourceScope);

impl Kind for Project {
    const KIND: &'static str = "Project";
    const PLURAL: &'static str = "projects";
    const SINGULAR: &'static str = "project";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Cluster",
            "string",
            ".spec.clusterName",
            "Id of the cluster",
        ),
        Column::field(
            "Display Name",
            "string",
            ".spec.displayName",
            "Name shown to people",
        ),
        Column::field("Description", "string", ".spec.description", "Free text").wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
        if let Some(stored) = stored {
            self.spec.cluster_name.clone_from(&stored.spec.cluster_name);
        }
        let used = stored.and_then(|stored| stored.spec.resource_quota.as_ref());
        let used = used.and_then(|quota| quota.used_limit.clone());
        if let Some(quota) = &mut self.spec.resource_quota {
            quota.used_limit = used;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quantity, ResourceQuotaLimit};

    #[test]
    fn clients_do_not_say_how_much_is_used() {
        let limit = |pods: &str| ResourceQuotaLimit {
            pods: Some(Quantity(pods.to_owned())),
            ..ResourceQuotaLimit::default()
        };
        let project = |used: &str| Project {
            spec: ProjectSpec {
                resource_quota: Some(ProjectResourceQuota {
                    limit: limit("10"),
                    used_limit: Some(limit(used)),
                }),
                ..ProjectSpec::default()
            },
            ..Project::default()
        };
        let (stored, mut sent) = (project("4"), project("0"));
        sent.carry_server_fields(Some(&stored));
        assert_eq!(sent, stored);
        sent.carry_server_fields(None);
        assert_eq!(sent.spec.resource_quota.unwrap().used_limit, None);
    }
}
