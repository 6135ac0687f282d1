//! What a kind does when its objects are written, beyond what its schema says.

use crate::error::{About, ApiError};
use crate::object::Object;
use crate::schema::FieldError;
use crate::serve::User;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use store::{Revision, Txn};

/// Called by the server when objects of a kind are written. What is not said is left as it is.
pub trait Hooks: Send + Sync + std::fmt::Debug {
    /// The name of an object that comes without one; `None` if it must have one.
    fn name(&self) -> Option<String> {
        None
    }

    /// Whether objects are only answered and never kept: they can be created and nothing else, and
    /// [`Self::admit`] writes the answer into them.
    fn is_review(&self) -> bool {
        false
    }

    /// Called with an object that meets its schema, before it is written: fills in what only the
    /// server knows, and refuses what a schema cannot say.
    fn admit<'a>(
        &'a self,
        _write: &'a Write<'a>,
        _object: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async { Ok(Effects::default()) })
    }

    /// Called with an object that meets its schema and whose metadata are wrong: what else is, so that
    /// its writer hears of all at once.
    fn faults(&self, _object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        Vec::new()
    }

    /// Called when somebody wants an object deleted, before anything is done: refuses it. The object is
    /// [`Write::old`].
    fn admit_deletion<'a>(&'a self, _write: &'a Write<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    /// Called before an object is deleted. What is returned happens together with it.
    fn release<'a>(&'a self, _object: &'a Object) -> BoxFuture<'a, Result<Txn, ApiError>> {
        Box::pin(async { Ok(Txn::default()) })
    }

    /// Called when something was written or deleted, before the client is told.
    fn written(&self, _at: Revision) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// A kind without hooks.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}

/// An object is created, changed or deleted.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Who does it.
    pub user: &'a User,
    /// The object before; `None`: it is created.
    pub old: Option<&'a Object>,
    /// The part that is written; empty for the object itself.
    pub subresource: &'a str,
    /// When.
    pub now: Timestamp,
    /// Whether nothing is written in the end.
    pub dry_run: bool,
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
}

/// Adds to the answer to a write.
pub type Answer = Box<dyn FnOnce(&mut Object) + Send>;

/// What else comes of a write.
#[derive(Default)]
pub struct Effects {
    /// Happens together with it, or not at all.
    pub txn: Txn,
    /// Adds to the answer what is not kept.
    pub answer: Option<Answer>,
}

impl Write<'_> {
    /// The refusal of an object of that name.
    #[must_use]
    pub fn invalid(&self, name: &str, errors: &[FieldError]) -> ApiError {
        let about = About {
            group: self.group,
            what: self.kind,
            name,
        };
        ApiError::invalid(about, errors)
    }
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effects")
            .field("txn", &self.txn)
            .finish_non_exhaustive()
    }
}
