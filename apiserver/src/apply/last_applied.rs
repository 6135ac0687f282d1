//! The move from client-side to server-side apply.
//!
//! `kubectl apply` keeps what it applied last in an annotation. When the same user starts to apply
//! on the server, what that annotation vouches for is no conflict; and the annotation is kept true,
//! so that the way back stays open. Both hold for the manager `kubectl` alone.

use serde_json::Value;

use super::conflict::Conflicts;
use super::field_set::FieldSet;
use super::go_text;
use super::typed::{self, Duplicates, Type};

const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All annotations of an object together, names and values.
const MAX_ANNOTATIONS_BYTES: usize = 256 << 10;

/// Whether a manager may come from client-side apply.
pub(super) fn is_concerned(manager: &str) -> bool {
    manager == MANAGER
}

/// The conflicts that the annotation does not settle. `None`: it settles all, the apply is to be
/// forced.
pub(super) fn unsettled(
    conflicts: Conflicts,
    root: Type<'_>,
    api_version: &str,
    live: &Value,
) -> Option<Conflicts> {
    let Some(settled) = last_applied_fields(root, api_version, live) else {
        return Some(conflicts);
    };
    let mut left = conflicts.0;
    left.retain(|conflict| !settled.contains(&conflict.path));
    (!left.is_empty()).then(|| Conflicts::new(left))
}

/// What was applied last and is still as it was. `None` if that cannot be told.
fn last_applied_fields(root: Type<'_>, api_version: &str, live: &Value) -> Option<FieldSet> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion")?.as_str() != Some(api_version) {
        return None;
    }
    // Upstream refuses an object without a kind.
    last.get("kind")?.as_str().filter(|kind| !kind.is_empty())?;
    for value in [live, &last] {
        typed::validate(root, value, Duplicates::Refused).ok()?;
    }
    let comparison = typed::compare(root, &last, live);
    let fields = typed::to_field_set(root, &last);
    let fields = fields.difference(&comparison.modified);
    let fields = fields.difference(&comparison.added);
    Some(fields.difference(&comparison.removed))
}

fn annotation(object: &Value) -> Option<&str> {
    let annotations = object.get("metadata")?.get("annotations")?;
    let text = annotations.get(ANNOTATION)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// Writes what was applied into the annotation, if the object has one. One that would make the
/// annotations too large is taken away.
pub(super) fn keep_true(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let text = last_applied(config);
    let annotations = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut);
    let Some(annotations) = annotations else {
        return;
    };
    annotations.insert(ANNOTATION.to_owned(), Value::String(text));
    let bytes = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(bytes).sum::<usize>() > MAX_ANNOTATIONS_BYTES {
        annotations.remove(ANNOTATION);
    }
}

fn last_applied(config: &Value) -> String {
    let mut config = config.clone();
    let annotations = config
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.remove(ANNOTATION);
    }
    let mut text = String::new();
    go_text::push_json(&mut text, &config);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with_annotation(value: &str) -> Value {
        json!({"metadata": {"annotations": {ANNOTATION: value}}})
    }

    #[test]
    fn the_annotation_is_what_was_applied_without_itself() {
        let mut object = with_annotation("{}");
        let config = json!({"b": "<", "a": 1, "metadata": {"annotations": {ANNOTATION: "old"}}});
        keep_true(&mut object, &config);
        let text = "{\"a\":1,\"b\":\"\\u003c\",\"metadata\":{\"annotations\":{}}}\n";
        assert_eq!(object, with_annotation(text));
    }

    #[test]
    fn an_annotation_that_would_be_too_large_is_taken_away() {
        let mut object = with_annotation("{}");
        keep_true(&mut object, &json!("x".repeat(MAX_ANNOTATIONS_BYTES)));
        assert_eq!(object, json!({"metadata": {"annotations": {}}}));
    }

    #[test]
    fn an_object_without_the_annotation_gets_none() {
        let mut object = json!({"metadata": {}});
        keep_true(&mut object, &json!({"a": 1}));
        assert_eq!(object, json!({"metadata": {}}));
    }
}
