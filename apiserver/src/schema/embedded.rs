//! Objects of the API inside others.

use serde_json::Value;

use super::path::{child, index, key};
use super::{FieldError, Kind, MAX_ERRORS, Schema};

/// Checks `apiVersion`, `kind` and `metadata` of all resources that are embedded in `value`.
pub(super) fn check(schema: &Schema, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if errors.len() >= MAX_ERRORS {
        return;
    }
    match value {
        Value::Object(fields) => {
            if schema.embedded_resource {
                check_resource(value, path, errors);
            }
            for (name, field) in fields {
                let Kind::Object {
                    properties,
                    additional,
                    ..
                } = &schema.kind
                else {
                    continue;
                };
                match (properties.get(name), additional) {
                    (Some(schema), _) => check(schema, field, &child(path, name), errors),
                    (None, Some(schema)) => check(schema, field, &key(path, name), errors),
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                for (at, item) in items.iter().enumerate() {
                    check(schema, item, &index(path, at), errors);
                }
            }
        }
        _ => {}
    }
}

fn check_resource(resource: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, check) in [("apiVersion", api_version as fn(&str) -> _), ("kind", kind)] {
        let path = child(path, name);
        match resource.get(name) {
            None => errors.push(FieldError::required(path, "")),
            Some(Value::String(text)) => {
                let complaint = match text.is_empty() {
                    true => Some("must not be empty".to_owned()),
                    false => check(text),
                };
                errors.extend(
                    complaint.map(|detail| FieldError::invalid(path, text.as_str(), detail)),
                );
            }
            Some(other) => {
                errors.push(FieldError::invalid(path, other.clone(), "must be a string"));
            }
        }
    }
    if let Some(metadata) = resource
        .get("metadata")
        .filter(|metadata| !metadata.is_object())
    {
        let detail = "must be an object";
        errors.push(FieldError::invalid(
            child(path, "metadata"),
            metadata.clone(),
            detail,
        ));
    }
}

fn api_version(text: &str) -> Option<String> {
    (text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

/// A kind is in lower case a DNS label (RFC 1035).
fn kind(text: &str) -> Option<String> {
    let mut complaints = Vec::new();
    if text.len() > 63 {
        complaints.push("must be no more than 63 bytes");
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.starts_with(|first: char| first.is_ascii_alphabetic())
        || text.ends_with('-')
        || !text.bytes().all(is_part)
    {
        complaints.push(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
             an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
             'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        );
    }
    let start = "may have mixed case, but should otherwise match: ";
    (!complaints.is_empty()).then(|| format!("{start}{}", complaints.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_embedded_resource_says_what_it_is() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {"template": {
            "type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}}}))
        .unwrap();
        let table: [(Value, &[&str]); 4] = [
            (
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}}),
                &[],
            ),
            (
                json!({}),
                &[
                    "template.apiVersion: Required value",
                    "template.kind: Required value",
                ],
            ),
            (
                json!({"apiVersion": "a/b/c", "kind": ""}),
                &[
                    "template.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                    "template.kind: Invalid value: \"\": must not be empty",
                ],
            ),
            (
                json!({"apiVersion": 1, "kind": "K", "metadata": 2}),
                &[
                    "template.apiVersion: Invalid value: 1: must be a string",
                    "template.metadata: Invalid value: 2: must be an object",
                ],
            ),
        ];
        for (template, expected) in table {
            let mut errors = Vec::new();
            check(&schema, &json!({"template": template}), "", &mut errors);
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected);
        }
    }
}
