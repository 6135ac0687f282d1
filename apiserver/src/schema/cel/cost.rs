//! What an evaluation costs, counted while it runs.
//!
//! The interpreter has no limit of its own, and copies the values that it works with. So an expression
//! is changed before it is evaluated: the condition of each loop, and each value that is copied or
//! whose size matters, is passed through a function of ours that counts and, when the limit is
//! reached, fails. From then on all of them fail, so that the evaluation ends within the next few
//! steps.
//!
//! One unit is roughly what it is in Kubernetes: one step, one value looked at, ten bytes of a string.
//! A million of them take a tenth of a second there. What is counted bounds the memory; that nothing is
//! cheaper than a unit for each microsecond of processor time bounds the time, whatever was not counted.

use std::cell::Cell;
use std::time::{Duration, Instant};

use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Value};
use nix::time::ClockId;

/// Names that no expression can write.
pub(super) const STEP: &str = "@step";
pub(super) const SIZED: &str = "@sized";
pub(super) const SQUARED: &str = "@squared";
pub(super) const FORMAT: &str = "@format";

/// What one expression may cost (`PerCallLimit` of k8s.io/apiserver).
const PER_CALL: i64 = 1_000_000;

/// How often the clock of the processor is read: it takes a system call.
const LOOK_AFTER: Duration = Duration::from_millis(1);

thread_local! {
    /// The evaluation that runs on this thread.
    static RUN: Cell<Run> = const { Cell::new(Run::NONE) };
}

#[derive(Clone, Copy)]
struct Run {
    /// What is left for the expression. Below zero: it has ended.
    call: i64,
    /// What is left for all that share its budget.
    all: i64,
    /// The processor time of this thread at which it ends.
    deadline: Duration,
    looked: Option<Instant>,
}

impl Run {
    const NONE: Self = Self {
        call: 0,
        all: 0,
        deadline: Duration::ZERO,
        looked: None,
    };

    fn goes_on(self) -> bool {
        self.call >= 0 && self.all >= 0
    }
}

/// How an evaluation went.
pub(super) struct Metered<T> {
    pub(super) result: T,
    /// What it took.
    pub(super) cost: i64,
    /// It was cut off.
    pub(super) exhausted: bool,
}

/// Runs the evaluation of an expression that has cost `weight` already when it begins. `budget` is for
/// all that share it.
pub(super) fn metered_run<T>(budget: i64, weight: i64, evaluate: impl FnOnce() -> T) -> Metered<T> {
    let start = processor_time();
    RUN.set(Run {
        call: PER_CALL,
        all: budget,
        deadline: start.saturating_add(microseconds(PER_CALL.min(budget))),
        looked: Some(Instant::now()),
    });
    charge(weight);
    let result = evaluate();
    let run = RUN.replace(Run::NONE);
    let took = processor_time().saturating_sub(start).as_micros();
    Metered {
        result,
        cost: (budget.saturating_sub(run.all)).max(i64::try_from(took).unwrap_or(i64::MAX)),
        exhausted: !run.goes_on(),
    }
}

/// Evaluates another expression inside of one. It may cost as much as any, and costs what all share.
pub(super) fn nested<T>(
    weight: i64,
    evaluate: impl FnOnce() -> Result<T, ExecutionError>,
) -> Result<T, ExecutionError> {
    let outer = RUN.get().call;
    RUN.set(Run {
        call: PER_CALL,
        ..RUN.get()
    });
    let result = afford(weight).and_then(|()| evaluate());
    let inner = RUN.get();
    RUN.set(Run {
        call: outer,
        ..inner
    });
    if inner.goes_on() {
        result
    } else {
        Err(exhausted())
    }
}

fn microseconds(units: i64) -> Duration {
    Duration::from_micros(units.max(0).cast_unsigned())
}

/// How long this thread has been at work. Others that are at work do not make it later.
fn processor_time() -> Duration {
    let now = ClockId::CLOCK_THREAD_CPUTIME_ID.now();
    now.map_or(Duration::MAX, Duration::from)
}

/// Takes units from the evaluation that runs; false when there are not enough.
fn charge(units: i64) -> bool {
    let mut run = RUN.get();
    run.call = run.call.saturating_sub(units);
    run.all = run.all.saturating_sub(units);
    RUN.set(run);
    run.goes_on()
}

/// Whether the evaluation has not taken too long.
fn is_in_time() -> bool {
    let mut run = RUN.get();
    let now = Instant::now();
    if (run.looked).is_some_and(|looked| now.duration_since(looked) < LOOK_AFTER) {
        return true;
    }
    run.looked = Some(now);
    if processor_time() > run.deadline {
        run.call = -1;
    }
    RUN.set(run);
    run.goes_on()
}

/// Counts before something is done that costs so much.
///
/// # Errors
/// When that is more than is left.
pub(crate) fn afford(units: i64) -> Result<(), ExecutionError> {
    if charge(units) && is_in_time() {
        Ok(())
    } else {
        Err(exhausted())
    }
}

/// The same for something that is done to a whole value.
///
/// # Errors
/// When that is more than is left.
pub(super) fn afford_size(value: &Value) -> Result<(), ExecutionError> {
    charge_size(value);
    afford(0)
}

/// Adds the functions that count.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(STEP, |value: Value, weight: i64| {
        afford(weight).map(|()| value)
    });
    context.add_function(SIZED, |value: Value| afford_size(&value).map(|()| value));
    context.add_function(SQUARED, |value: Value| {
        let before = RUN.get().call;
        afford_size(&value)?;
        let size = before - RUN.get().call;
        afford(size.saturating_mul(size) / 16).map(|()| value)
    });
    context.add_function(FORMAT, |value: Value| {
        afford_size(&value)?;
        if let Value::String(text) = &value {
            afford(zeros(text)? / 10)?;
        }
        Ok::<_, ExecutionError>(value)
    });
}

/// The error of an evaluation that was cut off.
pub(super) fn exhausted() -> ExecutionError {
    let message = "operation cancelled: actual cost limit exceeded";
    ExecutionError::function_error("cost", message)
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
            Value::Opaque(opaque) => opaque
                .downcast_ref::<OptionalValue>()
                .and_then(OptionalValue::value)
                .is_none_or(charge_size),
            _ => true,
        }
}

/// How many digits the verbs of a format ask for, as in `%.100f`.
fn zeros(format: &str) -> Result<i64, ExecutionError> {
    let mut sum = 0;
    for after in format.split("%.").skip(1) {
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let asked: u16 = match &after[..digits] {
            "" => 0,
            number => number.parse().map_err(|_| {
                ExecutionError::function_error("format", "precision is out of range")
            })?,
        };
        sum += i64::from(asked);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_costs_its_time() {
        let busy = || {
            let until = processor_time() + Duration::from_millis(20);
            while processor_time() < until {}
        };
        let run = metered_run(1000, 0, || {
            busy();
            afford(0)
        });
        assert!(run.exhausted && run.result.is_err() && run.cost >= 20_000);
        let run = metered_run(1_000_000, 0, || {
            busy();
            afford(0)
        });
        assert!(!run.exhausted && run.cost >= 20_000);
    }

    #[test]
    fn an_expression_inside_of_another_has_a_limit_of_its_own() {
        let run = metered_run(3 * PER_CALL, 0, || {
            afford(PER_CALL - 1).unwrap();
            nested(1, || afford(PER_CALL - 1)).unwrap();
            nested(0, || afford(PER_CALL + 1)).unwrap_err();
            afford(1)
        });
        assert!(run.result.is_err(), "all of the budget is spent");
        let run = metered_run(10 * PER_CALL, 5, || {
            nested(0, || afford(PER_CALL + 1)).unwrap_err();
            afford(PER_CALL - 5)
        });
        assert!(!run.exhausted && run.result.is_ok());
    }
}
