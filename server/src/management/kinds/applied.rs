//! Secrets in what kubectl notes of what it has sent: `kubectl apply` keeps a copy of the manifest in an
//! annotation.

use kube::core::ObjectMeta;
use serde_json::Value;

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Leaves a field out of the copy, or shows something else instead.
pub(super) fn hide(metadata: &mut ObjectMeta, field: &str, instead: Option<String>) {
    let annotations = metadata.annotations.as_mut();
    let Some(applied) = annotations.and_then(|all| all.get_mut(APPLIED)) else {
        return;
    };
    match serde_json::from_str(applied) {
        Ok(Value::Object(mut sent)) => {
            match instead {
                Some(instead) => sent.insert(field.to_owned(), instead.into()),
                None => sent.remove(field),
            };
            *applied = Value::Object(sent).to_string();
        }
        // kubectl did not write it.
        _ => applied.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(applied: &str, instead: Option<&str>) -> String {
        let mut metadata = ObjectMeta {
            annotations: Some([(APPLIED.to_owned(), applied.to_owned())].into()),
            ..ObjectMeta::default()
        };
        hide(&mut metadata, "password", instead.map(str::to_owned));
        metadata.annotations.unwrap().remove(APPLIED).unwrap()
    }

    #[test]
    fn a_secret_is_in_no_copy() {
        let sent = r#"{"password":"hunter2","username":"ann"}"#;
        assert_eq!(hidden(sent, None), r#"{"username":"ann"}"#);
        let shown = hidden(sent, Some("elsewhere"));
        assert_eq!(shown, r#"{"password":"elsewhere","username":"ann"}"#);
        for other in ["hunter2", "[\"hunter2\"]", "{\"password\": \"hunter2\""] {
            assert_eq!(hidden(other, None), "", "{other}");
        }
    }
}
