//! What clients ask of the server, as Settings.

use lariat_api::{Setting, SettingSource};
use store::Revision;

use crate::config::Config;
use crate::edge::CertificateKeeper;
use crate::objects::{ObjectError, Objects, revision_of};

/// Shows as Settings what clients ask there: the server's URL, its CA and its version.
///
/// # Errors
/// When the store fails.
pub(crate) async fn settings(
    objects: &Objects,
    config: &Config,
    certificates: &CertificateKeeper,
) -> Result<Option<Revision>, ObjectError> {
    let url = config.server_url.as_str().trim_end_matches('/').to_owned();
    let mut last = None;
    for (name, value) in [
        ("cacerts", certificates.trusted().to_string()),
        ("server-url", url),
        ("server-version", format!("v{}", env!("CARGO_PKG_VERSION"))),
    ] {
        let mut setting = Setting {
            default: value.clone(),
            source: SettingSource::Config,
            ..Setting::default()
        };
        setting.metadata.name = Some(name.to_owned());
        let written = match objects.create(setting).await {
            Err(ObjectError::AlreadyExists(_)) => {
                let change = |setting: &mut Setting| {
                    let changed = setting.default != value;
                    setting.default.clone_from(&value);
                    changed
                };
                objects.modify::<Setting>("", name, change).await?
            }
            created => created?,
        };
        last = last.max(Some(revision_of(&written)?));
    }
    Ok(last)
}
