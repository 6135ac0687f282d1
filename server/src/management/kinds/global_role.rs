//! Global roles: those of the server stay as they are.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use lariat_api::{GlobalRole, Kind as _, RoleContext, RoleTemplate};

use super::{Context, Managed, forbidden};
use crate::stored::find;

impl Managed for GlobalRole {
    const HAS_STATUS: bool = true;

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if let Some(old) = old.filter(|old| old.builtin && !write.user.is_master()) {
            let allowed = Self {
                metadata: self.metadata.clone(),
                new_user_default: self.new_user_default,
                ..old.clone()
            };
            if *self != allowed {
                let why = "it comes with the server: only newUserDefault can be changed";
                return Err(forbidden::<Self>(self.name(), why));
            }
        }
        for (at, name) in self.inherited_cluster_roles.iter().enumerate() {
            if old.is_some_and(|old| old.inherited_cluster_roles.contains(name)) {
                continue;
            }
            let rule = match find::<RoleTemplate>(&*context.store, "", name).await? {
                None => "there is no such role template",
                Some((template, _)) if template.context != RoleContext::Cluster => {
                    "must be a role template of the context 'cluster'"
                }
                Some(_) => continue,
            };
            let field = format!("inheritedClusterRoles[{at}]");
            let error = FieldError::invalid(field, name.as_str(), rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        context.guard.global_role(write, self, old)?;
        Ok(Effects::default())
    }

    async fn admit_deletion(&self, _context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        if self.builtin && !write.user.is_master() {
            let why = "it comes with the server";
            return Err(forbidden::<Self>(self.name(), why));
        }
        Ok(())
    }
}
