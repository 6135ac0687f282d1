//! One evaluation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Value as CelValue};

use super::program::Tree;
use super::{collect, composed, cost, functions, search};

/// What all evaluations for one object may cost (`RuntimeCELCostBudget` of k8s.io/apiserver).
const PER_OBJECT: i64 = 10_000_000;

/// What is left for evaluations that share it.
#[derive(Debug)]
pub(super) struct Budget(i64);

impl Budget {
    pub(super) fn for_object() -> Self {
        Self(PER_OBJECT)
    }

    pub(super) fn of(limit: i64) -> Self {
        Self(limit)
    }

    pub(super) fn spend(&mut self, units: i64) {
        self.0 = self.0.saturating_sub(units);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0 <= 0
    }

    pub(super) fn evaluate(&mut self, tree: &Tree, scope: &Context<'_>) -> Outcome {
        // The interpreter is not ours: should it panic, the rule has failed and not the server.
        let resolve = || {
            catch_unwind(AssertUnwindSafe(|| {
                CelValue::resolve(&tree.expression, scope)
            }))
        };
        let run = cost::metered_run(self.0, tree.weight, resolve);
        // An expression that does nothing costs one, so that their number is bounded too.
        self.spend(run.cost.max(1));
        match run.result {
            _ if run.exhausted && self.0 < 0 => Outcome::BudgetSpent,
            _ if run.exhausted => Outcome::TooCostly,
            Ok(Ok(value)) => Outcome::Value(value),
            Ok(Err(error)) if is_of_types(&error) => {
                Outcome::Failed(ExecutionError::NoSuchOverload)
            }
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(ExecutionError::function_error("evaluation", "failed")),
        }
    }
}

/// Whether a function or operator was given a value of a type that it does not take. Such errors hold
/// the values, which may be large.
fn is_of_types(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::NoSuchOverload
            | ExecutionError::UnsupportedBinaryOperator(..)
            | ExecutionError::UnsupportedUnaryOperator(..)
            | ExecutionError::UnexpectedType { .. }
            | ExecutionError::ValuesNotComparable(..)
            | ExecutionError::NotSupportedAsMethod { .. }
            | ExecutionError::UnsupportedTargetType { .. }
    )
}

/// How an evaluation ended.
pub(super) enum Outcome {
    Value(CelValue),
    Failed(ExecutionError),
    /// This one took more than one may.
    TooCostly,
    /// All together took more than they may.
    BudgetSpent,
}

/// All functions there are. Variables are added in scopes below.
pub(super) static CONTEXT: LazyLock<Context<'static>> = LazyLock::new(all_functions);

/// The same, to be added to.
pub(crate) fn all_functions() -> Context<'static> {
    let mut context = Context::default();
    context.register_all();
    functions::register(&mut context);
    search::register(&mut context);
    collect::register(&mut context);
    cost::register(&mut context);
    composed::register(&mut context);
    context
}

/// `optional.of` the value, or `optional.none()`.
pub(super) fn optional_value(value: Option<CelValue>) -> CelValue {
    let value = value.map_or_else(OptionalValue::none, OptionalValue::of);
    CelValue::Opaque(Arc::new(value))
}

/// The longest text of an error: some show a value.
const MAX_ERROR: usize = 1 << 10;

/// An error in the words of cel-go.
pub(super) fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "return error for overflow".to_owned(),
        error if is_of_types(error) => "no such overload".to_owned(),
        ExecutionError::FunctionError { function, message }
            if ["cost", "variables"].contains(&function.as_str()) =>
        {
            message.clone()
        }
        other => {
            let mut text = other.to_string();
            text.truncate(text.floor_char_boundary(MAX_ERROR));
            text
        }
    }
}
