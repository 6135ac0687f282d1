//! Service accounts.

use super::Rules;
use serde_json::{Value, json};

pub(super) const RULES: Rules = Rules {
    prepare,
    validate: |_, _| Vec::new(),
};

/// Of the Secrets of an account only the names are kept.
fn prepare(account: &mut Value, _: Option<&Value>) {
    let secrets = account.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten() {
        *secret = match secret.get("name") {
            Some(name) => json!({"name": name}),
            None => json!({}),
        };
    }
}
