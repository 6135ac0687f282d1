//! Whom the settings of a provider let in.

use lariat_api::{AccessMode, AuthConfig, AuthConfigType, Kind as _, User};

use crate::authn::provider::Account;
use crate::state::App;

/// Whether the settings of a provider let somebody in whom it knows. `user` is who they are here, if they
/// were here before.
pub(super) fn is_admitted(
    app: &App,
    config: &AuthConfig,
    account: &Account,
    user: Option<&User>,
) -> bool {
    // There is always a way in.
    if config.type_ == AuthConfigType::Local || config.access_mode == AccessMode::Unrestricted {
        return true;
    }
    let groups: Vec<String> = (account.groups.iter())
        .map(|group| group.id.clone())
        .collect();
    let person = &account.principal.id;
    let mut allowed = config.allowed_principal_ids.iter();
    if allowed.any(|id| id == person || groups.contains(id)) {
        return true;
    }
    let user = user.map(lariat_api::User::name);
    config.access_mode == AccessMode::Restricted
        && app
            .directory
            .access(|access| access.is_member_somewhere(user, person, &groups))
}
