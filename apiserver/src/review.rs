//! Reviews: questions about tokens, users and what they may do, answered and never kept.

mod access;
mod identity;

use crate::admission::{Effects, Hooks, Write};
use crate::builtin;
use crate::error::ApiError;
use crate::object::Object;
use crate::registry::Resource;
use crate::serve::{Authorizer, User};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;

/// Knows whose tokens are good.
pub trait Tokens: Send + Sync + std::fmt::Debug {
    /// Whose token it is.
    ///
    /// # Errors
    /// Why it is not accepted.
    fn user(&self, token: &str) -> Result<User, String>;
}

/// The resources of `authentication.k8s.io` and `authorization.k8s.io`, ready to be registered. They
/// are answered by the one who also decides about requests.
#[must_use]
pub fn resources(authorizer: &Arc<dyn Authorizer>, tokens: &Arc<dyn Tokens>) -> Vec<Resource> {
    let reviews = builtin::reviews().into_iter();
    let answered = reviews.filter_map(|resource| {
        let hooks = Review {
            question: Question::of(&resource.plural)?,
            authorizer: Arc::clone(authorizer),
            tokens: Arc::clone(tokens),
        };
        Some(Resource {
            hooks: Arc::new(hooks),
            ..resource
        })
    });
    answered.collect()
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Token,
    Myself,
    Access,
    LocalAccess,
    MyAccess,
    MyRules,
}

impl Question {
    fn of(plural: &str) -> Option<Self> {
        Some(match plural {
            "tokenreviews" => Self::Token,
            "selfsubjectreviews" => Self::Myself,
            "subjectaccessreviews" => Self::Access,
            "localsubjectaccessreviews" => Self::LocalAccess,
            "selfsubjectaccessreviews" => Self::MyAccess,
            "selfsubjectrulesreviews" => Self::MyRules,
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Review {
    question: Question,
    authorizer: Arc<dyn Authorizer>,
    tokens: Arc<dyn Tokens>,
}

impl Review {
    /// The `status` of a review.
    fn status(&self, write: &Write<'_>, review: &Object) -> Result<Value, ApiError> {
        let authorizer = &*self.authorizer;
        match self.question {
            Question::Token => identity::of_token(&*self.tokens, review),
            Question::Myself => Ok(json!({"userInfo": identity::info(write.user)})),
            Question::MyRules => access::rules(authorizer, write.user, review),
            Question::MyAccess => access::of(authorizer, Some(write.user), write, review),
            Question::Access | Question::LocalAccess => access::of(authorizer, None, write, review),
        }
    }
}

impl Hooks for Review {
    fn is_review(&self) -> bool {
        true
    }

    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        review: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async {
            let status = self.status(write, review)?;
            review.fields_mut().insert("status".into(), status);
            Ok(Effects::default())
        })
    }
}
