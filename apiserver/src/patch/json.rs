//! JSON patch (RFC 6902) with bounds: a few operations can double an object again and again, nest it
//! without end, or move a long list about for hours.

use super::{undecodable, unfit};
use crate::body::{MAX_BODY, MAX_BODY_DEPTH, too_deep};
use crate::error::ApiError;
use http::StatusCode;
use json_patch::jsonptr::Pointer;
use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value};

/// Most operations.
const MAX_OPERATIONS: usize = 10_000;

/// Most bytes that all copies together may make, as in kube-apiserver.
const MAX_COPIED: usize = MAX_BODY;

/// Most values that all operations together may look at or push aside: a tenth of a second's work.
const MAX_STEPS: usize = 10_000_000;

pub(super) fn parse(body: &[u8]) -> Result<Patch, ApiError> {
    let operations: Vec<Map<String, Value>> =
        serde_json::from_slice(body).map_err(|error| undecodable(&error))?;
    let operations = operations.into_iter().map(Value::Object).collect();
    let patch: Patch = serde_json::from_value(operations).map_err(|error| unfit(&error))?;
    if patch.0.len() > MAX_OPERATIONS {
        let message = format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            patch.0.len()
        );
        let code = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(ApiError::new(code, "RequestEntityTooLarge", message));
    }
    Ok(patch)
}

pub(super) fn apply(value: &mut Value, patch: &Patch) -> Result<(), ApiError> {
    let (mut copied, mut steps) = (0, 0);
    for (at, operation) in patch.0.iter().enumerate() {
        let path = operation.path();
        let placed = match operation {
            PatchOperation::Add(add) => Extent::of(&add.value),
            PatchOperation::Replace(replace) => Extent::of(&replace.value),
            PatchOperation::Move(from) => Extent::at(value, &from.from),
            PatchOperation::Copy(copy) => Extent::at(value, &copy.from),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => Extent::default(),
        };
        if path.count() + placed.depth > MAX_BODY_DEPTH {
            return Err(too_deep());
        }
        if matches!(operation, PatchOperation::Copy(_)) {
            copied += placed.bytes;
        }
        if copied > MAX_COPIED {
            return Err(unfit(&format!(
                "unable to copy: the copies of the patch make more than {MAX_COPIED} bytes"
            )));
        }
        steps += placed.values + beside(value, path);
        if let PatchOperation::Move(from) = operation {
            steps += beside(value, &from.from);
        }
        if steps > MAX_STEPS {
            return Err(unfit(&"the patch moves too much about too often"));
        }
        // Nothing is undone: what is there after a failure is thrown away.
        let patched = json_patch::patch_unsafe(value, std::slice::from_ref(operation));
        patched.map_err(|mut error| {
            error.operation = at;
            unfit(&error)
        })?;
    }
    Ok(())
}

/// How many items the list has in which that is, unless it is put at the end.
fn beside(value: &Value, path: &Pointer) -> usize {
    if path.as_str().ends_with("/-") {
        return 0;
    }
    let list = path.parent().and_then(|list| value.pointer(list.as_str()));
    list.and_then(Value::as_array).map_or(0, Vec::len)
}

/// How much of a value there is.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// Levels of lists and objects.
    depth: usize,
    /// Values in it, itself included.
    values: usize,
    /// Its length as JSON, about.
    bytes: usize,
}

impl Extent {
    fn of(value: &Value) -> Self {
        let mut whole = Self {
            depth: 0,
            values: 1,
            bytes: 2,
        };
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => whole.bytes = 4,
            Value::String(text) => whole.bytes += text.len(),
            Value::Array(items) => {
                whole.depth = 1;
                for item in items {
                    whole.add("", item);
                }
            }
            Value::Object(fields) => {
                whole.depth = 1;
                for (name, field) in fields {
                    whole.add(name, field);
                }
            }
        }
        whole
    }

    /// Of what is at that place; nothing, if there is nothing.
    fn at(value: &Value, path: &Pointer) -> Self {
        let found = value.pointer(path.as_str());
        found.map_or_else(Self::default, Self::of)
    }

    fn add(&mut self, name: &str, part: &Value) {
        let part = Self::of(part);
        self.depth = self.depth.max(1 + part.depth);
        self.values += part.values;
        self.bytes += name.len() + 4 + part.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply_to(mut value: Value, patch: &Value) -> Result<Value, ApiError> {
        let patch = parse(patch.to_string().as_bytes())?;
        apply(&mut value, &patch).map(|()| value)
    }

    #[test]
    fn operations_are_done_in_order() {
        let patch = json!([
            {"op": "test", "path": "/a", "value": 1},
            {"op": "add", "path": "/l/-", "value": 3},
            {"op": "copy", "from": "/l", "path": "/m"},
            {"op": "remove", "path": "/l/0"},
            {"op": "move", "from": "/a", "path": "/b"},
            {"op": "replace", "path": "/m/0", "value": {"x~y": 0}},
        ]);
        let patched = apply_to(json!({"a": 1, "l": [1, 2]}), &patch).unwrap();
        assert_eq!(
            patched,
            json!({"b": 1, "l": [2, 3], "m": [{"x~y": 0}, 2, 3]})
        );
        let patch =
            json!([{"op": "add", "path": "/a", "value": 1}, {"op": "remove", "path": "/b"}]);
        let error = apply_to(json!({}), &patch).unwrap_err();
        assert!(error.message().contains("operation '/1'"), "{error}");
    }

    #[test]
    fn copies_do_not_grow_without_end() {
        let mut down = String::from("/a");
        let mut deeper = Vec::new();
        for _ in 0..10 {
            deeper.push(json!({"op": "copy", "from": "/a", "path": format!("{down}/a")}));
            down += &down.clone();
        }
        let error = apply_to(json!({"a": {}}), &deeper.into()).unwrap_err();
        assert!(error.message().contains("nests deeper"), "{error}");
        let wider: Vec<Value> = (0..40)
            .map(|_| json!({"op": "copy", "from": "", "path": "/a/-"}))
            .collect();
        let wide = json!({"a": [], "text": "x".repeat(100_000)});
        let error = apply_to(wide, &wider.into()).unwrap_err();
        assert!(
            error.message().contains("more than 3145728 bytes"),
            "{error}"
        );
    }

    #[test]
    fn moves_do_not_nest_without_end() {
        let mut deeper = Vec::new();
        for at in 0..200 {
            deeper.push(json!({"op": "add", "path": format!("/b{at}"), "value": {}}));
            let (from, path) = (format!("/a{at}"), format!("/b{at}/a"));
            deeper.push(json!({"op": "move", "from": from, "path": path}));
            let (from, path) = (format!("/b{at}"), format!("/a{}", at + 1));
            deeper.push(json!({"op": "move", "from": from, "path": path}));
        }
        let error = apply_to(json!({"a0": {}}), &deeper.into()).unwrap_err();
        assert!(error.message().contains("nests deeper"), "{error}");
    }

    #[test]
    fn much_is_not_moved_about_for_ever() {
        let list: Value = vec![0; 100_000].into();
        let operations = |one: Value| -> Value { vec![one; MAX_OPERATIONS].into() };
        let first = json!({"op": "add", "path": "/0", "value": 0});
        let round = json!({"op": "move", "from": "/a", "path": "/a"});
        for (value, operation) in [(list.clone(), first), (json!({"a": list}), round)] {
            let error = apply_to(value, &operations(operation)).unwrap_err();
            assert!(error.message().contains("too often"), "{error}");
        }
        let last = json!({"op": "add", "path": "/-", "value": 0});
        assert!(apply_to(list, &operations(last)).is_ok());
        let many: Vec<Value> = vec![json!({"op": "test", "path": "", "value": 0}); 10_001];
        assert_eq!(apply_to(json!(0), &many.into()).unwrap_err().code(), 413);
    }
}
