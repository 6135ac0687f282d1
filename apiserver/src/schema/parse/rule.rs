//! CEL rules.

use serde_json::Value;

use super::{Keywords, Parser, Place};
use crate::schema::cel::normalize_path;
use crate::schema::path::index;
use crate::schema::{FieldError, Rule, Schema};

const NAME: &str = "x-kubernetes-validations";
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

impl Parser {
    pub(super) fn rules(
        &mut self,
        words: &Keywords<'_>,
        schema: &Schema,
        place: &Place,
    ) -> Vec<Rule> {
        let list = words.list(NAME, self);
        let mut rules = Vec::with_capacity(list.len());
        for (at, json) in list.iter().enumerate() {
            let path = index(&words.at(NAME), at);
            rules.extend(self.rule(json, &path, schema, place));
        }
        rules
    }

    fn rule(&mut self, json: &Value, path: &str, schema: &Schema, place: &Place) -> Option<Rule> {
        let words = self.keywords(json, path, 0)?;
        let rule = Rule {
            rule: words.text("rule", self),
            message: words.some_text("message", self),
            message_expression: words.some_text("messageExpression", self),
            reason: words.some_text("reason", self),
            field_path: words.some_text("fieldPath", self),
            optional_old_self: words
                .get("optionalOldSelf")
                .filter(|value| !value.is_null())
                .map(|_| words.flag("optionalOldSelf", self)),
            ..Rule::default()
        };
        self.check_texts(&words, &rule);
        self.check_field_path(&words, &rule, schema);
        // Whoever corrects the schema sees what is wrong with its rules then.
        if self.errors.is_empty() {
            self.check_expressions(&words, &rule, json, schema, place);
        }
        Some(rule)
    }

    fn check_texts(&mut self, words: &Keywords<'_>, rule: &Rule) {
        let text = rule.rule.trim();
        let given = rule.message.as_deref().unwrap_or_default();
        let message = given.trim();
        let path = words.at("message");
        if text.is_empty() {
            self.errors.push(FieldError::required(
                words.at("rule"),
                "rule is not specified",
            ));
        } else if !given.is_empty() && message.is_empty() {
            self.errors.push(FieldError::invalid(
                path,
                given,
                "must be non-empty if specified",
            ));
        } else if message.contains('\n') {
            self.errors.push(FieldError::invalid(
                path,
                given,
                "must not contain line breaks",
            ));
        } else if text.contains('\n') && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.errors.push(FieldError::required(path, detail));
        }
        if rule
            .message_expression
            .as_ref()
            .is_some_and(|text| text.trim().is_empty())
        {
            let detail = "messageExpression must be non-empty if specified";
            self.errors
                .push(FieldError::required(words.at("messageExpression"), detail));
        }
        if let Some(reason) = rule
            .reason
            .as_deref()
            .filter(|reason| !REASONS.contains(reason))
        {
            self.errors.push(FieldError::not_supported(
                words.at("reason"),
                reason,
                &REASONS,
            ));
        }
    }

    fn check_field_path(&mut self, words: &Keywords<'_>, rule: &Rule, schema: &Schema) {
        let Some(text) = rule.field_path.as_deref() else {
            return;
        };
        let mut wrong = |detail: &str| {
            self.errors
                .push(FieldError::invalid(words.at("fieldPath"), text, detail));
        };
        if text.trim().is_empty() {
            wrong("must be non-empty if specified");
        }
        if text.contains('\n') {
            wrong("must not contain line breaks");
        }
        if normalize_path(text, schema).is_none() {
            wrong("must be a valid path");
        }
    }

    fn check_expressions(
        &mut self,
        words: &Keywords<'_>,
        rule: &Rule,
        json: &Value,
        schema: &Schema,
        place: &Place,
    ) {
        let compiled = match rule.compiled() {
            Ok(compiled) => compiled,
            Err(error) => {
                let path = words.at(error.keyword);
                self.errors.push(FieldError::invalid(
                    path,
                    json.clone(),
                    error.detail.as_str(),
                ));
                return;
            }
        };
        if let Some(name) = compiled.fields().undefined(schema) {
            let detail = undefined(name, &rule.rule);
            let path = words.at("rule");
            self.errors
                .push(FieldError::invalid(path, json.clone(), detail));
        }
        if let (true, Some(list)) = (compiled.uses_old_self(), &place.uncorrelated) {
            let detail = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
            );
            self.errors.push(FieldError::invalid(
                words.at("rule"),
                rule.rule.as_str(),
                detail,
            ));
        }
        if let (false, Some(optional)) = (compiled.uses_old_self(), rule.optional_old_self) {
            let detail = "may not be set if oldSelf is not used in rule";
            self.errors.push(FieldError::invalid(
                words.at("optionalOldSelf"),
                optional,
                detail,
            ));
        }
    }
}

/// What upstream says of a field that there is not.
fn undefined(name: &str, rule: &str) -> String {
    let what = "compilation failed: ERROR: <input>:1:";
    match rule.find(&format!(".{name}")) {
        Some(at) if !rule.contains('\n') => {
            let (column, dots) = (at + 1, ".".repeat(at));
            format!("{what}{column}: undefined field '{name}'\n | {rule}\n | {dots}^")
        }
        _ => format!("{what}1: undefined field '{name}'"),
    }
}
