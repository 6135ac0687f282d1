//! Leases.

use super::Rules;
use crate::schema::FieldError;
use serde_json::{Map, Value};

pub(super) const RULES: Rules = Rules { prepare, validate };

/// Candidates for a lease are not served, so that nothing is said of how they are chosen.
fn prepare(lease: &mut Value, _: Option<&Value>) {
    let mut none = Map::new();
    let spec = lease.get_mut("spec").and_then(Value::as_object_mut);
    let spec = spec.unwrap_or(&mut none);
    spec.remove("strategy");
    spec.remove("preferredHolder");
}

fn validate(new: &Value, _: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = &new["spec"];
    let seconds = spec["leaseDurationSeconds"].as_i64();
    if let Some(seconds) = seconds.filter(|seconds| *seconds <= 0) {
        let path = "spec.leaseDurationSeconds";
        errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
    }
    let transitions = spec["leaseTransitions"].as_i64();
    if let Some(count) = transitions.filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.leaseTransitions", count, detail));
    }
    errors
}
