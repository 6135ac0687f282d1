//! Whether somebody may do something, and what one may do.

use crate::admission::Write;
use crate::error::ApiError;
use crate::object::Object;
use crate::rbac::Rule;
use crate::schema::FieldError;
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes, User};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is asked about whom.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    resource_attributes: Option<Asked>,
    non_resource_attributes: Option<Asked>,
    user: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// What is asked: of a resource, or of a path.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    verb: Option<String>,
    path: Option<String>,
    group: Option<String>,
    resource: Option<String>,
    subresource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

/// The status of an access review. `own`: the one who asks about itself.
pub(super) fn of(
    authorizer: &dyn Authorizer,
    own: Option<&User>,
    write: &Write<'_>,
    review: &Object,
) -> Result<Value, ApiError> {
    let value = review.as_value()["spec"].clone();
    let spec: Option<Spec> = serde_json::from_value(value.clone())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let spec = spec.unwrap_or_default();
    let local = write.kind == "LocalSubjectAccessReview";
    let mut errors = checked(&spec, &value, own.is_none());
    errors.extend(check_place(&spec, review, local));
    if !errors.is_empty() {
        return Err(write.invalid("", &errors));
    }
    let named = User {
        name: spec.user.unwrap_or_default(),
        groups: spec.groups.unwrap_or_default(),
        extra: spec.extra.unwrap_or_default(),
    };
    let user = own.unwrap_or(&named);
    let what = match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(asked), _) => Attributes::Resource(ResourceAttributes {
            verb: text(&asked.verb),
            group: text(&asked.group),
            resource: text(&asked.resource),
            subresource: text(&asked.subresource),
            namespace: text(&asked.namespace),
            name: text(&asked.name),
        }),
        (None, path) => Attributes::Path {
            verb: path.as_ref().map_or("", |asked| text(&asked.verb)),
            path: path.as_ref().map_or("", |asked| text(&asked.path)),
        },
    };
    let (allowed, reason) = match authorizer.authorize(user, &what) {
        Decision::Allow => (true, String::new()),
        Decision::AllowAs(reason) => (true, reason),
        Decision::AllowSome(_) => (true, "only some objects are shown".to_owned()),
        Decision::Deny(reason) => (false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

/// What is wrong with what is asked, in kube-apiserver's words.
fn checked(spec: &Spec, value: &Value, of_somebody: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            value["nonResourceAttributes"].clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    let nobody = text(&spec.user).is_empty() && spec.groups.as_deref().unwrap_or(&[]).is_empty();
    if of_somebody && nobody {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", "", detail));
    }
    errors
}

fn check_place(spec: &Spec, review: &Object, local: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let said = review.meta().iter().filter(|(field, value)| {
        let kept = *field == "managedFields" || local && *field == "namespace";
        !kept && !matches!(value, Value::Null) && **value != "" && **value != json!({})
    });
    if said.count() > 0 {
        let detail = match local {
            true => "must be empty except for namespace",
            false => "must be empty",
        };
        let meta = Value::Object(review.meta().clone());
        errors.push(FieldError::invalid("metadata", meta, detail));
    }
    if !local {
        return errors;
    }
    if let Some(asked) = &spec.resource_attributes
        && text(&asked.namespace) != review.namespace()
    {
        let path = "spec.resourceAttributes.namespace";
        let detail = "must match metadata.namespace";
        errors.push(FieldError::invalid(path, text(&asked.namespace), detail));
    }
    if spec.non_resource_attributes.is_some() {
        let path = "spec.nonResourceAttributes";
        let detail = "disallowed on this kind of request";
        errors.push(FieldError::invalid(path, Value::Null, detail));
    }
    errors
}

/// The status of a SelfSubjectRulesReview.
pub(super) fn rules(
    authorizer: &dyn Authorizer,
    user: &User,
    review: &Object,
) -> Result<Value, ApiError> {
    let namespace = review.as_value()["spec"]["namespace"].as_str();
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else {
        return Err(ApiError::bad_request("no namespace on request"));
    };
    let found = authorizer.rules(user, namespace);
    let of = |keep: fn(&Rule) -> bool| -> Vec<&Rule> {
        found.rules.iter().filter(|rule| keep(rule)).collect()
    };
    let mut status = json!({
        "resourceRules": of(|rule| !rule.resources.is_empty()),
        "nonResourceRules": of(|rule| !rule.non_resource_urls.is_empty()),
        "incomplete": found.incomplete,
    });
    if !found.error.is_empty() {
        status["evaluationError"] = found.error.into();
    }
    Ok(status)
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
