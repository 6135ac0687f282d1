//! A role in clusters or projects.

use kube::core::{ClusterResourceScope, ObjectMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kind::{ObjectNames, printable, resource, rule_at};
use crate::{ApiVersion, Column, Kind, KindName, PolicyRule};

/// What somebody may do in a cluster or in a project of one. A ClusterRoleTemplateBinding or a
/// ProjectRoleTemplateBinding gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = of_a_template()))]
pub struct RoleTemplate {
    /// Always `management.cattle.io/v3`.
    pub api_version: ApiVersion,
    /// Always `RoleTemplate`.
    pub kind: KindName<RoleTemplate>,
    /// Standard object metadata. The name is that of the ClusterRole in connected clusters.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// Name shown to people. At most 253 characters, none of them a control character.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [printable()]))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text. At most 4096 characters.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it can be given. Nothing: only other templates use it. Cannot be changed.
    #[serde(default, skip_serializing_if = "RoleContext::is_none")]
    pub context: RoleContext,
    /// What it allows. At most 1000.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<PolicyRule>,
    /// Names of the templates whose rules it has as well, at most 50. One for projects has none for
    /// clusters; none has itself, not by others either.
    #[schemars(with = "ObjectNames<50>")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub role_template_names: Vec<String>,
    /// Whether it stands for a ClusterRole of its name that is in the clusters already. Then it has no
    /// rules of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// What the external ClusterRole allows, so that nobody gives more by it than they have. Needed for
    /// those that are not Kubernetes' own. At most 1000.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_rules: Vec<PolicyRule>,
    /// Whether it comes with the server, which keeps its rules as they are. Only the server writes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub builtin: bool,
    /// Whether it is not offered to people.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Whether nobody can be given it any more. Who has it keeps it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// Whether it gives as much as administration of the cluster. Only with the context `cluster`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub administrative: bool,
    /// Whether who creates a cluster gets it there. Only with the context `cluster`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_creator_default: bool,
    /// Whether who creates a project gets it there. Only with the context `project`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub project_creator_default: bool,
    /// Whether what people do by it in containers (exec, attach) is recorded, and refused where it cannot
    /// be.
    #[serde(default, skip_serializing_if = "RecordingDemand::is_none")]
    pub session_recording: RecordingDemand,
}

/// Where a role can be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoleContext {
    /// Nowhere by itself.
    #[default]
    #[serde(rename = "")]
    None,
    /// In a whole cluster.
    #[serde(rename = "cluster")]
    Cluster,
    /// In the namespaces of a project.
    #[serde(rename = "project")]
    Project,
}

/// Whether sessions must be recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordingDemand {
    /// Not because of this.
    #[default]
    #[serde(rename = "")]
    None,
    /// They must.
    #[serde(rename = "required")]
    Required,
}

impl RoleContext {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl RecordingDemand {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl RoleTemplate {
    /// Most templates on the way from one to what it inherits, itself included.
    pub const MAX_DEPTH: usize = 10;
}

fn of_a_template() -> Value {
    let holds = |field: &str| format!("(has(self.{field}) && self.{field})");
    let some = |field: &str| format!("(has(self.{field}) && self.{field}.size() > 0)");
    let context = |of: &str| format!("(has({of}.context) ? {of}.context : '')");
    let only_in = |field: &str, wanted: &str| {
        let expression = format!("!{} || {} == '{wanted}'", holds(field), context("self"));
        let message = format!("is only for templates of the context '{wanted}'");
        rule_at(&format!(".{field}"), &expression, &message)
    };
    Value::Array(vec![
        rule_at(
            ".context",
            &format!("{} == {}", context("self"), context("oldSelf")),
            "cannot be changed",
        ),
        rule_at(
            ".rules",
            &format!("!{} || !{}", holds("external"), some("rules")),
            "an external template has no rules of its own",
        ),
        rule_at(
            ".externalRules",
            &format!("{} || !{}", holds("external"), some("externalRules")),
            "only an external template has these",
        ),
        only_in("administrative", "cluster"),
        only_in("clusterCreatorDefault", "cluster"),
        only_in("projectCreatorDefault", "project"),
    ])
}

resource!(RoleTemplate, ClusterResourceScope);

impl Kind for RoleTemplate {
    const KIND: &'static str = "RoleTemplate";
    const PLURAL: &'static str = "roletemplates";
    const SINGULAR: &'static str = "roletemplate";
    const SHORT_NAMES: &'static [&'static str] = &[];
    const NAMESPACED: bool = false;
    const COLUMNS: &'static [Column<Self>] = &[
        Column::field(
            "Display Name",
            "string",
            ".displayName",
            "Name shown to people",
        ),
        Column::field("Context", "string", ".context", "Where it can be given"),
        Column::computed(
            "Builtin",
            "boolean",
            |template: &Self| json!(template.builtin),
            "Whether it comes with the server",
        ),
        Column::computed(
            "Locked",
            "boolean",
            |template: &Self| json!(template.locked),
            "Whether nobody can be given it any more",
        ),
        Column::computed(
            "Inherits",
            "string",
            |template: &Self| json!(template.role_template_names.join(",")),
            "Templates whose rules it has as well",
        )
        .wide(),
    ];

    fn carry_server_fields(&mut self, stored: Option<&Self>) {
        self.builtin = stored.is_some_and(|stored| stored.builtin);
    }
}
