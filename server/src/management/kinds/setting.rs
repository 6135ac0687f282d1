//! Settings: those that come from the configuration are changed there.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use lariat_api::{Kind as _, Setting, SettingSource};

use super::{Context, Managed, forbidden};

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
        Ok(Effects::default())
    }
}
