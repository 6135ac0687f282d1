//! Clusters: made with an id, a namespace, their first projects and an owner, all of which go with them.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{Cluster, ClusterId, ClusterStatus, Kind as _, RoleContext};
use store::Txn;

use super::{Context, Managed, binding, forbidden, namespace, project, role_template};
use crate::authz::is_administrator;
use crate::random;
use crate::stored::join;

/// What the ids of others begin with that have a namespace.
const RESERVED: [&str; 2] = ["p-", "u-"];

impl Managed for Cluster {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(ClusterId::from_random(random::bits()).to_string())
    }

    /// A key that is bound uses up the permission to take another one.
    fn admit_status(&mut self, old: &Self) {
        let key = |cluster: &Self| cluster.agent().map(|agent| agent.public_key.clone());
        if key(self) != key(old) {
            self.spec.allow_agent_rebind = false;
        }
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if self.spec.display_name.is_empty() {
            self.spec.display_name = self.name().to_owned();
        }
        check_default_role(self, context, write, old).await?;
        check_recording(self, write, old)?;
        if old.is_some() {
            return Ok(Effects::default());
        }
        if RESERVED
            .iter()
            .any(|others| self.name().starts_with(others))
        {
            let rule = "must not begin with 'p-' or 'u-', as projects and users do";
            let error = FieldError::invalid("metadata.name", self.name(), rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        self.status = Some(ClusterStatus {
            driver: "imported".to_owned(),
            ..ClusterStatus::default()
        });
        let (owner, created) = (
            namespace::owned_by(self),
            self.metadata.creation_timestamp.as_ref(),
        );
        let mut txn = namespace::take(self, &owner, created, context, write).await?;
        join(&mut txn, project::of_new_cluster(self, context).await?);
        join(
            &mut txn,
            binding::of_cluster_creator(self, context, write).await?,
        );
        Ok(Effects {
            txn,
            ..Effects::default()
        })
    }

    /// Also where somebody wants what it owns to be left: bindings in it are none of a later cluster.
    async fn release(&self, context: &Context) -> Result<Txn, ApiError> {
        let now = Time(context.clock.now());
        namespace::end(&*context.store, self.name(), &now).await
    }
}

/// Recording is no matter of who is recorded, as owners of the cluster are.
fn check_recording(
    cluster: &Cluster,
    write: &Write<'_>,
    old: Option<&Cluster>,
) -> Result<(), ApiError> {
    let required = |cluster: &Cluster| {
        let settings = cluster.spec.session_recording.as_ref();
        settings.is_some_and(|settings| settings.required)
    };
    if !old.is_some_and(required) || required(cluster) || is_administrator(write.user) {
        return Ok(());
    }
    let why = "only administrators end the recording of all sessions";
    Err(forbidden::<Cluster>(cluster.name(), why))
}

/// A role that members of projects get is one for clusters, and is held by who says so.
async fn check_default_role(
    cluster: &Cluster,
    context: &Context,
    write: &Write<'_>,
    old: Option<&Cluster>,
) -> Result<(), ApiError> {
    let role = |cluster: &Cluster| {
        cluster
            .spec
            .default_cluster_role_for_project_members
            .clone()
    };
    let wanted = role(cluster);
    if wanted.is_empty() || old.is_some_and(|old| role(old) == wanted) {
        return Ok(());
    }
    let found = role_template::assignable(context, &wanted, RoleContext::Cluster).await?;
    found.map_err(|rule| {
        let field = "spec.defaultClusterRoleForProjectMembers";
        let error = FieldError::invalid(field, wanted.as_str(), rule);
        write.invalid(cluster.name(), &[error])
    })?;
    context.guard.default_role(write, cluster, &wanted)
}
