//! Conditions: what a controller last saw, and since when.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One observed aspect of an object's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the aspect, for example `Connected`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// When the condition was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// One CamelCase word for programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    Unknown,
}

impl ConditionStatus {
    /// `True`, `False` or `Unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The condition of that type, if it was ever written.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Writes a condition. Returns whether anything changed: when status, reason and message are as
/// they were, nothing does, not even the time, so that writing again costs no revision.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let now = Some(Time(now));
    let Some(old) = conditions.iter_mut().find(|old| old.type_ == type_) else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status,
            last_update_time: now.clone(),
            last_transition_time: now,
            reason: reason.to_owned(),
            message: message.to_owned(),
        });
        return true;
    };
    if old.status == status && old.reason == reason && old.message == message {
        return false;
    }
    if old.status != status {
        old.last_transition_time.clone_from(&now);
    }
    old.status = status;
    old.last_update_time = now;
    reason.clone_into(&mut old.reason);
    message.clone_into(&mut old.message);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_the_same_again_changes_nothing() {
        let mut conditions = Vec::new();
        let first = Timestamp::from_second(1).unwrap();
        let later = Timestamp::from_second(2).unwrap();
        let mut set = |status, message: &str, now| {
            set_condition(&mut conditions, "Ready", status, "R", message, now)
        };
        assert!(set(ConditionStatus::True, "", first));
        assert!(!set(ConditionStatus::True, "", later));
        assert!(set(ConditionStatus::True, "again", later));
        let ready = condition(&conditions, "Ready").unwrap();
        assert_eq!(ready.last_transition_time, Some(Time(first)));
        assert_eq!(ready.last_update_time, Some(Time(later)));
    }

    #[test]
    fn the_transition_time_moves_with_the_status() {
        let mut conditions = Vec::new();
        let later = Timestamp::from_second(2).unwrap();
        set_condition(
            &mut conditions,
            "Ready",
            ConditionStatus::True,
            "",
            "",
            Timestamp::UNIX_EPOCH,
        );
        set_condition(
            &mut conditions,
            "Ready",
            ConditionStatus::False,
            "",
            "",
            later,
        );
        assert_eq!(conditions[0].last_transition_time, Some(Time(later)));
        assert_eq!(conditions.len(), 1);
    }
}
