//! The kinds of the management API, `management.cattle.io/v3`, as Rust types.
//!
//! Every kind is a plain struct that serialises to what kubectl reads and writes, implements
//! [`kube::Resource`] (so that [`kube::Api`] works with it) and [`Kind`] (names and columns), and has
//! a JSON schema that holds its rules. Field names are those that users of Rancher know.
//!
//! What the server keeps in connected clusters is in [`downstream`].
//!
//! This crate does no input or output, knows no clock and holds no randomness: the caller passes
//! them in. It does not store, authorise or serve objects; the server does.
//!
//! Start at [`Kind`] for what all kinds share, at [`Cluster`] for the most important of them, at
//! [`RoleTemplate`] and [`Subject`] for who may do what.

mod auth_config;
mod cluster;
mod cluster_registration_token;
mod cluster_role_template_binding;
mod cluster_tunnel;
mod condition;
pub mod downstream;
mod global_role;
mod global_role_binding;
mod id;
mod kind;
mod preference;
mod principal;
mod project;
mod project_role_template_binding;
mod quota;
mod role_template;
mod rules;
mod session_recording;
mod setting;
mod subject;
mod token;
mod user;
mod user_attribute;

pub use auth_config::{
    AccessMode, AuthConfig, AuthConfigStatus, AuthConfigType, DirectorySettings, RedirectSettings,
};
pub use cluster::{
    BoundAgent, Cluster, ClusterApiServer, ClusterInfo, ClusterSpec, ClusterStatus,
    LocalClusterAuthEndpoint, RecordingSettings,
};
pub use cluster_registration_token::{
    ClusterRegistrationToken, ClusterRegistrationTokenSpec, ClusterRegistrationTokenStatus,
};
pub use cluster_role_template_binding::ClusterRoleTemplateBinding;
pub use cluster_tunnel::{
    ClusterTunnel, TunnelBudget, TunnelBulk, TunnelClass, TunnelLook, TunnelProblem, TunnelRequest,
    TunnelRequestList, TunnelServer, TunnelSession, TunnelStreams,
};
pub use condition::{Condition, ConditionStatus, condition, set_condition};
pub use global_role::GlobalRole;
pub use global_role_binding::GlobalRoleBinding;
pub use id::{ClusterId, InvalidId, ProjectId, TokenName, UserId};
pub use kind::{ApiVersion, Cell, Column, GROUP, Kind, KindName, VERSION};
pub use preference::Preference;
pub use principal::{Principal, PrincipalType};
pub use project::{Project, ProjectSpec, ProjectStatus};
pub use project_role_template_binding::ProjectRoleTemplateBinding;
pub use quota::{
    Amount, ContainerResourceLimit, NamespaceResourceQuota, NoQuantity, ProjectResourceQuota,
    Quantity, ResourceQuotaLimit,
};
pub use role_template::{RecordingDemand, RoleContext, RoleTemplate};
pub use rules::PolicyRule;
pub use session_recording::{
    RecordingPhase, SessionRecording, SessionRecordingSpec, SessionRecordingStatus,
};
pub use setting::{Setting, SettingSource};
pub use subject::{BindingStatus, RoleStatus, Subject, Who};
pub use token::Token;
pub use user::{InvalidPassword, User, UserStatus};
pub use user_attribute::{Principals, UserAttribute};

/// The domain under which a cluster can be chosen by TLS server name instead of by path:
/// `<cluster id>.clusters.lariat.internal`. It needs no DNS entry.
pub const CLUSTER_SERVER_NAME_SUFFIX: &str = "clusters.lariat.internal";

/// The group of everybody who logged in to the server, as seen by a connected cluster.
pub const GROUP_AUTHENTICATED: &str = "lariat:authenticated";

/// The group of the server's administrators, as seen by a connected cluster.
pub const GROUP_ADMINISTRATORS: &str = "lariat:administrators";

/// The group of the owners of the cluster that the request goes to.
pub const GROUP_CLUSTER_OWNERS: &str = "lariat:cluster-owners";

/// The group of the members (and owners) of the cluster that the request goes to.
pub const GROUP_CLUSTER_MEMBERS: &str = "lariat:cluster-members";

/// Under this key of a user's extra is the login name, as seen by a connected cluster. Keys have a domain before them:
/// constrained impersonation takes no others.
pub const EXTRA_USERNAME: &str = "management.cattle.io/username";

/// Under this key are the accounts of the user, here and at login providers.
pub const EXTRA_PRINCIPALS: &str = "management.cattle.io/principalid";

/// Under this key is the name of the token that was shown.
pub const EXTRA_TOKEN: &str = "management.cattle.io/requesttokenid";

/// The user as whom the server's own controllers act in a connected cluster. No user of the server has such
/// a name.
pub const USER_CONTROLLERS: &str = "lariat:controllers";
