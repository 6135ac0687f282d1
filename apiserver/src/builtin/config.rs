//! ConfigMaps and Secrets.

use super::Rules;
use crate::schema::FieldError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Most bytes in the values of one object.
const MAX_BYTES: usize = 1024 * 1024;

const MAX_KEY: usize = 253;

pub(super) const CONFIG_MAP: Rules = Rules {
    prepare: |_, _| {},
    validate: validate_config_map,
};

pub(super) const SECRET: Rules = Rules {
    prepare: prepare_secret,
    validate: validate_secret,
};

fn validate_config_map(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old {
        check_immutable(new, old, &["data", "binaryData"], &mut errors);
    }
    let (data, binary) = (entries(new, "data"), entries(new, "binaryData"));
    let mut size = 0;
    for (key, value) in data {
        check_key("data", key, &mut errors);
        if new["binaryData"].get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(path("data", key), key.as_str(), detail));
        }
        size += value.len();
    }
    for (key, value) in binary {
        check_key("binaryData", key, &mut errors);
        size += decoded_len(value);
    }
    if size > MAX_BYTES {
        errors.push(too_long(""));
    }
    errors
}

/// What clients write as text is kept as data, and a Secret without a type is opaque.
fn prepare_secret(secret: &mut Value, _: Option<&Value>) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(texts)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| json!({}));
        if !data.is_object() {
            *data = json!({});
        }
        for (key, text) in texts {
            let text = STANDARD.encode(text.as_str().unwrap_or_default());
            data[key] = text.into();
        }
    }
    if fields.get("type").is_none_or(|kind| kind == "") {
        fields.insert("type".into(), "Opaque".into());
    }
}

fn validate_secret(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(old) = old {
        if new["type"] != old["type"] {
            let kind = new["type"].clone();
            errors.push(FieldError::invalid("type", kind, "field is immutable"));
        }
        check_immutable(new, old, &["data"], &mut errors);
    }
    let mut size = 0;
    for (key, value) in entries(new, "data") {
        check_key("data", key, &mut errors);
        size += decoded_len(value);
    }
    if size > MAX_BYTES {
        errors.push(too_long("data"));
    }
    check_type(new, &mut errors);
    errors
}

/// What is in a Secret of a type that Kubernetes knows.
fn check_type(secret: &Value, errors: &mut Vec<FieldError>) {
    let value = |key: &str| entries(secret, "data").find(|(name, _)| *name == key);
    let mut missing = |key: &str| errors.push(FieldError::required(path("data", key), ""));
    match secret["type"].as_str().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let account = secret["metadata"]["annotations"][key].as_str();
            if account.is_none_or(str::is_empty) {
                let path = path("metadata.annotations", key);
                errors.push(FieldError::required(path, ""));
            }
        }
        "kubernetes.io/dockercfg" => check_json(secret, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => check_json(secret, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth"
            if value("username").is_none() && value("password").is_none() =>
        {
            missing("username");
            missing("password");
        }
        "kubernetes.io/ssh-auth"
            if value("ssh-privatekey").is_none_or(|(_, key)| key.is_empty()) =>
        {
            missing("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            let keys = ["tls.crt", "tls.key"].into_iter();
            keys.filter(|key| value(key).is_none()).for_each(missing);
        }
        _ => {}
    }
}

fn check_json(secret: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let path = path("data", key);
    let Some((_, value)) = entries(secret, "data").find(|(name, _)| *name == key) else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    let text = STANDARD.decode(value).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Map<String, Value>>(&text) {
        let shown = "<secret contents redacted>";
        errors.push(FieldError::invalid(path, shown, error.to_string()));
    }
}

fn check_immutable(new: &Value, old: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if old["immutable"] != true {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", detail));
    }
    for field in fields {
        if !entries(new, field).eq(entries(old, field)) {
            errors.push(FieldError::forbidden(*field, detail));
        }
    }
}

fn check_key(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let mut complain = |detail: &str| {
        errors.push(FieldError::invalid(path(field, key), key, detail));
    };
    if key.len() > MAX_KEY {
        complain("must be no more than 253 characters");
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if key.is_empty() || !key.bytes().all(known) {
        complain(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        );
    }
    match key {
        "." | ".." => complain(&format!("must not be '{key}'")),
        _ if key.starts_with("..") => complain("must not start with '..'"),
        _ => {}
    }
}

fn too_long(field: &str) -> FieldError {
    FieldError::too_long(field, i64::try_from(MAX_BYTES).unwrap_or(i64::MAX))
}

fn path(field: &str, key: &str) -> String {
    format!("{field}[{key}]")
}

/// The entries of a map of texts.
fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = object.get(field).and_then(Value::as_object);
    let entries = entries.into_iter().flatten();
    entries.map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
