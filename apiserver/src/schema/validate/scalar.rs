//! Types, numbers, strings and enumerations.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{Outcome, Part, field_path};
use crate::schema::notation::{quote, shortest};
use crate::schema::{Checks, FieldError, format};

/// The least and greatest integers that a float says exactly.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

pub(super) fn check_type(part: Part<'_>, new: &Value, path: &str, outcome: &mut Outcome) {
    let types = part.types();
    let format = known_format(part.checks());
    if types.is_empty() && format.is_none() {
        return;
    }
    if let Some((expected, found)) = mismatch(types, part.nullable(), format, new) {
        let text = format!(
            "{path} in body must be of type {expected}: {}",
            quote(found)
        );
        outcome.add(
            FieldError::type_invalid(field_path(path), found, text.clone()),
            text,
        );
        outcome.right += usize::from(!new.is_null());
        return;
    }
    outcome.right += 1 + usize::from(!new.is_null());
}

/// What was expected and what was found, in the words of messages, where the two differ.
fn mismatch<'a>(
    types: &'a str,
    nullable: bool,
    format: Option<&'a str>,
    new: &Value,
) -> Option<(&'a str, &'static str)> {
    let takes = |name: &str| types.split(',').any(|one| one == name);
    let (found, found_format) = match new {
        Value::Null => {
            let refused = !types.is_empty() && !nullable;
            return refused.then_some((types, "null"));
        }
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.as_i64().is_some() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    };
    let fits = takes(found)
        || match new {
            Value::Number(number) => {
                (found == "integer" && takes("number")) || (takes("integer") && is_whole(number))
            }
            _ => false,
        };
    if let Some(format) = format {
        let formatted = matches!(new, Value::String(_) | Value::Array(_));
        if !formatted && !fits {
            return Some((format, found_format));
        }
        // The format decides, whatever the type.
        if formatted && !takes("number") && !takes("integer") {
            return None;
        }
    }
    (!fits).then_some((types, found))
}

fn is_whole(number: &Number) -> bool {
    number
        .as_f64()
        .is_some_and(|value| value.abs() <= MAX_SAFE && value.fract() == 0.0)
}

fn known_format(checks: &Checks) -> Option<&str> {
    checks
        .format
        .as_deref()
        .filter(|format| format::is_known(format))
}

pub(super) fn has_format(checks: &Checks) -> bool {
    known_format(checks).is_some()
}

/// The first of length, pattern and then format that does not fit.
pub(super) fn check_string(checks: &Checks, text: &str, path: &str, outcome: &mut Outcome) {
    let length = text.chars().count() as i64;
    let pattern = checks.pattern.as_ref();
    if let Some(most) = checks.max_length.filter(|most| length > *most) {
        let message = format!("{path} in body should be at most {most} chars long");
        outcome.add(FieldError::too_long(field_path(path), most), message);
    } else if let Some(least) = checks.min_length.filter(|least| length < *least) {
        let message = format!("{path} in body should be at least {least} chars long");
        outcome.invalid(path, text, message);
    } else if let Some(pattern) = pattern.filter(|pattern| !pattern.is_found_in(text)) {
        let message = format!("{path} in body should match '{}'", pattern.text());
        outcome.invalid(path, text, message);
    }
    let Some(format) = known_format(checks) else {
        return;
    };
    match format::is_valid(format, text) {
        true => outcome.right += 1,
        false => {
            let message = format!("{path} in body must be of type {format}: {}", quote(text));
            outcome.add(
                FieldError::type_invalid(field_path(path), text, message.clone()),
                message,
            );
        }
    }
}

/// Bounds of integers are cut to integers, as kube-apiserver does.
pub(super) fn check_number(checks: &Checks, number: &Number, path: &str, outcome: &mut Outcome) {
    let integer = number.as_i64();
    let value = number.as_f64().unwrap_or_default();
    let bound = |bound: f64| match integer {
        Some(_) => (bound as i64).to_string(),
        None => shortest(bound),
    };
    let compare = |bound: f64| match integer {
        Some(integer) => integer.cmp(&(bound as i64)),
        None => value.partial_cmp(&bound).unwrap_or(Ordering::Equal),
    };
    let mut complain = |words: &str, bound: String| {
        outcome.invalid(
            path,
            number.clone(),
            format!("{path} in body should be {words} {bound}"),
        );
    };
    if let Some(factor) = checks.multiple_of {
        match is_multiple(integer, value, factor) {
            Some(true) => {}
            Some(false) => complain("a multiple of", bound(factor)),
            None => {
                let factor = bound(factor);
                let text =
                    format!("factor MultipleOf declared for {path} must be positive: {factor}");
                outcome.invalid(path, factor.parse::<f64>().unwrap_or_default(), text);
            }
        }
    }
    let mut complain = |words: &str, bound: String| {
        outcome.invalid(
            path,
            number.clone(),
            format!("{path} in body should be {words} {bound}"),
        );
    };
    if let Some(least) = checks.minimum {
        let order = compare(least);
        match checks.exclusive_minimum {
            true if order.is_le() => complain("greater than", bound(least)),
            false if order.is_lt() => complain("greater than or equal to", bound(least)),
            _ => {}
        }
    }
    if let Some(most) = checks.maximum {
        let order = compare(most);
        match checks.exclusive_maximum {
            true if order.is_ge() => complain("less than", bound(most)),
            false if order.is_gt() => complain("less than or equal to", bound(most)),
            _ => {}
        }
    }
    outcome.right += 1;
}

/// Whether it is one; `None` if nothing is a multiple of the factor.
fn is_multiple(integer: Option<i64>, value: f64, factor: f64) -> Option<bool> {
    if let Some(integer) = integer {
        let factor = factor as i64;
        return (factor > 0).then(|| integer % factor == 0);
    }
    let quotient = match factor {
        _ if factor <= 0.0 || factor.is_nan() => return None,
        ..1.0 => 1.0 / factor * value,
        _ => value / factor,
    };
    Some(quotient.abs() <= MAX_SAFE && (quotient - quotient.round()).abs() < 1e-9)
}

pub(super) fn check_values(checks: &Checks, new: &Value, path: &str, outcome: &mut Outcome) {
    let values = &checks.one_of_values;
    if values.is_empty() || values.iter().any(|value| is_same(value, new)) {
        return;
    }
    let names: Vec<_> = values
        .iter()
        .map(|value| match value {
            Value::String(text) => text.clone(),
            other => crate::schema::notation::json(other),
        })
        .collect();
    let text = format!("{path} in body should be one of [{}]", names.join(" "));
    outcome.add(
        FieldError::not_supported(field_path(path), new.clone(), &names),
        text,
    );
}

/// Whether a value is one of an enumeration, which `null` never is. A float is cut to be compared
/// with an integer, as Go's conversion does.
fn is_same(allowed: &Value, new: &Value) -> bool {
    match (allowed, new) {
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(allowed), Value::Number(new)) => match (allowed.as_i64(), new.as_i64()) {
            (Some(allowed), Some(new)) => allowed == new,
            (Some(allowed), None) => new.as_f64().is_some_and(|new| new as i64 == allowed),
            (None, _) => allowed.as_f64() == new.as_f64(),
        },
        _ => allowed == new,
    }
}
