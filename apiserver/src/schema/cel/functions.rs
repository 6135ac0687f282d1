//! Functions whose results may be much larger than what they are given, or which prepare much.
//!
//! They take the place of those of the libraries, and count before they begin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::extractors::{Arguments, This};
use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, Value};

use super::cost::{charge, exhausted};
use crate::schema::Pattern;

/// What it takes to compile a regular expression that was not used lately.
const PER_PATTERN: i64 = 20_000;
/// How many expressions are kept for each thread.
const MAX_PATTERNS: usize = 64;

thread_local! {
    static PATTERNS: RefCell<HashMap<Arc<String>, Pattern>> = RefCell::new(HashMap::new());
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("matches", matches);
    context.add_function("replace", replace);
    context.add_function("join", join);
    context.add_function("lists.range", range);
}

fn matches(This(text): This<Arc<String>>, expression: Arc<String>) -> ResolveResult {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(pattern) = patterns.get(&expression) {
            return Ok(pattern.is_found_in(&text).into());
        }
        afford(PER_PATTERN)?;
        let pattern = Pattern::new(&expression)
            .map_err(|error| ExecutionError::function_error("matches", error))?;
        if patterns.len() >= MAX_PATTERNS {
            patterns.clear();
        }
        let found = pattern.is_found_in(&text);
        patterns.insert(expression, pattern);
        Ok(found.into())
    })
}

fn replace(This(text): This<Arc<String>>, Arguments(arguments): Arguments) -> ResolveResult {
    let (from, to, most) = match arguments.as_slice() {
        [Value::String(from), Value::String(to)] => (from, to, usize::MAX),
        // All are replaced where the number is negative.
        [Value::String(from), Value::String(to), Value::Int(most)] => {
            (from, to, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let times = text.matches(from.as_str()).count().min(most);
    afford(length(times.saturating_mul(to.len())))?;
    Ok(Value::String(Arc::new(text.replacen(
        from.as_str(),
        to,
        times,
    ))))
}

fn join(This(list): This<Arc<Vec<Value>>>, Arguments(arguments): Arguments) -> ResolveResult {
    let separator = match arguments.as_slice() {
        [] => "",
        [Value::String(separator)] => separator.as_str(),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    afford(length(list.len().saturating_mul(separator.len())))?;
    let mut texts = Vec::with_capacity(list.len());
    for item in list.iter() {
        match item {
            Value::String(text) => texts.push(text.as_str()),
            _ => return Err(ExecutionError::NoSuchOverload),
        }
    }
    Ok(Value::String(Arc::new(texts.join(separator))))
}

fn range(count: i64) -> ResolveResult {
    afford(count.max(0))?;
    Ok(Value::List(Arc::new((0..count).map(Value::Int).collect())))
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes / 10).unwrap_or(i64::MAX)
}

/// Counts before something is done that costs so much.
///
/// # Errors
/// When that is more than is left.
pub(crate) fn afford(units: i64) -> Result<(), ExecutionError> {
    if charge(units) {
        Ok(())
    } else {
        Err(exhausted())
    }
}
