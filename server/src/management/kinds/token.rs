//! Tokens: their secret is in the answer to the create request and nowhere else.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::object::Object;
use apiserver::schema::FieldError;
use lariat_api::{Kind as _, Token, TokenName};

use super::{Context, Managed, forbidden};
use crate::authz::is_administrator;
use crate::objects::random_bits;
use crate::tokens;

impl Managed for Token {
    fn made_up_name() -> Option<String> {
        Some(TokenName::from_random(random_bits()).to_string())
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
        let invalid = |field: &str, value: &str, rule: &str| {
            let error = FieldError::invalid(field, value, rule);
            write.invalid(value, &[error])
        };
        if self.user_id.is_empty() {
            self.user_id.clone_from(&write.user.name);
        }
        if self.user_id != write.user.name && !is_administrator(write.user) {
            let why = format!("user {:?} may not make tokens of others", write.user.name);
            return Err(forbidden::<Self>(self.name(), &why));
        }
        if self.name().parse::<TokenName>().is_err() {
            let rule = "a token gets its name from the server; leave it out";
            return Err(invalid("metadata.name", self.name(), rule));
        }
        if context.directory.user(&self.user_id).is_none() {
            return Err(invalid("userId", &self.user_id, "there is no such user"));
        }
        self.is_derived = true;
        let secret = tokens::issue(self, write.now).map_err(ApiError::internal)?;
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
