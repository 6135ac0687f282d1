//! Tokens: their secret is in the answer to the create request and nowhere else.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::object::Object;
use apiserver::schema::FieldError;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lariat_api::{AuthConfigType, EXTRA_TOKEN, Kind as _, Token, TokenName, UserId};

use super::{Context, Managed, forbidden};
use crate::authn::{SecretHash, new_secret};
use crate::authz::is_administrator;
use crate::management::Number;
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
        inherit_provider(self, context, write);
        // Only from the server itself comes a token for somebody who has just logged in.
        self.is_derived |= !write.user.is_master();
        self.ttl = at_most(self, context.directory.number(Number::TokenMaxTtl));
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

/// A token that is made with another ends with the provider by which its user came to that.
fn inherit_provider(token: &mut Token, context: &Context, write: &Write<'_>) {
    if !token.auth_provider.is_empty() {
        return;
    }
    let shown = write
        .user
        .extra
        .get(EXTRA_TOKEN)
        .and_then(|names| names.first());
    let shown = shown.filter(|_| token.user_id == write.user.name);
    let shown = shown.and_then(|name| context.directory.token(name));
    (token.auth_provider, token.user_principal) = match shown {
        Some(shown) => (shown.provider.clone(), shown.principal.clone()),
        None => (
            AuthConfigType::Local.name().to_owned(),
            format!("{}{}", UserId::LOCAL, token.user_id),
        ),
    };
}

/// For how long a token is good where none is good for more than so many minutes; 0: no such bound.
fn at_most(token: &Token, minutes: u64) -> Option<u64> {
    let longest = minutes.saturating_mul(60_000);
    match token.ttl_milliseconds() > longest && minutes > 0 {
        true => Some(longest),
        false => token.ttl,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_would_be_good_for_too_long_is_cut() {
        let minute = 60_000;
        let default = Token::DEFAULT_TTL_MILLISECONDS / minute;
        for (ttl, minutes, expected) in [
            (None, 0, None),
            (None, default, None),
            (None, default - 1, Some((default - 1) * minute)),
            (Some(5 * minute), 0, Some(5 * minute)),
            (Some(5 * minute), 5, Some(5 * minute)),
            (Some(5 * minute + 1), 5, Some(5 * minute)),
        ] {
            let token = Token {
                ttl,
                ..Token::default()
            };
            assert_eq!(at_most(&token, minutes), expected, "{ttl:?} {minutes}");
        }
    }
}
