//! Users: their names are unique, their passwords kept apart, their tokens end with them.

use bytes::Bytes;
use lariat_api::{Kind, User, UserId};
use store::{Compare, Op, Revision, Txn};

use super::kinds::{Managed, named};
use crate::authn::{Identity, Passwords};
use crate::edge::ApiError;
use crate::objects::{ObjectError, random_bits};
use crate::state::App;
use crate::tokens;

/// How often another id is tried when a random one is taken.
const ATTEMPTS: usize = 5;

impl Managed for User {
    fn owner(&self) -> Option<&str> {
        Some(self.name())
    }

    fn shown(mut self) -> Self {
        self.password = None;
        self
    }

    async fn create(mut self, app: &App, _who: &Identity) -> Result<Self, ApiError> {
        if app.directory.login(&self.username).is_some() {
            let message = format!("username {:?} is taken", self.username);
            return Err(ApiError::already_exists(message));
        }
        let password = self.password.take();
        let fixed = self.metadata.name.is_some();
        for _ in 0..ATTEMPTS {
            if !fixed {
                self.metadata.name = Some(UserId::from_random(random_bits()).to_string());
            }
            let id: UserId = self
                .name()
                .parse()
                .map_err(|error: lariat_api::InvalidId| {
                    ApiError::invalid(format!("metadata.name: {error}"))
                })?;
            self.principal_ids = vec![id.local_principal()];
            let mut ops = Vec::new();
            if let Some(password) = &password {
                let password = password.as_str().into();
                ops.push(
                    app.passwords
                        .set(&id, password)
                        .await
                        .map_err(ApiError::internal)?,
                );
            }
            let user = named(self.clone())?;
            match app
                .objects
                .create_with(user, claim(&self.username, ops))
                .await
            {
                Err(ObjectError::AlreadyExists(_)) if !fixed => {}
                result => return Ok(result?),
            }
        }
        Err(ApiError::internal("no free id for a user"))
    }

    async fn update(mut self, app: &App, stored: &Self) -> Result<Self, ApiError> {
        if self.username != stored.username {
            return Err(ApiError::invalid("username: cannot be changed"));
        }
        let mut txn = Txn::default();
        if let Some(password) = self.password.take() {
            let id: UserId = stored.name().parse().map_err(ApiError::internal)?;
            let set = app.passwords.set(&id, password.into()).await;
            txn.ops.push(set.map_err(ApiError::internal)?);
        }
        Ok(app.objects.update_with(self, stored, txn).await?)
    }

    async fn remove(&self, app: &App) -> Result<Revision, ApiError> {
        let name = self.name();
        let tokens = app.directory.tokens();
        for token in tokens.iter().filter(|token| token.user.as_str() == name) {
            match tokens::revoke(app, token.name.as_str()).await {
                Err(error) if error.status() != http::StatusCode::NOT_FOUND => return Err(error),
                _ => {}
            }
        }
        let key = username_key(&self.username);
        let ops = vec![Op::Delete { key }, Passwords::forget(name)];
        let compares = Vec::new();
        Ok(app.objects.delete(self, Txn { compares, ops }).await?)
    }
}

/// The transaction that claims a username for a new user, together with other operations.
pub(crate) fn claim(username: &str, mut ops: Vec<Op>) -> Txn {
    let key = username_key(username);
    ops.push(Op::Put {
        key: key.clone(),
        value: Bytes::new(),
    });
    let modified = Revision::ZERO;
    Txn {
        compares: vec![Compare { key, modified }],
        ops,
    }
}

/// Names may hold any character, keys had better not.
fn username_key(username: &str) -> Bytes {
    format!("/usernames/{}", hex::encode(username)).into()
}
