//! A policy is asked about a request, with one set of parameters.

use super::authorizer::{FUNCTIONS, REQUEST_RESOURCE};
use super::compiled::{Compiled, Tried};
use super::index::Policy;
use crate::schema::cel::{Evaluated, Evaluation};
use kube_cel::cel::Value;

/// What the conditions of a policy may cost (`RuntimeCELCostBudgetMatchConditions` of
/// k8s.io/apiserver).
const FOR_CONDITIONS: i64 = 2_500_000;
/// What the rest of a policy may cost (`RuntimeCELCostBudget` there).
const FOR_VALIDATIONS: i64 = 10_000_000;

/// The longest message that an expression makes.
const MAX_MESSAGE: usize = 5 << 10;
/// The longest value of an annotation.
const MAX_ANNOTATION: usize = 10 << 10;

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The values of the variables.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    pub(super) object: Value,
    pub(super) old_object: Value,
    pub(super) request: Value,
    pub(super) namespace: Value,
    pub(super) params: Value,
    pub(super) authorizer: [Value; 2],
}

/// What a policy says of a request.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) refusals: Vec<Refusal>,
    /// Keys and values for the audit log.
    pub(super) annotations: Vec<(String, String)>,
    /// Annotations that could not be made. They refuse the request, whatever the binding says.
    pub(super) faults: Vec<String>,
}

/// A validation does not hold, or went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of the validation.
    pub(super) index: usize,
    pub(super) message: String,
    pub(super) reason: Option<String>,
}

impl Verdict {
    fn failed(message: String, fails: bool) -> Self {
        let refusal = Refusal {
            index: 0,
            message,
            reason: None,
        };
        Self {
            refusals: fails.then_some(refusal).into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Asks a policy.
pub(super) fn evaluate(policy: &Policy, variables: &Variables) -> Verdict {
    let compiled = &*policy.compiled;
    let fails = policy.spec.fails();
    let mut evaluation = variables.evaluation(compiled, FOR_CONDITIONS);
    match are_met(compiled, &mut evaluation) {
        Ok(true) => {}
        Ok(false) => return Verdict::default(),
        Err(why) => return Verdict::failed(why, fails),
    }
    evaluation.allow(FOR_VALIDATIONS);
    let mut verdict = Verdict::default();
    if let Err(why) = validate(compiled, fails, &mut evaluation, &mut verdict) {
        return Verdict::failed(why, fails);
    }
    evaluation.allow(FOR_VALIDATIONS);
    if let Err(why) = annotate(compiled, fails, &mut evaluation, &mut verdict) {
        return Verdict::failed(why, fails);
    }
    verdict
}

impl Variables {
    fn evaluation(&self, compiled: &Compiled, limit: i64) -> Evaluation {
        let mut evaluation = Evaluation::new(&FUNCTIONS, &compiled.variables, limit);
        for (name, value) in [
            ("object", &self.object),
            ("oldObject", &self.old_object),
            ("namespaceObject", &self.namespace),
            ("params", &self.params),
        ] {
            evaluation.set_nullable(name, value.clone());
        }
        evaluation.set("request", self.request.clone());
        let [authorizer, resource] = self.authorizer.clone();
        evaluation.set("authorizer", authorizer);
        evaluation.set(REQUEST_RESOURCE, resource);
        evaluation
    }
}

fn ask(expression: &Tried, evaluation: &mut Evaluation) -> Evaluated {
    match expression {
        Ok(expression) => evaluation.evaluate(expression),
        Err(why) => Evaluated::Failed(format!("compilation error: {why}")),
    }
}

/// Whether all conditions hold. One that does not hold counts more than one that went wrong.
fn are_met(compiled: &Compiled, evaluation: &mut Evaluation) -> Result<bool, String> {
    let mut errors: Vec<String> = Vec::new();
    for condition in &compiled.conditions {
        match ask(condition, evaluation) {
            Evaluated::Value(Value::Bool(true)) => {}
            Evaluated::Value(Value::Bool(false)) => return Ok(false),
            // A type checker would not have let it pass.
            Evaluated::Value(_) => errors.push("must evaluate to bool".to_owned()),
            Evaluated::Failed(why) if errors.contains(&why) => {}
            Evaluated::Failed(why) => errors.push(why),
            Evaluated::OutOfBudget => return Err(OUT_OF_BUDGET.to_owned()),
        }
    }
    match errors.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

fn validate(
    compiled: &Compiled,
    fails: bool,
    evaluation: &mut Evaluation,
    verdict: &mut Verdict,
) -> Result<(), String> {
    // All expressions first: what messages cost is taken from what they leave.
    let mut refused = Vec::new();
    for (index, validation) in compiled.validations.iter().enumerate() {
        match ask(&validation.expression, evaluation) {
            Evaluated::Value(Value::Bool(true)) => {}
            Evaluated::Value(_) => refused.push((index, None)),
            Evaluated::Failed(why) => refused.push((index, Some(why))),
            Evaluated::OutOfBudget => return Err(OUT_OF_BUDGET.to_owned()),
        }
    }
    for (index, error) in refused {
        let validation = &compiled.validations[index];
        let (message, reason) = match error {
            Some(_) if !fails => continue,
            Some(why) => (why, None),
            None => {
                let expression = validation.message_expression.as_ref();
                let own = match expression.map(|expression| ask(expression, evaluation)) {
                    Some(Evaluated::OutOfBudget) => {
                        return Err(format!("failed messageExpression: {OUT_OF_BUDGET}"));
                    }
                    Some(Evaluated::Value(Value::String(text))) => Some(text.trim().to_owned()),
                    _ => None,
                };
                let is_fit = |text: &String| {
                    !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n')
                };
                let message = own.filter(is_fit);
                let message = message.unwrap_or_else(|| validation.message.clone());
                (message, validation.reason.clone())
            }
        };
        verdict.refusals.push(Refusal {
            index,
            message,
            reason,
        });
    }
    Ok(())
}

fn annotate(
    compiled: &Compiled,
    fails: bool,
    evaluation: &mut Evaluation,
    verdict: &mut Verdict,
) -> Result<(), String> {
    for (key, expression) in &compiled.annotations {
        match ask(expression, evaluation) {
            Evaluated::Value(Value::Null) => {}
            Evaluated::Value(Value::String(text)) => {
                let text = text.trim();
                let end = text.floor_char_boundary(MAX_ANNOTATION);
                if !text.is_empty() {
                    let value = text[..end].to_owned();
                    verdict.annotations.push((key.clone(), value));
                }
            }
            Evaluated::Value(_) => {
                let text = expression
                    .as_ref()
                    .map_or("", |expression| expression.text());
                verdict.faults.push(format!(
                    "valueExpression '{text}' resulted in unsupported return type. Return type \
                     must be either string or null."
                ));
            }
            Evaluated::Failed(why) if fails => verdict.faults.push(why),
            Evaluated::Failed(_) => {}
            Evaluated::OutOfBudget => return Err(OUT_OF_BUDGET.to_owned()),
        }
    }
    Ok(())
}
