//! Shapes of answers: what a client reads of them, and nothing more.
//!
//! An object has the fields of its shape and may have others. A list has an item for each shape in its own;
//! the shape `[{<each>: SHAPE}]` is for all items of a list that has some, `[]` for none. A text is itself, or
//! with `~` before it a regular expression, or one of the words in [`is_a`].

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde_json::Value;

/// Checks a value at `place` in the answer.
///
/// # Errors
/// When it has another shape; says where.
pub(super) fn check(shape: &Value, found: &Value, place: &str) -> Result<()> {
    match shape {
        Value::Object(fields) => {
            ensure!(found.is_object(), "{place} is no object: {found}");
            for (name, shape) in fields {
                let found = found.get(name).unwrap_or(&Value::Null);
                check(shape, found, &format!("{place}/{name}"))?;
            }
            Ok(())
        }
        Value::Array(shapes) => {
            let items = found
                .as_array()
                .with_context(|| format!("{place} is no list: {found}"))?;
            list(shapes, items, place)
        }
        Value::String(text) if text.starts_with('<') => {
            ensure!(is_a(text, found)?, "{place} is not {text}: {found}");
            Ok(())
        }
        Value::String(text) if text.starts_with('~') => {
            let expression = Regex::new(&text[1..])?;
            let matches = found
                .as_str()
                .is_some_and(|found| expression.is_match(found));
            ensure!(matches, "{place} does not match {text:?}: {found}");
            Ok(())
        }
        value => {
            ensure!(value == found, "{place} is {found}, not {value}");
            Ok(())
        }
    }
}

fn list(shapes: &[Value], items: &[Value], place: &str) -> Result<()> {
    let each = shapes.first().and_then(|first| first.get("<each>"));
    if let Some(shape) = each {
        ensure!(!items.is_empty(), "{place} is empty");
        for (at, item) in items.iter().enumerate() {
            check(shape, item, &format!("{place}/{at}"))?;
        }
        return Ok(());
    }
    ensure!(
        !shapes.is_empty() || items.is_empty(),
        "{place} is not empty: {items:?}"
    );
    for shape in shapes {
        let found = items.iter().any(|item| check(shape, item, place).is_ok());
        ensure!(found, "{place} has no item {shape}: {items:?}");
    }
    Ok(())
}

/// Whether a value is what a word says.
fn is_a(word: &str, found: &Value) -> Result<bool> {
    let text = found.as_str();
    Ok(match word {
        "<any>" => !found.is_null(),
        "<absent>" => found.is_null(),
        "<string>" => text.is_some(),
        "<text>" => text.is_some_and(|text| !text.is_empty()),
        "<int>" => found.is_i64() || found.is_u64(),
        "<bool>" => found.is_boolean(),
        "<map>" => found.is_object(),
        "<list>" => found.is_array(),
        "<url>" => text.is_some_and(|text| text.starts_with("https://")),
        "<date>" => matches(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", text)?,
        "<uuid>" => matches("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", text)?,
        _ => bail!("{word} is no word for a shape"),
    })
}

fn matches(expression: &str, text: Option<&str>) -> Result<bool> {
    let expression = Regex::new(expression)?;
    Ok(text.is_some_and(|text| expression.is_match(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shapes_say_what_is_there_and_leave_the_rest() {
        let found = json!({"id": "c-1", "n": 5, "data": [{"name": "a"}, {"name": "b", "x": 1}]});
        for good in [
            json!({"id": "c-1"}),
            json!({"id": "~^c-", "n": "<int>", "gone": "<absent>"}),
            json!({"data": [{"name": "b"}]}),
            json!({"data": [{"<each>": {"name": "<text>"}}]}),
        ] {
            assert!(check(&good, &found, "").is_ok(), "{good}");
        }
        for bad in [
            json!({"id": "c-2"}),
            json!({"id": "<int>"}),
            json!({"gone": "<any>"}),
            json!({"data": [{"name": "c"}]}),
            json!({"data": [{"<each>": {"x": "<int>"}}]}),
            json!({"data": []}),
            json!({"id": "<what>"}),
        ] {
            assert!(check(&bad, &found, "").is_err(), "{bad}");
        }
    }
}
