//! Who has a role in a project.

use kube::core::{NamespaceResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{ObjectName, resource, rule};
use crate::subject::{of_a_binding, refused};
use crate::{ApiVersion, BindingStatus, ClusterId, Column, Kind, KindName, ProjectId, Subject};

/// Gives a user or a group a RoleTemplate in a project. It lives in the namespace of the project. It cannot
/// be changed, only deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_binding(&["projectName", "roleTemplateName"])))]
pub struct ProjectRoleTemplateBinding {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `ProjectRoleTemplateBinding`.
    pub kind: KindName<ProjectRoleTemplateBinding>,
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
    /// Not taken: an account of a cluster is bound in the cluster.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [
        refused("is not taken: bind accounts of a cluster in the cluster"),
    ]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account: String,
    /// Cluster and project, `c-xxxxx:p-xxxxx`. The project is the namespace. Cannot be changed.
    #[schemars(length(max = 127), extend("x-kubernetes-validations" = [project()]))]
    pub project_name: String,
    /// Name of the RoleTemplate, of the context `project`. Cannot be changed.
    #[schemars(with = "ObjectName")]
    pub role_template_name: String,
    /// How far the server has come with it. Only the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BindingStatus>,
}

impl ProjectRoleTemplateBinding {
    /// Cluster and project, unless they are no ids.
    #[must_use]
    pub fn project(&self) -> Option<(ClusterId, ProjectId)> {
        let (cluster, project) = self.project_name.split_once(':')?;
        Some((cluster.parse().ok()?, project.parse().ok()?))
    }
}

fn project() -> Value {
    let expression = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?:p-[-a-z0-9]*[a-z0-9]$')";
    rule(
        expression,
        "must be CLUSTER:PROJECT, such as c-abcde:p-fghij",
    )
}

resource!(ProjectRoleTemplateBinding, NamespaceResourceScope);

impl Kind for ProjectRoleTemplateBinding {
    const KIND: &'static str = "ProjectRoleTemplateBinding";
    const PLURAL: &'static str = "projectroletemplatebindings";
    const SINGULAR: &'static str = "projectroletemplatebinding";
    const SHORT_NAMES: &'static [&'static str] = &["prtb"];
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
        Column::field("Project", "string", ".projectName", "Cluster and project").wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.status = stored.and_then(|stored| stored.status.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_with_its_cluster() {
        let binding = |project: &str| ProjectRoleTemplateBinding {
            project_name: project.to_owned(),
            ..ProjectRoleTemplateBinding::default()
        };
        let (cluster, project) = binding("local:p-abcde").project().unwrap();
        assert_eq!((cluster.as_str(), project.as_str()), ("local", "p-abcde"));
        for bad in ["p-abcde", "local:", "local:abcde", "A:p-1", "a:p-1:p-2"] {
            assert_eq!(binding(bad).project(), None, "{bad}");
        }
    }
}
