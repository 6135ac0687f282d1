//! All policies are asked about a write.

use super::evaluate::{Refusal, Verdict, evaluate};
use super::index::{Binding, Policy};
use super::matching::{Place, matched};
use super::request::{Write, object, variables_of};
use super::{BINDINGS, GROUP, POLICIES, params};
use crate::error::{About, ApiError};
use crate::object::Object;
use crate::serve::ApiServer;
use http::StatusCode;
use kube_cel::cel::Value as CelValue;
use serde_json::json;

/// Resources that no policy deals with, so that a policy can always be taken away.
const EXEMPT: [&str; 4] = [
    POLICIES,
    BINDINGS,
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// The key of the annotation of what a binding only records.
const RECORDED: &str = "validation.policy.admission.k8s.io/validation_failure";

/// What comes of a write that is asked about.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// For the client.
    pub(crate) warnings: Vec<String>,
    /// For the audit log, whether the write is refused or not.
    pub(crate) annotations: Vec<(String, String)>,
    /// Why it is refused.
    pub(crate) refused: Option<ApiError>,
}

/// Asks all policies about a write.
///
/// # Errors
/// When something of the server is at fault.
pub(crate) async fn enforce(server: &ApiServer, write: &Write<'_>) -> Result<Admitted, ApiError> {
    let policies = server.policies().bound();
    let exempt = write.resource.group == GROUP && EXEMPT.contains(&write.resource.plural.as_str());
    let mut judgement = Judgement::default();
    if policies.is_empty() || exempt {
        return Ok(judgement.admitted);
    }
    let mut place = Place::new(&**server.cache().store(), write.place());
    for policy in policies.iter() {
        let Some(resources) = &policy.spec.match_constraints else {
            continue;
        };
        match matched(resources, write, &mut place).await {
            Ok(Some(version)) => {
                let judged = judgement.judge(server, write, policy, version, &mut place);
                judged.await?;
            }
            Ok(None) => {}
            Err(why) => judgement.misconfigured(policy, None, &why),
        }
    }
    Ok(judgement.end(write))
}

#[derive(Default)]
struct Judgement {
    admitted: Admitted,
    /// Message and reason; the first counts.
    denied: Option<(String, Option<String>)>,
}

impl Judgement {
    async fn judge(
        &mut self,
        server: &ApiServer,
        write: &Write<'_>,
        policy: &Policy,
        version: &str,
        place: &mut Place<'_>,
    ) -> Result<(), ApiError> {
        let kind = policy.spec.param_kind.as_ref();
        let kind = match kind.map(|kind| params::kind(server, kind)).transpose() {
            Ok(kind) => kind,
            Err(why) => {
                self.misconfigured(policy, None, &why);
                return Ok(());
            }
        };
        let mut variables = None;
        for binding in &policy.bindings {
            if let Some(resources) = &binding.spec.match_resources {
                match matched(resources, write, place).await {
                    Ok(Some(_)) => {}
                    Ok(None) => continue,
                    Err(why) => {
                        self.misconfigured(policy, Some(binding), &why);
                        continue;
                    }
                }
            }
            let found = match collected(server, kind.as_ref(), binding, write).await {
                Ok(found) => found,
                Err(why) => {
                    self.misconfigured(policy, Some(binding), &why);
                    continue;
                }
            };
            for params in found {
                if variables.is_none() {
                    variables = Some(variables_of(server, write, version, place).await?);
                }
                if let Some(variables) = &mut variables {
                    variables.params = params;
                    self.take(policy, binding, evaluate(policy, variables));
                    // Others go on between two that take long.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, policy: &Policy, binding: &Binding, verdict: Verdict) {
        for refusal in verdict.refusals {
            for action in &binding.spec.validation_actions {
                match action.as_str() {
                    "Deny" => {
                        let reason = refusal.reason.clone();
                        self.deny(policy, Some(binding), &refusal.message, reason);
                    }
                    "Warn" => self.warn(policy, binding, &refusal),
                    _ => self.record(policy, binding, &refusal),
                }
            }
        }
        for (key, value) in verdict.annotations {
            let key = format!("{}/{key}", policy.name);
            let mut known = self.admitted.annotations.iter_mut();
            match known.find(|(known, _)| *known == key) {
                Some((_, values)) if values.split(", ").any(|one| one == value) => {}
                Some((_, values)) => *values = format!("{values}, {value}"),
                None => self.admitted.annotations.push((key, value)),
            }
        }
        for fault in verdict.faults {
            self.deny(policy, Some(binding), &fault, None);
        }
    }

    fn warn(&mut self, policy: &Policy, binding: &Binding, refusal: &Refusal) {
        let warning = format!(
            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
            policy.name, binding.name, refusal.message
        );
        let known = &mut self.admitted.warnings;
        if !known.contains(&warning) {
            known.push(warning);
        }
    }

    fn record(&mut self, policy: &Policy, binding: &Binding, refusal: &Refusal) {
        let value = json!([{
            "message": refusal.message, "policy": policy.name, "binding": binding.name,
            "expressionIndex": refusal.index,
            "validationActions": binding.spec.validation_actions,
        }]);
        // The first counts, as upstream.
        let annotations = &mut self.admitted.annotations;
        if !annotations.iter().any(|(key, _)| key == RECORDED) {
            annotations.push((RECORDED.to_owned(), value.to_string()));
        }
    }

    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if policy.spec.fails() {
            let what = match binding {
                Some(_) => "binding",
                None => "policy",
            };
            let message = format!("failed to configure {what}: {why}");
            self.deny(policy, binding, &message, None);
        }
    }

    fn deny(
        &mut self,
        policy: &Policy,
        binding: Option<&Binding>,
        message: &str,
        reason: Option<String>,
    ) {
        let bound = binding.map_or_else(String::new, |binding| {
            format!(" with binding '{}'", binding.name)
        });
        let policy = &policy.name;
        let message =
            format!("ValidatingAdmissionPolicy '{policy}'{bound} denied request: {message}");
        self.denied.get_or_insert((message, reason));
    }

    fn end(self, write: &Write<'_>) -> Admitted {
        let refused = self.denied.map(|(message, reason)| {
            let (code, reason) = match reason.as_deref() {
                Some("Forbidden") => (StatusCode::FORBIDDEN, "Forbidden"),
                Some("RequestEntityTooLarge") => {
                    (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
                }
                _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            };
            let about = About {
                group: &write.resource.group,
                what: &write.resource.plural,
                name: write.name,
            };
            ApiError::forbidden(about, &message)
                .said_as(code, reason)
                .with_causes(json!([{"message": message}]))
        });
        Admitted {
            refused,
            ..self.admitted
        }
    }
}

/// The parameters with which a policy is asked for a binding: null where it has none.
async fn collected(
    server: &ApiServer,
    kind: Option<&params::Kind>,
    binding: &Binding,
    write: &Write<'_>,
) -> Result<Vec<CelValue>, String> {
    let wanted = binding.spec.param_ref.as_ref();
    let Some((kind, wanted)) = kind.zip(wanted) else {
        return Ok(vec![CelValue::Null]);
    };
    let found: Vec<Object> = kind.collect(server, wanted, write.place()).await?;
    let values = found.iter();
    let values = values.map(|param| object(Some(param), &kind.api_version));
    Ok(values.collect())
}
