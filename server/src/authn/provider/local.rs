//! The server's own accounts.

use std::sync::Arc;

use futures::future::BoxFuture;
use lariat_api::{Principal, PrincipalType, User, UserId};

use super::{
    Account, AuthProvider, Credentials, Known, LoginError, MAX_FOUND, MIN_SEARCHED, Refreshed,
};
use crate::authn::{Directory, Passwords};

/// The name of its AuthConfig.
const NAME: &str = "local";

/// The server's own accounts: User objects with a password.
#[derive(Clone, Debug)]
pub struct Local {
    directory: Arc<Directory>,
    passwords: Passwords,
}

impl Local {
    /// The accounts of `directory`.
    #[must_use]
    pub fn new(directory: Arc<Directory>, passwords: Passwords) -> Self {
        Self {
            directory,
            passwords,
        }
    }

    /// The user with that principal, when it is one of this provider.
    #[must_use]
    pub fn user_of(principal: &str) -> Option<UserId> {
        principal.strip_prefix("local://")?.parse().ok()
    }
}

impl AuthProvider for Local {
    /// Takes the same time for every wrong pair, and tells them apart for nobody.
    fn authenticate<'a>(
        &'a self,
        shown: Credentials,
    ) -> BoxFuture<'a, Result<Account, LoginError>> {
        let Credentials::Password { name, password } = shown;
        Box::pin(async move {
            let (user, hash) = match self.directory.login(&name) {
                Some((id, user, hash)) if user.enabled => (Some((id, user)), hash),
                _ => (None, None),
            };
            let right = self.passwords.check(hash, password).await?;
            match user {
                Some((id, user)) if right => Ok(account(&id, &user)),
                _ => Err(LoginError::Wrong),
            }
        })
    }

    fn refresh<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Result<Refreshed, LoginError>> {
        let user = Self::user_of(&known.principal)
            .and_then(|id| Some((self.directory.user(id.as_str())?, id)))
            .filter(|(user, _)| user.enabled);
        let refreshed = match user {
            Some((user, id)) => Refreshed::Still(account(&id, &user)),
            None => Refreshed::Gone,
        };
        Box::pin(std::future::ready(Ok(refreshed)))
    }

    fn search<'a>(
        &'a self,
        text: &'a str,
        kind: Option<PrincipalType>,
    ) -> BoxFuture<'a, Result<Vec<Principal>, LoginError>> {
        let text = text.to_lowercase();
        let searched = text.chars().count() >= MIN_SEARCHED && kind != Some(PrincipalType::Group);
        let found = if searched {
            let begins = |name: &str| name.to_lowercase().starts_with(&text);
            let is_meant = |user: &User| begins(&user.username) || begins(&user.display_name);
            let mut found = self.directory.users(is_meant);
            found.sort_by(|(_, one), (_, other)| one.username.cmp(&other.username));
            found.truncate(MAX_FOUND);
            (found.iter().map(|(id, user)| principal(id, user))).collect()
        } else {
            Vec::new()
        };
        Box::pin(std::future::ready(Ok(found)))
    }

    fn principal<'a>(
        &'a self,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Principal>, LoginError>> {
        let user = Self::user_of(id);
        let found = user.and_then(|id| Some(principal(&id, &*self.directory.user(id.as_str())?)));
        Box::pin(std::future::ready(Ok(found)))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LoginError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn account(id: &UserId, user: &User) -> Account {
    Account {
        principal: principal(id, user),
        groups: Vec::new(),
        stable_id: user.metadata.uid.clone(),
        grant: None,
    }
}

fn principal(id: &UserId, user: &User) -> Principal {
    let name = Some(&user.display_name).filter(|name| !name.is_empty());
    Principal {
        id: id.local_principal(),
        display_name: name.unwrap_or(&user.username).clone(),
        login_name: user.username.clone(),
        principal_type: PrincipalType::User,
        provider: NAME.to_owned(),
    }
}
