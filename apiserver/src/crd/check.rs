//! What is wrong with a definition, in the words of kube-apiserver.

use super::{text, versions};
use crate::names;
use crate::object::Object;
use crate::schema::FieldError;
use serde_json::Value;

/// Most fields of a version that selectors may name.
const MAX_SELECTABLE: usize = 8;

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

/// What is wrong with a definition besides its schemas. `old` is the definition before.
#[must_use]
pub fn check(definition: &Object, old: Option<&Object>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (group, plural) = (
        text(definition, "/spec/group"),
        text(definition, "/spec/names/plural"),
    );
    if definition.name() != format!("{plural}.{group}") {
        let rule = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            definition.name(),
            rule,
        ));
    }
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if let Err(rule) = names::subdomain(group) {
        errors.push(FieldError::invalid("spec.group", group, rule));
    } else if !group.contains('.') {
        let rule = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", group, rule));
    }
    let scope = text(definition, "/spec/scope");
    match scope {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            other,
            &["Cluster", "Namespaced"],
        )),
    }
    check_names(definition, &mut errors);
    check_versions(definition, &mut errors);
    let strategy = text(definition, "/spec/conversion/strategy");
    if !matches!(strategy, "" | "None") {
        let path = "spec.conversion.strategy";
        errors.push(FieldError::not_supported(path, strategy, &["None"]));
    }
    if definition.as_value().pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        let rule = "must be false";
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            rule,
        ));
    }
    if let Some(old) = old {
        check_fixed(definition, old, &mut errors);
    }
    errors
}

fn check_names(definition: &Object, errors: &mut Vec<FieldError>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let path = format!("spec.names.{field}");
        let name = text(definition, &format!("/spec/names/{field}"));
        if name.is_empty() {
            if matches!(field, "plural" | "kind") {
                errors.push(FieldError::required(path, ""));
            }
            continue;
        }
        let kind = matches!(field, "kind" | "listKind");
        let checked = if kind {
            name.to_lowercase()
        } else {
            name.to_owned()
        };
        if let Err(rule) = names::dns_name_1035(&checked) {
            let mixed = "may have mixed case, but should otherwise match: ";
            let rule = if kind { format!("{mixed}{rule}") } else { rule };
            errors.push(FieldError::invalid(path, name, rule));
        }
    }
}

fn check_versions(definition: &Object, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    let mut storage = 0;
    for (at, version) in versions(definition).enumerate() {
        let path = format!("spec.versions[{at}]");
        let name = version["name"].as_str().unwrap_or_default();
        if let Err(rule) = names::dns_name_1035(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), name, rule));
        }
        if seen.contains(&name) {
            let rule = "must contain unique version names";
            errors.push(FieldError::invalid("spec.versions", Value::Null, rule));
        }
        seen.push(name);
        storage += usize::from(version["storage"] == true);
        check_columns(version, &path, errors);
        check_scale(version, &path, errors);
        let fields = version["selectableFields"].as_array().map_or(0, Vec::len);
        if fields > MAX_SELECTABLE {
            let path = format!("{path}.selectableFields");
            errors.push(FieldError::too_many(path, fields, 8));
        }
    }
    if seen.is_empty() {
        let why = "must have at least one version";
        errors.push(FieldError::required("spec.versions", why));
    } else if storage != 1 {
        let rule = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", Value::Null, rule));
    }
    let stored = definition.as_value().pointer("/status/storedVersions");
    for (at, stored) in stored
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        if !seen.contains(&stored.as_str().unwrap_or_default()) {
            let path = format!("status.storedVersions[{at}]");
            let rule = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions";
            let name = stored.as_str().unwrap_or_default();
            let rule = rule.replace("v1", name);
            errors.push(FieldError::invalid(path, name, rule));
        }
    }
}

fn check_columns(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let columns = version["additionalPrinterColumns"].as_array();
    for (at, column) in columns.into_iter().flatten().enumerate() {
        let path = format!("{path}.additionalPrinterColumns[{at}]");
        let text = |field: &str| column[field].as_str().unwrap_or_default();
        for field in ["name", "type", "jsonPath"] {
            if text(field).is_empty() {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            }
        }
        let kind = text("type");
        if !kind.is_empty() && !COLUMN_TYPES.contains(&kind) {
            let rule = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::invalid(format!("{path}.type"), kind, rule));
        }
    }
}

fn check_scale(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let scale = &version["subresources"]["scale"];
    if scale.is_null() {
        return;
    }
    for (field, above) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let path = format!("{path}.subresources.scale.{field}");
        match scale[field].as_str().unwrap_or_default() {
            "" => errors.push(FieldError::required(path, "")),
            text if !text.starts_with(above) => {
                let under = above.trim_end_matches('.');
                let rule = format!("should be a json path under {under}");
                errors.push(FieldError::invalid(path, text, rule));
            }
            _ => {}
        }
    }
}

/// What others rely on as soon as the definition is served.
fn check_fixed(definition: &Object, old: &Object, errors: &mut Vec<FieldError>) {
    for (at, path) in [
        ("/spec/group", "spec.group"),
        ("/spec/scope", "spec.scope"),
        ("/spec/names/plural", "spec.names.plural"),
        ("/spec/names/kind", "spec.names.kind"),
    ] {
        let (new, old) = (text(definition, at), text(old, at));
        if new != old {
            errors.push(FieldError::invalid(path, new, "field is immutable"));
        }
    }
}
