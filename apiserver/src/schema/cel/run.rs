//! One evaluation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use kube_cel::KubeCelExt;
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as CelValue};

use super::{composed, cost, functions};

/// What one evaluation may cost (`PerCallLimit` of k8s.io/apiserver).
const PER_CALL: i64 = 1_000_000;
/// What all evaluations for one object may cost (`RuntimeCELCostBudget` there).
const PER_OBJECT: i64 = 10_000_000;

/// What is left for the evaluations of one object.
pub(super) struct Budget {
    left: i64,
    per_call: i64,
}

impl Budget {
    pub(super) fn for_object() -> Self {
        Self {
            left: PER_OBJECT,
            per_call: PER_CALL,
        }
    }

    /// One that a single evaluation may spend alone.
    pub(super) fn of(limit: i64) -> Self {
        Self {
            left: limit,
            per_call: limit,
        }
    }

    pub(super) fn spend(&mut self, units: i64) {
        self.left = self.left.saturating_sub(units);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left <= 0
    }

    pub(super) fn evaluate(&mut self, expression: &IdedExpr, scope: &Context<'_>) -> Outcome {
        let limit = self.per_call.min(self.left);
        // The interpreter is not ours: should it panic, the rule has failed and not the server.
        let resolve = || catch_unwind(AssertUnwindSafe(|| CelValue::resolve(expression, scope)));
        let run = cost::metered_run(limit, resolve);
        // An expression that does nothing costs one, so that their number is bounded too.
        self.spend(run.cost.max(1));
        match run.result {
            _ if run.exhausted && limit < self.per_call => Outcome::BudgetSpent,
            _ if run.exhausted => Outcome::TooCostly,
            Ok(Ok(value)) => Outcome::Value(value),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(ExecutionError::function_error("evaluation", "failed")),
        }
    }
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
    cost::register(&mut context);
    composed::register(&mut context);
    context
}

/// `optional.of` the value, or `optional.none()`.
pub(super) fn optional_value(value: Option<CelValue>) -> CelValue {
    let value = value.map_or_else(OptionalValue::none, OptionalValue::of);
    CelValue::Opaque(Arc::new(value))
}

/// An error in the words of cel-go.
pub(super) fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "return error for overflow".to_owned(),
        ExecutionError::NoSuchOverload => "no such overload".to_owned(),
        ExecutionError::FunctionError { function, message } if function == "variables" => {
            message.clone()
        }
        other => other.to_string(),
    }
}
