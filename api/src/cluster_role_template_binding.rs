//! Who has a role in a cluster.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kind::{ObjectName, resource};
use crate::subject::{of_a_binding, refused};
use crate::{ApiVersion, BindingStatus, Column, Kind, KindName, Subject};

/// Gives a user or a group a RoleTemplate in a cluster. It lives in the namespace of the cluster. It cannot
/// be changed, only deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_binding(&["clusterName", "roleTemplateName"])))]
pub struct ClusterRoleTemplateBinding {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `ClusterRoleTemplateBinding`.
    pub kind: KindName<ClusterRoleTemplateBinding>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who gets the role.
    #[serde(flatten)]
    pub subject: Subject,
    /// Not taken: a group is named by its principal, so that it is never one that a cluster knows by
    /// itself.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [
        refused("is not taken: use groupPrincipalName"),
    ]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group_name: String,
    /// Id of the cluster. The same as the namespace, which is also its default. Cannot be changed.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// Name of the RoleTemplate, of the context `cluster`. Cannot be changed.
    #[schemars(with = "ObjectName")]
    pub role_template_name: String,
    /// How far the server has come with it. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BindingStatus>,
}

resource!(ClusterRoleTemplateBinding, NamespaceResourceScope);

impl Kind for ClusterRoleTemplateBinding {
    const KIND: &'static str = "ClusterRoleTemplateBinding";
    const PLURAL: &'static str = "clusterroletemplatebindings";
    const SINGULAR: &'static str = "clusterroletemplatebinding";
    const SHORT_NAMES: &'static [&'static str] = &["crtb"];
    const NAMESPACED: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Role",
            "string",
            ".roleTemplateName",
            "Name of the RoleTemplate",
        ),
        Column::computed(
            "User",
            "string",
            |binding: &Self| binding.subject.user_column(),
            "The user who gets it",
        ),
        Column::computed(
            "Group",
            "string",
            |binding: &Self| json!(binding.subject.group_principal_name),
            "The group that gets it",
        ),
        Column::field(
            "Status",
            "string",
            ".status.summary",
            "How far the server has come with it",
        ),
        Column::field("Cluster", "string", ".clusterName", "Id of the cluster").wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
        if let Some(stored) = stored {
            self.cluster_name.clone_from(&stored.cluster_name);
        }
    }
}
