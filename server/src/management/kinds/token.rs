//! Tokens: their secret is in the answer to the create request and nowhere else.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::object::Object;
use apiserver::schema::FieldError;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{Kind as _, Token, TokenName};

use super::{Context, Managed, forbidden};
use crate::authn::{SecretHash, new_secret};
use crate::authz::is_administrator;
use crate::random;

impl Managed for Token {
    fn made_up_name() -> Option<String> {
        Some(TokenName::from_random(random::bits()).to_string())
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if old.is_some() {
            return Ok(Effects::default());
        }
        if self.user_id.is_empty() {
            self.user_id.clone_from(&write.user.name);
        }
        if self.user_id != write.user.name && !is_administrator(write.user) {
            let why = format!("user {:?} may not make tokens of others", write.user.name);
            return Err(forbidden::<Self>(self.name(), &why));
        }
        if context.directory.user(&self.user_id).is_none() {
            let rule = "there is no such user";
            let error = FieldError::invalid("userId", self.user_id.as_str(), rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        // Only from the server itself comes a token for somebody who has just logged in.
        self.is_derived |= !write.user.is_master();
        let secret = issue(self, write.now)?;
        let bearer = format!("{}:{secret}", self.name());
        let show = move |object: &mut Object| {
            object.fields_mut().insert("token".into(), bearer.into());
        };
        Ok(Effects {
            answer: Some(Box::new(show)),
            ..Effects::default()
        })
    }
}

/// Gives a new token its secret, of which the hash is kept, and its end. Returns the secret.
fn issue(token: &mut Token, now: Timestamp) -> Result<String, ApiError> {
    let secret = new_secret();
    let ttl = i64::try_from(token.ttl_milliseconds()).map_err(ApiError::internal)?;
    token.token_hash = SecretHash::of(&secret).to_hex();
    token.expires_at = Some(Time(now + SignedDuration::from_millis(ttl)));
    Ok(secret)
}
