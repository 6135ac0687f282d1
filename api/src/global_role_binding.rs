//! Who has a role in the management API.

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kind::{ObjectName, resource};
use crate::subject::of_a_binding;
use crate::{ApiVersion, Column, Kind, KindName, RoleStatus, Subject};

/// Gives a user or a group a GlobalRole. It cannot be changed, only deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_binding(&["globalRoleName"])))]
pub struct GlobalRoleBinding {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `GlobalRoleBinding`.
    pub kind: KindName<GlobalRoleBinding>,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Who gets the role.
    #[serde(flatten)]
    pub subject: Subject,
    /// Name of the GlobalRole. Cannot be changed.
    #[schemars(with = "ObjectName")]
    pub global_role_name: String,
    /// How far the server has come with it. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RoleStatus>,
}

resource!(GlobalRoleBinding, ClusterResourceScope);

impl Kind for GlobalRoleBinding {
    const KIND: &'static str = "GlobalRoleBinding";
    const PLURAL: &'static str = "globalrolebindings";
    const SINGULAR: &'static str = "globalrolebinding";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Role",
            "string",
            ".globalRoleName",
            "Name of the GlobalRole",
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
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}
