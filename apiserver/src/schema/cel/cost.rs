//! What an evaluation costs, counted while it runs.
//!
//! The interpreter has no limit of its own. So an expression is changed before it is evaluated: the
//! condition of each loop, and each operand whose size matters, is passed through a function of ours
//! that counts and, when the limit is reached, fails. From then on all of them fail, so that the
//! evaluation ends within the next few steps.
//!
//! One unit is roughly what it is in Kubernetes: one step, one value looked at, ten bytes of a string.

use std::cell::{Cell, RefCell};

use kube_cel::cel::{Context, ExecutionError, Value};

/// Names that no expression can write.
pub(super) const STEP: &str = "@step";
pub(super) const GROWING_STEP: &str = "@growing_step";
pub(super) const BEGIN: &str = "@begin";
pub(super) const END: &str = "@end";
pub(super) const SIZED: &str = "@sized";
pub(super) const SQUARED: &str = "@squared";
pub(super) const REGEX: &str = "@regex";

/// What it takes to compile a regular expression.
const PER_REGEX: i64 = 20_000;

thread_local! {
    /// What is left for the evaluation that runs on this thread. Below zero: it has ended.
    static LEFT: Cell<i64> = const { Cell::new(0) };
    /// How often each of the loops that run has been gone through.
    static LOOPS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// How an evaluation went.
pub(super) struct Metered<T> {
    pub(super) result: T,
    /// What it took.
    pub(super) cost: i64,
    /// It was cut off.
    pub(super) exhausted: bool,
}

/// Runs an evaluation that may take `limit` units.
pub(super) fn metered_run<T>(limit: i64, evaluate: impl FnOnce() -> T) -> Metered<T> {
    LEFT.set(limit);
    LOOPS.take();
    let result = evaluate();
    let left = LEFT.get();
    Metered {
        result,
        cost: limit.saturating_sub(left),
        exhausted: left < 0,
    }
}

/// Runs an evaluation inside of another, at its cost. Loops that it leaves by an error are forgotten.
pub(super) fn nested<T>(evaluate: impl FnOnce() -> T) -> T {
    let depth = LOOPS.with_borrow(Vec::len);
    let result = evaluate();
    LOOPS.with_borrow_mut(|loops| loops.truncate(depth));
    result
}

/// Takes units from the evaluation that runs; false when there are not enough.
pub(super) fn charge(units: i64) -> bool {
    let left = LEFT.get().saturating_sub(units);
    LEFT.set(left);
    left >= 0
}

/// Adds the functions that count.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(STEP, |value: Value| passed(charge(1), value));
    context.add_function(BEGIN, |value: Value| {
        LOOPS.with_borrow_mut(|loops| loops.push(0));
        passed(charge(1), value)
    });
    context.add_function(END, |value: Value| {
        LOOPS.with_borrow_mut(|loops| loops.pop());
        passed(charge(1), value)
    });
    // The list that a loop has made so far is copied each time.
    context.add_function(GROWING_STEP, |value: Value| {
        let times = LOOPS.with_borrow_mut(|loops| {
            loops.last_mut().map_or(0, |times| {
                *times += 1;
                *times
            })
        });
        passed(charge(1 + times / 8), value)
    });
    context.add_function(SIZED, |value: Value| {
        let affordable = charge_size(&value);
        passed(affordable, value)
    });
    context.add_function(SQUARED, |value: Value| {
        let before = LEFT.get();
        let affordable = charge_size(&value);
        let size = before - LEFT.get();
        passed(affordable && charge(size.saturating_mul(size) / 16), value)
    });
    context.add_function(REGEX, |value: Value| {
        let affordable = charge(PER_REGEX) && charge_size(&value);
        passed(affordable, value)
    });
}

fn passed(affordable: bool, value: Value) -> Result<Value, ExecutionError> {
    match affordable {
        true => Ok(value),
        false => Err(exhausted()),
    }
}

/// The error of an evaluation that was cut off.
pub(super) fn exhausted() -> ExecutionError {
    ExecutionError::function_error("cost", "actual cost limit exceeded")
}

/// Charges for all that a value holds, and stops when that is too much.
fn charge_size(value: &Value) -> bool {
    let own = match value {
        Value::String(text) => text.len() / 10,
        Value::Bytes(bytes) => bytes.len() / 10,
        _ => 0,
    };
    charge(1 + own as i64)
        && match value {
            Value::List(items) => items.iter().all(charge_size),
            Value::Map(map) => map.map.values().all(charge_size),
            _ => true,
        }
}
