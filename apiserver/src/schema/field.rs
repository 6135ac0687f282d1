//! What is wrong with a field, in the words that kube-apiserver puts into the causes of a Status.

use std::fmt;

use serde_json::Value;

use super::notation::{json, quote, shortest};
use super::path::joined;

/// A field of an object does not hold what it must.
///
/// Displayed it is the line that kubectl prints, for example
/// `spec.replicas: Invalid value: 12: spec.replicas in body should be less than or equal to 10`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Where, for example `spec.containers[0].name`. Empty: the object as a whole.
    pub path: String,
    /// What is wrong with it.
    pub kind: ErrorKind,
    /// Why. May be empty.
    pub detail: String,
    /// The value that is refused. `None`: not shown.
    pub value: Option<Value>,
}

/// What can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It names something that does not exist.
    NotFound,
    /// It is absent.
    Required,
    /// Its value appears twice where it may appear once.
    Duplicate,
    /// Its value is not taken.
    Invalid,
    /// Its value is none of those that there are.
    NotSupported,
    /// It may not be there.
    Forbidden,
    /// It is too long.
    TooLong,
    /// It has too many items.
    TooMany,
    /// Its value is of another type.
    TypeInvalid,
    /// The server is at fault.
    Internal,
}

impl FieldError {
    /// The field is absent.
    #[must_use]
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Required, None, detail)
    }

    /// The field's value is not taken.
    #[must_use]
    pub fn invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(path, ErrorKind::Invalid, Some(value.into()), detail)
    }

    /// The field may not be there.
    #[must_use]
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(path, ErrorKind::Forbidden, None, detail)
    }

    /// The field's value appears twice.
    #[must_use]
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(path, ErrorKind::Duplicate, Some(value.into()), "")
    }

    /// The field's value is none of `supported`.
    #[must_use]
    pub fn not_supported<S: AsRef<str>>(
        path: impl Into<String>,
        value: impl Into<Value>,
        supported: &[S],
    ) -> Self {
        let names: Vec<_> = supported.iter().map(|name| quote(name.as_ref())).collect();
        let detail = match names.is_empty() {
            true => String::new(),
            false => format!("supported values: {}", names.join(", ")),
        };
        Self::new(path, ErrorKind::NotSupported, Some(value.into()), detail)
    }

    /// The field's value is longer than `most`. Kubernetes says bytes where it counts characters.
    #[must_use]
    pub fn too_long(path: impl Into<String>, most: i64) -> Self {
        let detail = match most {
            _ if most < 0 => "value is too long".to_owned(),
            1 => "may not be more than 1 byte".to_owned(),
            _ => format!("may not be more than {most} bytes"),
        };
        Self::new(path, ErrorKind::TooLong, None, detail)
    }

    /// The field has `actual` items, more than `most`.
    #[must_use]
    pub fn too_many(path: impl Into<String>, actual: usize, most: i64) -> Self {
        let detail = match most {
            _ if most < 0 => "has too many items".to_owned(),
            1 => "must have at most 1 item".to_owned(),
            _ => format!("must have at most {most} items"),
        };
        Self::new(path, ErrorKind::TooMany, Some(actual.into()), detail)
    }

    /// The field's value is of another type.
    #[must_use]
    pub fn type_invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(path, ErrorKind::TypeInvalid, Some(value.into()), detail)
    }

    pub(super) fn new(
        path: impl Into<String>,
        kind: ErrorKind,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            kind,
            detail: detail.into(),
            value,
        }
    }

    /// The same error where the object that has it is found at `path` in another.
    #[must_use]
    pub fn under(mut self, path: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => path.to_owned(),
            rest => joined(path, rest),
        };
        self
    }

    /// `reason` of the cause in a Status, for example `FieldValueInvalid`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.kind {
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            ErrorKind::Internal => "InternalError",
        }
    }

    /// `field` of the cause in a Status: the path, `<nil>` for the object as a whole.
    #[must_use]
    pub fn field(&self) -> &str {
        match self.path.as_str() {
            "" => "<nil>",
            path => path,
        }
    }

    /// `message` of the cause in a Status: what is displayed without the field.
    #[must_use]
    pub fn message(&self) -> String {
        let (title, shows_value) = match self.kind {
            ErrorKind::NotFound => ("Not found", true),
            ErrorKind::Required => ("Required value", false),
            ErrorKind::Duplicate => ("Duplicate value", true),
            ErrorKind::Invalid | ErrorKind::TypeInvalid => ("Invalid value", true),
            ErrorKind::NotSupported => ("Unsupported value", true),
            ErrorKind::Forbidden => ("Forbidden", false),
            ErrorKind::TooLong => ("Too long", false),
            ErrorKind::TooMany => ("Too many", true),
            ErrorKind::Internal => ("Internal error", false),
        };
        let mut message = title.to_owned();
        if let (true, Some(value)) = (shows_value, &self.value) {
            message.push_str(": ");
            match value {
                Value::String(text) => message.push_str(&quote(text)),
                Value::Number(number) if number.as_i64().is_none() => {
                    message.push_str(&shortest(number.as_f64().unwrap_or_default()));
                }
                other => message.push_str(&json(other)),
            }
        }
        if !self.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&self.detail);
        }
        message
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field(), self.message())
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn causes_read_as_those_of_kube_apiserver() {
        let table = [
            (
                FieldError::required("spec.name", ""),
                "FieldValueRequired",
                "spec.name: Required value",
            ),
            (
                FieldError::invalid(
                    "spec.n",
                    12,
                    "spec.n in body should be less than or equal to 10",
                ),
                "FieldValueInvalid",
                "spec.n: Invalid value: 12: spec.n in body should be less than or equal to 10",
            ),
            (
                FieldError::invalid("a", 1e6, "x"),
                "FieldValueInvalid",
                "a: Invalid value: 1e+06: x",
            ),
            (
                FieldError::not_supported("spec.kind", "c", &["a", "b"]),
                "FieldValueNotSupported",
                r#"spec.kind: Unsupported value: "c": supported values: "a", "b""#,
            ),
            (
                FieldError::duplicate("l[1]", json!({"b": 1, "a": "<"})),
                "FieldValueDuplicate",
                r#"l[1]: Duplicate value: {"a":"\u003c","b":1}"#,
            ),
            (
                FieldError::too_long("s", 5),
                "FieldValueTooLong",
                "s: Too long: may not be more than 5 bytes",
            ),
            (
                FieldError::too_many("l", 3, 1),
                "FieldValueTooMany",
                "l: Too many: 3: must have at most 1 item",
            ),
            (
                FieldError::forbidden("f", "no"),
                "FieldValueForbidden",
                "f: Forbidden: no",
            ),
            (
                FieldError::invalid("", Value::Null, "whole"),
                "FieldValueInvalid",
                "<nil>: Invalid value: null: whole",
            ),
        ];
        for (error, reason, text) in table {
            assert_eq!(error.reason(), reason);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn an_error_can_be_moved_under_a_path() {
        let moved = |path: &str| FieldError::required(path, "").under("a.b").path;
        assert_eq!(moved(""), "a.b");
        assert_eq!(moved("c"), "a.b.c");
        assert_eq!(moved("[0].c"), "a.b[0].c");
    }
}
