//! One rule is asked of one value.

use kube_cel::cel::{Context, ExecutionError, Value as CelValue};
use serde_json::Value;

use super::program::Compiled;
use super::run::{Budget, Outcome, describe};
use super::{Rule, normalize_path};
use crate::schema::notation::quote;
use crate::schema::path::child;
use crate::schema::{ErrorKind, FieldError, Schema};

/// The longest message that an expression makes (`MaxEvaluatedMessageExpressionSizeBytes` of
/// k8s.io/apiserver).
const MAX_MESSAGE: usize = 5 << 10;

pub(super) const EXHAUSTED: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The budget is spent, and no further rules are self.
pub(super) struct Spent;

/// A rule and what it is asked of.
pub(super) struct Asked<'a> {
    pub(super) rule: &'a Rule,
    pub(super) compiled: &'a Compiled,
    pub(super) scope: &'a Context<'a>,
    pub(super) schema: &'a Schema,
    pub(super) new: &'a Value,
    pub(super) path: &'a str,
}

impl Asked<'_> {
    /// Asks the rule. What is wrong goes to `errors`, unless it is that the rule does not hold of a
    /// value that is `unchanged`.
    pub(super) fn ask(
        &self,
        budget: &mut Budget,
        unchanged: impl FnOnce() -> bool,
        errors: &mut Vec<FieldError>,
    ) -> Result<(), Spent> {
        let type_name = self.schema.type_name();
        let invalid = |detail: String| FieldError::invalid(self.path, type_name, detail);
        let name = self.rule.name();
        let result = match budget.evaluate(&self.compiled.rule, self.scope) {
            Outcome::Value(value) => value,
            Outcome::BudgetSpent => {
                errors.push(invalid(EXHAUSTED.to_owned()));
                return Err(Spent);
            }
            Outcome::TooCostly => {
                errors.push(invalid(format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules \
                     will be run due to call cost exceeds limit for rule: {name}"
                )));
                return Err(Spent);
            }
            Outcome::Failed(ExecutionError::NoSuchOverload) => {
                errors.push(invalid(format!(
                    "'no such overload': call arguments did not match a supported operator, function \
                     or macro signature for rule: {name}"
                )));
                return Ok(());
            }
            Outcome::Failed(error) => {
                errors.push(invalid(format!(
                    "{} evaluating rule: {name}",
                    describe(&error)
                )));
                return Ok(());
            }
        };
        match result {
            CelValue::Bool(true) => return Ok(()),
            CelValue::Bool(false) => {}
            _ => {
                let detail = "rule compile error: cel expression must evaluate to a bool";
                errors.push(invalid(detail.to_owned()));
                return Ok(());
            }
        }
        let detail = self
            .message(budget, errors)?
            .unwrap_or_else(|| self.rule.complaint());
        if !unchanged() {
            errors.push(self.complaint(detail));
        }
        Ok(())
    }

    /// What the rule's own expression says, if there is one that says something.
    fn message(
        &self,
        budget: &mut Budget,
        errors: &mut Vec<FieldError>,
    ) -> Result<Option<String>, Spent> {
        let Some(expression) = &self.compiled.message else {
            return Ok(None);
        };
        let text = self.rule.message_expression.as_deref().unwrap_or_default();
        let detail = match budget.evaluate(expression, self.scope) {
            Outcome::Value(CelValue::String(message)) => {
                let message = message.trim();
                let is_fit =
                    !message.is_empty() && message.len() <= MAX_MESSAGE && !message.contains('\n');
                return Ok(is_fit.then(|| message.to_owned()));
            }
            Outcome::Value(_) | Outcome::Failed(_) => return Ok(None),
            Outcome::BudgetSpent => {
                "messageExpression evaluation failed due to running out of cost budget, no further \
                 validation rules will be run"
                    .to_owned()
            }
            Outcome::TooCostly => format!(
                "no further validation rules will be run due to call cost exceeds limit for \
                 messageExpression: {}",
                quote(text)
            ),
        };
        let blamed = self.blamed();
        errors.push(FieldError::invalid(blamed, self.schema.type_name(), detail));
        Err(Spent)
    }

    /// The path of the field that is to blame.
    fn blamed(&self) -> String {
        let below = self.rule.field_path.as_deref();
        let below = below
            .and_then(|path| normalize_path(path, self.schema))
            .unwrap_or_default();
        match below.as_str() {
            "" => self.path.to_owned(),
            below => child(self.path, below),
        }
    }

    fn complaint(&self, detail: String) -> FieldError {
        let is_shown = !matches!(self.schema.type_name(), "object" | "array");
        let value = is_shown.then(|| self.new.clone());
        let (kind, detail) = match self.rule.reason.as_deref() {
            Some("FieldValueForbidden") => (ErrorKind::Forbidden, detail),
            Some("FieldValueRequired") => (ErrorKind::Required, detail),
            Some("FieldValueDuplicate") => (ErrorKind::Duplicate, String::new()),
            _ => (ErrorKind::Invalid, detail),
        };
        FieldError {
            path: self.blamed(),
            kind,
            detail,
            value,
        }
    }
}
