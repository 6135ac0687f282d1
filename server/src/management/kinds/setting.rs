//! Settings: those that come from the configuration are changed there.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use lariat_api::{Kind as _, Setting, SettingSource};

use super::{Context, Managed, forbidden};
use crate::inactive_users::check_setting;
use crate::management::{GENERATE_TOKEN, Number};

impl Managed for Setting {
    async fn admit(
        &mut self,
        _context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if old.is_some_and(|old| old.source == SettingSource::Config) && !write.user.is_master() {
            let why = "this setting comes from the configuration of the server; change it there";
            return Err(forbidden::<Self>(self.name(), why));
        }
        if let Some(number) = Number::of_name(self.name())
            && !self.value.is_empty()
            && let Err(error) = number.parse(&self.value)
        {
            let error = FieldError::invalid("value", self.value.as_str(), error.to_string());
            return Err(write.invalid(self.name(), &[error]));
        }
        if let Err(error) = check_setting(self.name(), &self.value) {
            let error = FieldError::invalid("value", self.value.as_str(), error.to_string());
            return Err(write.invalid(self.name(), &[error]));
        }
        if self.name() == GENERATE_TOKEN && !["", "true", "false"].contains(&self.value.as_str()) {
            let rule = "must be true or false";
            let error = FieldError::invalid("value", self.value.as_str(), rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        Ok(Effects::default())
    }
}
