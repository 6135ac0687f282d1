//! One word for how an object is, from its conditions.

use serde_json::{Map, Value, json};

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// One word, for example `active`.
    pub(super) name: String,
    /// Whether that is about to change, or is wrong.
    pub(super) change: Change,
    /// Why.
    pub(super) message: String,
}

/// Whether a state lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It lasts.
    No,
    /// Something is under way.
    Yes,
    /// It does not go on by itself.
    Error,
}

impl State {
    pub(super) fn new(name: &str, change: Change, message: &str) -> Self {
        Self {
            name: name.to_owned(),
            change,
            message: message.to_owned(),
        }
    }

    /// Of any object: it is ended, or a condition says that something is wrong or under way, or it is active.
    pub(super) fn of(object: &Value) -> Self {
        if object["metadata"].get("deletionTimestamp").is_some() {
            return Self::removing(object);
        }
        let conditions = conditions(object);
        let text = |condition: &Value, field: &str| {
            condition[field].as_str().unwrap_or_default().to_owned()
        };
        if let Some(wrong) = conditions.iter().find(|one| one["reason"] == "Error") {
            return Self::new("error", Change::Error, &text(wrong, "message"));
        }
        if let Some(open) = conditions.iter().find(|one| one["status"] == "Unknown") {
            return Self::new("pending", Change::Yes, &text(open, "message"));
        }
        match object["status"]["summary"].as_str() {
            Some("Error") => Self::new("error", Change::Error, ""),
            Some("InProgress") => Self::new("pending", Change::Yes, ""),
            _ => Self::active(),
        }
    }

    pub(super) fn active() -> Self {
        Self::new("active", Change::No, "")
    }

    /// Of an object that is being deleted.
    pub(super) fn removing(object: &Value) -> Self {
        let finalizers = object["metadata"]["finalizers"].as_array();
        let waits = finalizers.into_iter().flatten().filter_map(Value::as_str);
        let waits: Vec<_> = waits.collect();
        let message = match waits.as_slice() {
            [] => String::new(),
            waits => format!("waiting on {}", waits.join(", ")),
        };
        Self::new("removing", Change::Yes, &message)
    }

    pub(super) fn show(&self, shown: &mut Map<String, Value>) {
        let change = match self.change {
            Change::No => "no",
            Change::Yes => "yes",
            Change::Error => "error",
        };
        shown.insert("state".into(), json!(self.name));
        shown.insert("transitioning".into(), json!(change));
        shown.insert("transitioningMessage".into(), json!(self.message));
    }
}

fn conditions(object: &Value) -> &[Value] {
    let conditions = object["status"]["conditions"].as_array();
    conditions.map_or(&[], Vec::as_slice)
}

/// A condition of an object.
pub(super) fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    conditions(object).iter().find(|one| one["type"] == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_how_an_object_is() {
        let of = |conditions: Value| State::of(&json!({"status": {"conditions": conditions}}));
        assert_eq!(of(json!([])), State::active());
        let done = json!({"type": "InitialRolesPopulated", "status": "True"});
        assert_eq!(of(json!([done])), State::active());
        let open = json!({"type": "A", "status": "Unknown", "message": "working"});
        assert_eq!(
            of(json!([open])),
            State::new("pending", Change::Yes, "working")
        );
        let wrong = json!({"type": "B", "status": "False", "reason": "Error", "message": "no"});
        assert_eq!(
            of(json!([open, wrong])),
            State::new("error", Change::Error, "no")
        );
    }

    #[test]
    fn what_is_deleted_says_what_it_waits_for() {
        let meta = json!({"deletionTimestamp": "x", "finalizers": ["a/b", "c/d"]});
        let state = State::of(&json!({"metadata": meta}));
        assert_eq!(
            state,
            State::new("removing", Change::Yes, "waiting on a/b, c/d")
        );
    }
}
