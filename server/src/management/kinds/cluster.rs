//! Clusters: made with an id and an owner, deleted with their registration tokens.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use lariat_api::{Cluster, ClusterId, ClusterMember, ClusterRole, ClusterStatus, Kind as _};
use store::Txn;

use super::{Context, Managed};
use crate::authz::is_administrator;
use crate::objects::random_bits;
use crate::registration;

impl Managed for Cluster {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(ClusterId::from_random(random_bits()).to_string())
    }

    async fn admit(
        &mut self,
        _context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if self.spec.display_name.is_empty() {
            self.spec.display_name = self.name().to_owned();
        }
        if old.is_some() {
            return Ok(Effects::default());
        }
        self.status = Some(ClusterStatus {
            driver: "imported".to_owned(),
            ..ClusterStatus::default()
        });
        if !is_administrator(write.user)
            && let Ok(user_id) = write.user.name.parse()
            && self.role_of(&user_id).is_none()
        {
            self.spec.members.push(ClusterMember {
                user_id,
                role: ClusterRole::Owner,
            });
        }
        Ok(Effects::default())
    }

    async fn release(&self, context: &Context) -> Result<Txn, ApiError> {
        registration::delete_all(&context.objects, self.name())
            .await
            .map_err(ApiError::internal)?;
        Ok(Txn::default())
    }
}
