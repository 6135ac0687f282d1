//! Users: their names are unique, their passwords kept apart; their tokens and their namespaces end with
//! them.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{Condition, ConditionStatus, Kind, Token, User, UserId};
use store::{Op, Revision, Txn};

use super::applied::hide;
use super::{Context, Managed, binding, forbidden, namespace};
use crate::authn::{Passwords, SecretHash};
use crate::authz::{ADMIN, Access, is_administrator};
use crate::inactive_users::ENABLED_AT;
use crate::random;
use crate::stored::{join, prefix};

/// Most roles that a new user gets.
const MAX_FIRST_ROLES: usize = 50;

impl Managed for User {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(UserId::from_random(random::bits()).to_string())
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        let id: UserId = self.name().parse().map_err(ApiError::internal)?;
        let password = self.password.take();
        if password.is_some() {
            hide(&mut self.metadata, "password", None);
        }
        if old.is_some_and(|old| administers(old, context)) && !is_administrator(write.user) {
            let why = "only administrators change administrators";
            return Err(forbidden::<Self>(self.name(), why));
        }
        let toggled = old.is_some_and(|old| old.enabled != self.enabled);
        if old.is_some() && (password.is_some() || toggled) {
            context.guard.login(write, self.name())?;
        }
        if toggled && self.enabled {
            let annotations = self.metadata.annotations.get_or_insert_default();
            annotations.insert(ENABLED_AT.to_owned(), write.now.to_string());
        }
        if old.is_none() && context.directory.login(&self.username).is_some() {
            let message = format!("username {:?} is taken", self.username);
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "AlreadyExists",
                message,
            ));
        }
        let mut ops = Vec::new();
        if let Some(password) = password.filter(|_| !write.dry_run) {
            let set = context.passwords.set(&id, password.into()).await;
            ops.push(set.map_err(ApiError::internal)?);
        }
        let mut txn = Txn {
            compares: Vec::new(),
            ops,
        };
        let before = old.map_or(&[][..], |old| &old.principal_ids);
        settle_principals(self, context, write, before, &id)?;
        if old.is_none() {
            if !self.username.is_empty() {
                join(&mut txn, claim(&self.username));
            }
            join(&mut txn, first_roles(self, context, write)?);
        }
        join(&mut txn, claim_principals(before, &self.principal_ids));
        if !namespace::exists(&*context.store, self.name()).await? {
            let now = Time(write.now);
            let made = namespace::make(self.name(), &namespace::owned_by(self), Some(&now))?;
            join(&mut txn, made);
        }
        Ok(Effects {
            txn,
            ..Effects::default()
        })
    }

    async fn admit_deletion(&self, context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        if administers(self, context) && !is_administrator(write.user) {
            let why = "only administrators delete administrators";
            return Err(forbidden::<Self>(self.name(), why));
        }
        Ok(())
    }

    async fn release(&self, context: &Context) -> Result<Txn, ApiError> {
        let name = self.name();
        let tokens = context.directory.tokens();
        let own = tokens.iter().filter(|token| token.user.as_str() == name);
        let own: Vec<_> = own
            .map(|token| prefix::<Token>() + token.name.as_str())
            .collect();
        for some in own.chunks(store::MAX_TXN_ITEMS) {
            let ops = some.iter().map(|key| Op::Delete {
                key: key.clone().into(),
            });
            let txn = Txn {
                compares: Vec::new(),
                ops: ops.collect(),
            };
            context.store.txn(txn).await?;
        }
        let mut ops = vec![Passwords::forget(name)];
        ops.extend(claim_principals(&self.principal_ids, &[]).ops);
        if !self.username.is_empty() {
            let key = username_key(&self.username);
            ops.push(Op::Delete { key });
        }
        Ok(Txn {
            compares: Vec::new(),
            ops,
        })
    }
}

/// Whether a user administers the server.
fn administers(user: &User, context: &Context) -> bool {
    context.directory.access(|access| {
        let groups = access.groups_of(user.name());
        access.is_administrator(user.name(), &groups)
    })
}

/// Gives a new user the roles of new users, and the first one that of administrators.
fn first_roles(user: &mut User, context: &Context, write: &Write<'_>) -> Result<Txn, ApiError> {
    let labels = user.metadata.labels.as_ref();
    let is_first = labels.is_some_and(|labels| labels.contains_key(User::BOOTSTRAPPING_LABEL));
    let mut roles = match is_first && write.user.is_master() {
        true => vec![ADMIN.to_owned()],
        false => context.directory.access(Access::roles_of_new_users),
    };
    roles.truncate(MAX_FIRST_ROLES);
    let mut txn = Txn::default();
    for role in roles {
        join(&mut txn, binding::of_new_user(user, role)?);
    }
    let populated = Condition {
        type_: "InitialRolesPopulated".to_owned(),
        status: ConditionStatus::True,
        last_update_time: Some(Time(write.now)),
        last_transition_time: Some(Time(write.now)),
        reason: String::new(),
        message: String::new(),
    };
    user.status.get_or_insert_default().conditions = vec![populated];
    Ok(txn)
}

/// The transaction that claims a username for a new user.
fn claim(username: &str) -> Txn {
    Txn::put_if(username_key(username), Revision::ZERO, Bytes::new())
}

/// The names that login providers have for a user: that of the account here, and others that only
/// administrators and the server itself say.
fn settle_principals(
    user: &mut User,
    context: &Context,
    write: &Write<'_>,
    before: &[String],
    id: &UserId,
) -> Result<(), ApiError> {
    let said = std::mem::take(&mut user.principal_ids);
    let said = match is_administrator(write.user) {
        true => said,
        false => before.to_vec(),
    };
    user.principal_ids.push(id.local_principal());
    for other in said {
        if !other.starts_with(UserId::LOCAL) && !user.principal_ids.contains(&other) {
            user.principal_ids.push(other);
        }
    }
    let new = (user.principal_ids.iter()).filter(|name| !before.contains(name));
    for name in new {
        let taken = context.directory.user_of_principal(name);
        if let Some((other, _)) = taken.filter(|(other, _)| other != id) {
            let other = other.as_str();
            let message = format!("principal {name:?} belongs to user {other:?}");
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "AlreadyExists",
                message,
            ));
        }
    }
    Ok(())
}

/// The transaction that claims what of the names that login providers have for a user is new, and lets go
/// of what is no longer among them. Nobody else has a name that is claimed.
fn claim_principals(before: &[String], now: &[String]) -> Txn {
    let elsewhere = |id: &&String| !id.starts_with(UserId::LOCAL);
    let mut txn = Txn::default();
    for new in now.iter().filter(elsewhere) {
        if !before.contains(new) {
            let claim = Txn::put_if(principal_key(new), Revision::ZERO, Bytes::new());
            join(&mut txn, claim);
        }
    }
    for old in before.iter().filter(elsewhere) {
        if !now.contains(old) {
            let key = principal_key(old);
            txn.ops.push(Op::Delete { key });
        }
    }
    txn
}

/// They may be long, and of any characters.
fn principal_key(principal: &str) -> Bytes {
    format!("/principals/{}", SecretHash::of(principal).to_hex()).into()
}

/// Names may hold any character, keys had better not.
fn username_key(username: &str) -> Bytes {
    format!("/usernames/{}", hex::encode(username)).into()
}
