//! Functions that look for something in a text. Those of the libraries compile an expression each time,
//! or take time in proportion to the product of two sizes.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the interpreter calls functions with values"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::extractors::{Arguments, This};
use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, Value};

use super::cost::afford;
use crate::schema::Pattern;

/// What it takes to compile the smallest regular expression that was not used lately.
const PER_PATTERN: i64 = 2_000;
/// The size of compiled expressions of which a byte of text costs no more than in Kubernetes.
const SMALL: usize = 16 << 10;
/// How many small ones are kept for each thread.
const MAX_PATTERNS: usize = 64;

thread_local! {
    static PATTERNS: RefCell<HashMap<Arc<String>, Arc<Known>>> = RefCell::default();
}

/// An expression, and the most bytes that it takes.
struct Known {
    pattern: Pattern,
    size: usize,
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("matches", matches);
    context.add_function("find", find);
    context.add_function("findAll", find_all);
    context.add_function("indexOf", index_of);
    context.add_function("lastIndexOf", last_index_of);
}

fn matches(This(text): This<Arc<String>>, expression: Arc<String>) -> ResolveResult {
    let known = prepared("matches", &expression, &text)?;
    Ok(known.pattern.is_found_in(&text).into())
}

fn find(This(text): This<Arc<String>>, expression: Arc<String>) -> ResolveResult {
    let known = prepared("find", &expression, &text)?;
    let found = known.pattern.find_in(&text).next().unwrap_or_default();
    Ok(found.into())
}

fn find_all(This(text): This<Arc<String>>, Arguments(arguments): Arguments) -> ResolveResult {
    let (expression, most) = match arguments.as_slice() {
        [Value::String(expression)] => (expression, usize::MAX),
        // All are found where the number is negative.
        [Value::String(expression), Value::Int(most)] => {
            (expression, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let known = prepared("findAll", expression, &text)?;
    let mut found = Vec::new();
    for one in known.pattern.find_in(&text).take(most) {
        afford(1)?;
        found.push(one);
    }
    Ok(found.into())
}

/// An expression that is about to be looked for in a text, which is paid for.
fn prepared(
    function: &str,
    expression: &Arc<String>,
    text: &str,
) -> Result<Arc<Known>, ExecutionError> {
    let known = PATTERNS.with_borrow(|patterns| patterns.get(expression).cloned());
    let known = match known {
        Some(known) => known,
        None => {
            afford(PER_PATTERN)?;
            let (pattern, size) = Pattern::sized(expression, SMALL)
                .map_err(|error| ExecutionError::function_error(function, error))?;
            afford(units(size / 5))?;
            let known = Arc::new(Known { pattern, size });
            if size <= SMALL {
                keep(expression, &known);
            }
            known
        }
    };
    // As Kubernetes counts it, by the length of the expression; but what that repeats makes it larger.
    let by_length = (text.len() / 10 + 1).saturating_mul(expression.len() / 4 + 1);
    let by_size = text.len().saturating_mul(known.size / SMALL);
    afford(units(by_length.max(by_size)))?;
    Ok(known)
}

fn keep(expression: &Arc<String>, known: &Arc<Known>) {
    PATTERNS.with_borrow_mut(|patterns| {
        if patterns.len() >= MAX_PATTERNS {
            patterns.clear();
        }
        patterns.insert(Arc::clone(expression), Arc::clone(known));
    });
}

fn index_of(This(this): This<Value>, Arguments(arguments): Arguments) -> ResolveResult {
    let found = match (&this, arguments.as_slice()) {
        (Value::String(text), [Value::String(wanted)]) => first(text, wanted, 0),
        (Value::String(text), [Value::String(wanted), Value::Int(from)]) => {
            first(text, wanted, usize::try_from(*from).unwrap_or_default())
        }
        (Value::List(list), [wanted]) => list.iter().position(|item| item == wanted),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(place(found))
}

fn last_index_of(This(this): This<Value>, Arguments(arguments): Arguments) -> ResolveResult {
    let found = match (&this, arguments.as_slice()) {
        (Value::String(text), [Value::String(wanted)]) => last(text, wanted, i64::MAX),
        (Value::String(text), [Value::String(wanted), Value::Int(most)]) => {
            last(text, wanted, *most)
        }
        (Value::List(list), [wanted]) => list.iter().rposition(|item| item == wanted),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(place(found))
}

fn place(found: Option<usize>) -> Value {
    let found = found.and_then(|at| i64::try_from(at).ok());
    Value::Int(found.unwrap_or(-1))
}

/// The first place of one text in another, at one or after it. In characters.
fn first(text: &str, wanted: &str, from: usize) -> Option<usize> {
    if wanted.is_empty() {
        return Some(from);
    }
    let start = start_of(text, from)?;
    let at = text[start..].find(wanted)?;
    Some(from + text[start..start + at].chars().count())
}

/// The last place of one text in another, at one or before it.
fn last(text: &str, wanted: &str, most: i64) -> Option<usize> {
    if wanted.is_empty() {
        let most = usize::try_from(most).unwrap_or_default();
        return Some(most.min(text.chars().count()));
    }
    let most = usize::try_from(most).ok()?;
    let end = match start_of(text, most) {
        Some(start) => text.floor_char_boundary(start.saturating_add(wanted.len())),
        None => text.len(),
    };
    let at = text[..end].rfind(wanted)?;
    Some(text[..at].chars().count())
}

/// Where a character begins, or the text ends.
fn start_of(text: &str, character: usize) -> Option<usize> {
    let starts = text.char_indices().map(|(at, _)| at);
    starts.chain([text.len()]).nth(character)
}

fn units(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let table = [
            (first("héllo", "l", 0), Some(2)),
            (first("héllo", "l", 3), Some(3)),
            (first("héllo", "l", 4), None),
            (first("héllo", "l", 9), None),
            (first("héllo", "", 3), Some(3)),
            (last("héllo", "l", i64::MAX), Some(3)),
            (last("héllo", "l", 2), Some(2)),
            (last("héllo", "lo", 3), Some(3)),
            (last("héllo", "é", 0), None),
            (last("héllo", "h", -1), None),
            (last("héllo", "", 9), Some(5)),
            (last("aé", "a", 0), Some(0)),
        ];
        for (at, (found, expected)) in table.into_iter().enumerate() {
            assert_eq!(found, expected, "{at}");
        }
    }
}
