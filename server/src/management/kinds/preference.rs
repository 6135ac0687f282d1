//! Preferences: they live where their user does.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use lariat_api::{Kind as _, Preference};

use super::{Context, Managed};

impl Managed for Preference {
    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        _old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        let namespace = self.namespace();
        if context.directory.user(namespace).is_none() {
            let rule = "must be the id of a user";
            let error = FieldError::invalid("metadata.namespace", namespace, rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        Ok(Effects::default())
    }
}
