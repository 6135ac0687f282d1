//! Recordings of sessions: the server makes them, nobody else.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use lariat_api::{Kind as _, SessionRecording};

use super::{Context, Managed, forbidden};

impl Managed for SessionRecording {
    async fn admit(
        &mut self,
        _context: &Context,
        write: &Write<'_>,
        _old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if write.user.is_master() {
            return Ok(Effects::default());
        }
        let why = "recordings are made and changed by the server alone";
        Err(forbidden::<Self>(self.name(), why))
    }
}
