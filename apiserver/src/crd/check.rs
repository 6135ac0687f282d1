//! What is wrong with a definition, in the words of kube-apiserver.

use super::{text, texts, versions};
use crate::names;
use crate::object::Object;
use crate::schema::FieldError;
use serde_json::Value;

/// Most fields of a version that selectors may name.
const MAX_SELECTABLE: usize = 8;

/// The annotation of a definition in a group of Kubernetes itself.
const APPROVAL: &str = "api-approved.kubernetes.io";

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
    if old.is_none() {
        check_group(definition, group, &mut errors);
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
            errors.push(FieldError::required(path, ""));
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
    for field in ["shortNames", "categories"] {
        let words = definition
            .as_value()
            .pointer(&format!("/spec/names/{field}"));
        for (at, word) in texts(words).iter().enumerate() {
            if let Err(rule) = names::dns_name_1035(word) {
                let path = format!("spec.names.{field}[{at}]");
                errors.push(FieldError::invalid(path, word.as_str(), rule));
            }
        }
    }
}

/// Groups of Kubernetes itself are for kinds that its people have approved.
fn check_group(definition: &Object, group: &str, errors: &mut Vec<FieldError>) {
    let is_protected = ["k8s.io", "kubernetes.io"].iter().any(|protected| {
        let before = group.strip_suffix(protected);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    if !is_protected {
        return;
    }
    let annotations = definition.meta().get("annotations");
    let approval = annotations.and_then(|all| all.get(APPROVAL)?.as_str());
    let path = format!("metadata.annotations[{APPROVAL}]");
    match approval.unwrap_or_default() {
        "" => {
            let rule = format!(
                "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
            );
            errors.push(FieldError::required(path, rule));
        }
        approval if approval.starts_with("unapproved") || url::Url::parse(approval).is_ok() => {}
        approval => {
            let rule = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
            errors.push(FieldError::invalid(path, approval, rule));
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
        check_selectable(version, &path, errors);
    }
    if storage != 1 {
        let rule = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", Value::Null, rule));
    }
    if storage == 0 {
        let rule = "must have at least one stored version";
        let path = "status.storedVersions";
        errors.push(FieldError::invalid(path, Value::Null, rule));
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
        check_path(text("jsonPath"), &format!("{path}.jsonPath"), errors);
    }
}

/// A JSONPath that is not empty begins with a dot.
fn check_path(text: &str, path: &str, errors: &mut Vec<FieldError>) -> bool {
    let is_path = text.is_empty() || text.starts_with('.');
    if !is_path {
        let rule = "must be a simple json path starting with .";
        errors.push(FieldError::invalid(path, text, rule));
    }
    is_path
}

/// Selectors name fields of one word, that the schema has.
fn check_selectable(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let fields = version["selectableFields"].as_array();
    let fields = fields.map_or(&[][..], Vec::as_slice);
    if fields.len() > MAX_SELECTABLE {
        let path = format!("{path}.selectableFields");
        errors.push(FieldError::too_many(path, fields.len(), 8));
    }
    for (at, field) in fields.iter().enumerate() {
        let path = format!("{path}.selectableFields[{at}].jsonPath");
        let text = field["jsonPath"].as_str().unwrap_or_default();
        if text.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        if !check_path(text, &path, errors) {
            continue;
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        let mut steps = text[1..].split('.');
        let leads_to = steps.try_fold(schema, |schema, step| schema["properties"].get(step));
        let kind = leads_to.map(|schema| schema["type"].as_str().unwrap_or_default());
        match kind {
            Some("string" | "integer" | "boolean") => {}
            None => {
                let rule = "is an invalid path: does not refer to a valid field";
                errors.push(FieldError::invalid(path, text, rule));
            }
            Some(_) => {
                let rule = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(path, text, rule));
            }
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
            text if !check_path(text, &path, errors) => {}
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
