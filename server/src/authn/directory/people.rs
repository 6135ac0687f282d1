//! What login providers know of people, and which providers people may come by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lariat_api::{AuthConfig, AuthConfigType, Kind as _, Setting, User, UserAttribute, UserId};

use super::{Content, Directory};
use crate::management::Number;

/// What is known of login providers and by them.
#[derive(Debug, Default)]
pub(super) struct People {
    /// By name.
    configs: HashMap<String, Arc<AuthConfig>>,
    /// Those that are not the default.
    numbers: HashMap<Number, u64>,
    /// By the ids of users. Without the groups, which [`Access`](crate::authz::Access) keeps.
    attributes: HashMap<String, Arc<UserAttribute>>,
}

impl People {
    /// Whether people may come by a provider. Those of the server itself always may.
    pub(super) fn may_come_by(&self, provider: &str) -> bool {
        provider == AuthConfigType::Local.name()
            || self.configs.get(provider).is_some_and(|one| one.enabled)
    }

    /// What providers say of a user, unless that is about somebody else who had the id before.
    pub(super) fn attribute(&self, user: &User) -> Option<&Arc<UserAttribute>> {
        let attribute = self.attributes.get(user.name())?;
        let mut owners = attribute.metadata.owner_references.iter().flatten();
        let uid = user.metadata.uid.as_deref()?;
        owners.any(|owner| owner.uid == uid).then_some(attribute)
    }

    pub(super) fn number(&self, which: Number) -> u64 {
        let set = self.numbers.get(&which).copied();
        set.unwrap_or_else(|| which.default())
    }

    pub(super) fn set_setting(&mut self, name: &str, setting: Option<&Setting>) {
        let Some(which) = Number::of_name(name) else {
            return;
        };
        match setting.and_then(|setting| which.parse(setting.effective()).ok()) {
            Some(value) => drop(self.numbers.insert(which, value)),
            None => drop(self.numbers.remove(&which)),
        }
    }

    pub(super) fn set_attribute(&mut self, id: &str, attribute: Option<UserAttribute>) {
        match attribute {
            Some(mut attribute) => {
                attribute.metadata.managed_fields = None;
                attribute.group_principals.clear();
                self.attributes.insert(id.to_owned(), Arc::new(attribute));
            }
            None => drop(self.attributes.remove(id)),
        }
    }
}

impl Directory {
    /// The settings of a login provider, by its name.
    #[must_use]
    pub fn auth_config(&self, name: &str) -> Option<Arc<AuthConfig>> {
        self.read().people.configs.get(name).cloned()
    }

    /// What login providers say of a user, but for the groups.
    #[must_use]
    pub fn attribute(&self, user: &User) -> Option<Arc<UserAttribute>> {
        self.read().people.attribute(user).cloned()
    }

    /// The users about whom login providers are to be asked soon.
    #[must_use]
    pub fn users_to_refresh(&self) -> Vec<Arc<User>> {
        let content = self.read();
        let ids = content.people.attributes.iter();
        let ids = ids.filter(|(_, attribute)| attribute.needs_refresh);
        ids.filter_map(|(id, _)| content.users.get(id.as_str()).cloned())
            .collect()
    }

    /// The users whom login providers know that are not this server's own.
    #[must_use]
    pub fn users_of_providers(&self) -> Vec<Arc<User>> {
        let content = self.read();
        let is_local = |id: &String| id.starts_with(UserId::LOCAL);
        let users = content.users.values();
        let users = users.filter(|user| !user.principal_ids.iter().all(is_local));
        users
            .filter(|user| content.people.attribute(user).is_some())
            .cloned()
            .collect()
    }

    /// The users who have tokens because they came by a login provider.
    #[must_use]
    pub fn users_of_tokens(&self, provider: &str) -> Vec<Arc<User>> {
        let content = self.read();
        let tokens = content.tokens.values();
        let tokens = tokens.filter(|token| token.provider == provider);
        let ids: HashSet<&UserId> = tokens.map(|token| &token.user).collect();
        ids.into_iter()
            .filter_map(|id| content.users.get(id).cloned())
            .collect()
    }

    /// A setting that is a number.
    #[must_use]
    pub fn number(&self, which: Number) -> u64 {
        let content = self.read();
        content.people.number(which)
    }

    /// The user whom a login provider knows by that name.
    #[must_use]
    pub fn user_of_principal(&self, principal: &str) -> Option<(UserId, Arc<User>)> {
        let content = self.read();
        let mut users = content.users.iter();
        let is_meant = |user: &User| user.principal_ids.iter().any(|id| id == principal);
        let (id, user) = users.find(|(_, user)| is_meant(user))?;
        Some((id.clone(), Arc::clone(user)))
    }

    /// The user whom a login provider knows by what stays when somebody is renamed.
    #[must_use]
    pub fn user_of_stable_id(&self, provider: &str, stable: &str) -> Option<(UserId, Arc<User>)> {
        let content = self.read();
        let is_meant = |user: &User| {
            let attribute = content.people.attribute(user);
            let known = attribute.and_then(|one| one.extra(provider, UserAttribute::STABLE_ID));
            known == Some(stable)
        };
        let (id, user) = content.users.iter().find(|(_, user)| is_meant(user))?;
        Some((id.clone(), Arc::clone(user)))
    }
}

impl Content {
    /// A provider that is disabled ends what people do who came by it, at once.
    pub(super) fn set_auth_config(&mut self, name: &str, config: Option<AuthConfig>) {
        let before = self.people.may_come_by(name);
        match config {
            Some(mut config) => {
                config.metadata.managed_fields = None;
                // What is being deleted is gone, whatever its object waits for.
                config.enabled &= config.metadata.deletion_timestamp.is_none();
                self.people
                    .configs
                    .insert(name.to_owned(), Arc::new(config));
            }
            None => drop(self.people.configs.remove(name)),
        }
        let enabled = self.people.may_come_by(name);
        if before != enabled {
            self.toggle_tokens(enabled, |token| token.provider == name);
        }
    }
}
