//! CEL rules of schemas (`x-kubernetes-validations`).
//!
//! The language is the `cel` crate's with the libraries of Kubernetes (`kube-cel`). There is no type
//! checker beyond the names of fields: what kube-apiserver refuses when a rule is written may here fail
//! when it is evaluated.

use std::fmt;
use std::sync::{Arc, OnceLock};

mod asked;
mod collect;
mod composed;
mod convert;
mod cost;
mod expression;
mod fields;
mod functions;
mod metered;
mod path;
mod program;
mod run;
mod search;
mod shape;
mod types;
mod unknown;
mod walk;

pub(crate) use composed::{Composed, Declared};
pub(crate) use convert::is_identifier;
pub(crate) use cost::afford;
pub(crate) use expression::{Evaluated, Evaluation, Expression, plain};
pub(crate) use metered::Names;
pub(super) use path::normalize as normalize_path;
use program::{CompileError, Compiled};
pub(crate) use run::all_functions;
pub(crate) use types::Type;
pub(super) use walk::{check, check_unchanged, has_rules};

/// A CEL rule. It holds if its expression is true.
#[derive(Clone, Default)]
pub struct Rule {
    /// The expression over `self`, and over `oldSelf` where values change.
    pub rule: String,
    /// What is said when it does not hold.
    pub message: Option<String>,
    /// The expression of what is said; `message` is for when it fails.
    pub message_expression: Option<String>,
    /// The reason of the cause: `FieldValueInvalid` if absent.
    pub reason: Option<String>,
    /// The field that is to blame, below the value: `.a.b['c']`.
    pub field_path: Option<String>,
    /// `oldSelf` is an optional value, so that a rule that uses it is asked of new values as well.
    pub optional_old_self: Option<bool>,
    pub(super) programs: Programs,
}

/// The programs of a rule, compiled when they are first needed.
#[derive(Clone, Default)]
pub(super) struct Programs(OnceLock<Arc<Result<Compiled, CompileError>>>);

impl Rule {
    /// The programs of the rule.
    pub(super) fn compiled(&self) -> Result<&Compiled, &CompileError> {
        let compile = || {
            Arc::new(Compiled::new(
                &self.rule,
                self.message_expression.as_deref(),
            ))
        };
        self.programs.0.get_or_init(compile).as_ref().as_ref()
    }

    /// How messages name the rule.
    fn name(&self) -> &str {
        match self.message.as_deref() {
            Some(message) if !message.is_empty() => message.trim(),
            _ => self.rule.trim(),
        }
    }

    /// What is said when it does not hold and no expression says it.
    fn complaint(&self) -> String {
        match self.message.as_deref() {
            Some(message) if !message.is_empty() => message.trim().to_owned(),
            _ => format!("failed rule: {}", self.rule.trim()),
        }
    }

    fn texts(&self) -> impl PartialEq + fmt::Debug + '_ {
        (
            &self.rule,
            &self.message,
            &self.message_expression,
            &self.reason,
            &self.field_path,
            self.optional_old_self,
        )
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}

impl Eq for Rule {}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rule").field(&self.texts()).finish()
    }
}

#[cfg(test)]
mod tests;
