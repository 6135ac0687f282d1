//! What login providers say of users: it goes with the user.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use lariat_api::{Kind as _, UserAttribute};

use super::{Context, Managed, namespace};

impl Managed for UserAttribute {
    const ADMINISTRATORS_ONLY: bool = true;

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if let Some(old) = old {
            if !write.user.is_master() {
                (self.metadata.owner_references).clone_from(&old.metadata.owner_references);
            }
            return Ok(Effects::default());
        }
        let Some(user) = context.directory.user(self.name()) else {
            let rule = "there is no such user";
            let error = FieldError::invalid("metadata.name", self.name(), rule);
            return Err(write.invalid(self.name(), &[error]));
        };
        self.metadata.owner_references = Some(vec![namespace::owned_by(&*user)]);
        Ok(Effects::default())
    }
}
