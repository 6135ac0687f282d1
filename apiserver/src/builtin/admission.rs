//! Policies of admission.

mod binding;
mod rule;

pub(super) use binding::BINDING;

use super::Rules;
use super::rbac::{check_selector, list, text};
use crate::names;
use crate::policy::{Allowed, check_expression};
use crate::schema::FieldError;
use crate::schema::cel::{Declared, Type, is_identifier};
use serde_json::{Value, json};

/// As kube-apiserver limits them.
const MAX_MATCH_CONDITIONS: usize = 64;
const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_AUDIT_EXPRESSION: usize = 5 << 10;

pub(super) const POLICY: Rules = Rules {
    prepare: |policy, _| {
        if !policy["spec"].is_object() {
            policy["spec"] = json!({});
        }
        let spec = &mut policy["spec"];
        set(spec, "failurePolicy", json!("Fail"));
        prepare_match(&mut spec["matchConstraints"]);
        drop_null(spec, "matchConstraints");
        set(policy, "status", json!({}));
    },
    validate: |new, old| {
        let old = old.map(|old| &old["spec"]);
        check_policy(text(&new["metadata"], "name"), &new["spec"], old)
    },
};

fn set(object: &mut Value, field: &str, value: Value) {
    if object[field].is_null() {
        object[field] = value;
    }
}

/// Looking at a field makes it.
fn drop_null(object: &mut Value, field: &str) {
    if object[field].is_null()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove(field);
    }
}

fn prepare_match(resources: &mut Value) {
    if !resources.is_object() {
        return;
    }
    set(resources, "matchPolicy", json!("Equivalent"));
    set(resources, "namespaceSelector", json!({}));
    set(resources, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        let rules = resources.get_mut(rules).and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            set(rule, "scope", json!("*"));
        }
    }
}

fn check_policy(name: &str, spec: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = text(spec, "failurePolicy");
    if !["Fail", "Ignore"].contains(&policy) {
        let error = FieldError::not_supported("spec.failurePolicy", policy, &["Fail", "Ignore"]);
        errors.push(error);
    }
    let has_params = spec.get("paramKind").is_some();
    if let Some(kind) = spec.get("paramKind") {
        check_param_kind(kind, "spec.paramKind", &mut errors);
    }
    let path = "spec.matchConstraints";
    match spec.get("matchConstraints") {
        None => errors.push(FieldError::required(path, "")),
        Some(resources) => {
            check_match(resources, path, &mut errors);
            if list(resources, "resourceRules").is_empty() {
                let path = format!("{path}.resourceRules");
                errors.push(FieldError::required(path, ""));
            }
        }
    }
    // What was taken before is taken again, if nothing changes what it means.
    let known = |field: &str| old.is_some_and(|old| old.get(field) == spec.get(field));
    if !(known("matchConditions") && known("paramKind")) {
        check_conditions(list(spec, "matchConditions"), has_params, &mut errors);
    }
    let mut composed = Vec::new();
    for (at, variable) in list(spec, "variables").iter().enumerate() {
        let path = format!("spec.variables[{at}]");
        check_variable(variable, has_params, &mut composed, &path, &mut errors);
    }
    let scope = Scope {
        has_params,
        composed: &composed,
    };
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required("spec.validations", detail));
        errors.push(FieldError::required("spec.auditAnnotations", detail));
    }
    for (at, validation) in validations.iter().enumerate() {
        let path = format!("spec.validations[{at}]");
        scope.check_validation(validation, &path, &mut errors);
    }
    scope.check_annotations(name, annotations, &mut errors);
    errors
}

fn check_param_kind(kind: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let (version, name) = (text(kind, "apiVersion"), text(kind, "kind"));
    let at = format!("{path}.apiVersion");
    let mut refuse = |value: &str, rule: String| {
        errors.push(FieldError::invalid(at.as_str(), value, rule));
    };
    match version.split('/').collect::<Vec<_>>().as_slice() {
        [""] => errors.push(FieldError::required(at, "")),
        [_, _, _, ..] => refuse(
            version,
            format!("unexpected GroupVersion string: {version}"),
        ),
        parts => {
            let (group, version_only) = match parts {
                [group, version] => (*group, *version),
                _ => ("", version),
            };
            if !group.is_empty()
                && let Err(rule) = names::subdomain(group)
            {
                refuse(group, rule);
            }
            if version_only.is_empty() {
                refuse(version, "version must be specified".to_owned());
            } else if let Err(rule) = names::dns_name_1035(version_only) {
                refuse(version_only, rule);
            }
        }
    }
    let at = format!("{path}.kind");
    if name.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if let Err(rule) = names::dns_name_1035(&name.to_ascii_lowercase()) {
        let rule = format!("may have mixed case, but should otherwise match: {rule}");
        errors.push(FieldError::invalid(at, name, rule));
    }
}

fn check_match(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let policy = text(resources, "matchPolicy");
    let known = ["Equivalent", "Exact"];
    if !known.contains(&policy) {
        let path = format!("{path}.matchPolicy");
        errors.push(FieldError::not_supported(path, policy, &known));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        let path = format!("{path}.{selector}");
        check_selector(&resources[selector], &path, errors);
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for (at, found) in list(resources, rules).iter().enumerate() {
            rule::check(found, &format!("{path}.{rules}[{at}]"), errors);
        }
    }
}

fn check_conditions(conditions: &[Value], has_params: bool, errors: &mut Vec<FieldError>) {
    let path = "spec.matchConditions";
    if conditions.len() > MAX_MATCH_CONDITIONS {
        let most = MAX_MATCH_CONDITIONS as i64;
        errors.push(FieldError::too_many(path, conditions.len(), most));
    }
    let scope = Scope {
        has_params,
        composed: &[],
    };
    for (at, condition) in conditions.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let (name, expression) = (
            text(condition, "name"),
            text(condition, "expression").trim(),
        );
        let place = format!("{path}.expression");
        if expression.is_empty() {
            errors.push(FieldError::required(place, ""));
        } else {
            scope.check(expression, true, &[Type::Bool], place, errors);
        }
        let place = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        if let Err(rule) = names::qualified(name) {
            errors.push(FieldError::invalid(place.as_str(), name, rule));
        }
        if conditions[..at]
            .iter()
            .any(|other| text(other, "name") == name)
        {
            errors.push(FieldError::duplicate(place, name));
        }
    }
}

fn check_variable(
    variable: &Value,
    has_params: bool,
    composed: &mut Vec<Declared>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let (name, expression) = (text(variable, "name"), text(variable, "expression"));
    let place = format!("{path}.name");
    if name.trim().is_empty() {
        errors.push(FieldError::required(place, "name is not specified"));
    } else if !is_identifier(name) {
        let rule = "must be a valid CEL identifier";
        errors.push(FieldError::invalid(place, name, rule));
    }
    let place = format!("{path}.expression");
    if expression.trim().is_empty() {
        let detail = "expression is not specified";
        errors.push(FieldError::required(place, detail));
        return;
    }
    let scope = Scope {
        has_params,
        composed,
    };
    let levels = scope.check(expression, true, &[], place, errors);
    composed.push(Declared {
        name: name.to_owned(),
        levels,
    });
}

/// What expressions may name.
struct Scope<'a> {
    has_params: bool,
    composed: &'a [Declared],
}

impl Scope<'_> {
    /// No types: any. Returns how deep the expression nests.
    fn check(
        &self,
        expression: &str,
        authorizer: bool,
        types: &[Type],
        path: String,
        errors: &mut Vec<FieldError>,
    ) -> usize {
        let allowed = Allowed {
            params: self.has_params,
            authorizer,
        };
        match check_expression(expression, allowed, self.composed, types) {
            Ok(levels) => levels,
            Err(why) => {
                errors.push(FieldError::invalid(path, expression, why));
                0
            }
        }
    }

    fn check_validation(&self, validation: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let given = |field: &str| text(validation, field);
        let (expression, message) = (given("expression"), given("message"));
        let place = format!("{path}.expression");
        if expression.trim().is_empty() {
            let detail = "expression is not specified";
            errors.push(FieldError::required(place, detail));
        } else {
            self.check(expression, true, &[Type::Bool], place, errors);
        }
        let written = given("messageExpression");
        let place = format!("{path}.messageExpression");
        if !written.is_empty() && written.trim().is_empty() {
            let rule = "must be non-empty if specified";
            errors.push(FieldError::invalid(place, written, rule));
        } else if !written.is_empty() {
            self.check(written, false, &[Type::String], place, errors);
        }
        let place = format!("{path}.message");
        if !message.is_empty() && message.trim().is_empty() {
            let rule = "must be non-empty if specified";
            errors.push(FieldError::invalid(place, message, rule));
        } else if message.trim().contains(['\n', '\r']) {
            let rule = "must not contain line breaks";
            errors.push(FieldError::invalid(place, message, rule));
        }
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        if let Some(reason) = validation.get("reason").and_then(Value::as_str)
            && !reasons.contains(&reason)
        {
            let path = format!("{path}.reason");
            errors.push(FieldError::not_supported(path, reason, &reasons));
        }
    }

    fn check_annotations(&self, policy: &str, all: &[Value], errors: &mut Vec<FieldError>) {
        let path = "spec.auditAnnotations";
        if all.len() > MAX_AUDIT_ANNOTATIONS {
            let rule = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
            errors.push(FieldError::invalid(path, all.to_vec(), rule));
        }
        for (at, annotation) in all.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let key = text(annotation, "key");
            let place = format!("{path}.key");
            let qualified = format!("{policy}/{key}");
            if let Err(rule) = names::qualified(&qualified) {
                errors.push(FieldError::invalid(place.as_str(), qualified, rule));
            }
            let written = text(annotation, "valueExpression");
            let value = format!("{path}.valueExpression");
            if written.trim().is_empty() {
                let detail = "valueExpression is not specified";
                errors.push(FieldError::required(value, detail));
            } else if written.trim().len() > MAX_AUDIT_EXPRESSION {
                let detail = format!("must not exceed {MAX_AUDIT_EXPRESSION} bytes in length");
                errors.push(FieldError::required(value, detail));
            } else {
                let types = [Type::String, Type::Null];
                self.check(written, true, &types, value, errors);
            }
            if all[..at].iter().any(|other| text(other, "key") == key) {
                errors.push(FieldError::duplicate(place, key));
            }
        }
    }
}
