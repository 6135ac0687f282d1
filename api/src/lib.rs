//! The kinds of the management API, `management.cattle.io/v3`, as Rust types.
//!
//! Every kind is a plain struct that serialises to what kubectl reads and writes, implements
//! [`kube::Resource`] (so that [`kube::Api`] works with it) and [`Kind`] (names and columns), and has
//! a JSON schema that holds its rules. Field names are those that users of Rancher know.
//!
//! This crate does no input or output, knows no clock and holds no randomness: the caller passes
//! them in. It does not store, authorise or serve objects; the server does.
//!
//! Start at [`Kind`] for what all kinds share, at [`Cluster`] for the most important of them.

mod cluster;
mod cluster_registration_token;
mod condition;
mod id;
mod kind;
mod setting;
mod token;
mod user;

pub use cluster::{
    BoundAgent, Cluster, ClusterInfo, ClusterMember, ClusterRole, ClusterSpec, ClusterStatus,
};
pub use cluster_registration_token::{
    ClusterRegistrationToken, ClusterRegistrationTokenSpec, ClusterRegistrationTokenStatus,
};
pub use condition::{Condition, ConditionStatus, condition, set_condition};
pub use id::{ClusterId, InvalidId, TokenName, UserId};
pub use kind::{ApiVersion, Cell, Column, GROUP, Kind, KindName, VERSION};
pub use setting::{Setting, SettingSource};
pub use token::Token;
pub use user::{InvalidPassword, User};

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
