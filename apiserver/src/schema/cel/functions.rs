//! Functions whose results may be much larger than what they are given.
//!
//! They take the place of those of the libraries, and count before they begin.

use std::sync::Arc;

use kube_cel::cel::extractors::{Arguments, This};
use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, Value};

use super::cost::afford;

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("replace", replace);
    context.add_function("join", join);
    context.add_function("split", split);
    context.add_function("lists.range", range);
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

fn split(This(text): This<Arc<String>>, Arguments(arguments): Arguments) -> ResolveResult {
    let (separator, most) = match arguments.as_slice() {
        [Value::String(separator)] => (separator, usize::MAX),
        // There is no limit where the number is negative.
        [Value::String(separator), Value::Int(most)] => {
            (separator, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let pieces = text.matches(separator.as_str()).count() + 1;
    afford(i64::try_from(pieces.min(most)).unwrap_or(i64::MAX))?;
    let pieces: Vec<&str> = text.splitn(most, separator.as_str()).collect();
    Ok(pieces.into())
}

fn range(count: i64) -> ResolveResult {
    afford(count.max(0))?;
    Ok(Value::List(Arc::new((0..count).map(Value::Int).collect())))
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes / 10).unwrap_or(i64::MAX)
}
