//! The expressions of a policy, compiled.

use super::authorizer::REQUEST_RESOURCE;
use super::definition::PolicySpec;
use crate::schema::cel::{Composed, Declared, Expression, Names, Type};
use std::sync::Arc;

/// Which variables an expression may use besides those that all may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// `params`.
    pub(crate) params: bool,
    /// `authorizer`.
    pub(crate) authorizer: bool,
}

/// A compiled policy. What does not compile is known when it is asked.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) variables: Arc<Composed>,
    pub(super) conditions: Vec<Tried>,
    pub(super) validations: Vec<CompiledValidation>,
    pub(super) annotations: Vec<(String, Tried)>,
}

/// An expression, or why it is none.
pub(super) type Tried = Result<Expression, String>;

#[derive(Debug)]
pub(super) struct CompiledValidation {
    pub(super) expression: Tried,
    pub(super) message_expression: Option<Tried>,
    /// What is said when nothing else is.
    pub(super) message: String,
    pub(super) reason: Option<String>,
}

impl Compiled {
    pub(super) fn new(spec: &PolicySpec) -> Self {
        let params = spec.param_kind.is_some();
        let all = Allowed {
            params,
            authorizer: true,
        };
        let for_messages = Allowed {
            params,
            authorizer: false,
        };
        let (mut variables, mut names) = (Composed::new(), Vec::new());
        for variable in &spec.variables {
            let compiled = compile(&variable.expression, all, &names, &[]);
            names.push(Declared {
                name: variable.name.clone(),
                levels: compiled.as_ref().map_or(0, Expression::levels),
            });
            // Of two of a name, later expressions mean the first.
            variables.entry(variable.name.clone()).or_insert(compiled);
        }
        let conditions = spec.match_conditions.iter();
        let conditions =
            conditions.map(|condition| compile(&condition.expression, all, &names, &[Type::Bool]));
        let validations = spec.validations.iter().map(|validation| {
            let written = validation.message_expression.as_str();
            let message = match validation.message.trim() {
                "" => format!("failed expression: {}", validation.expression.trim()),
                message => message.to_owned(),
            };
            CompiledValidation {
                expression: compile(&validation.expression, all, &names, &[Type::Bool]),
                message_expression: (!written.is_empty())
                    .then(|| compile(written, for_messages, &names, &[Type::String])),
                message,
                reason: validation.reason.clone(),
            }
        });
        let annotations = spec.audit_annotations.iter().map(|annotation| {
            let types = [Type::String, Type::Null];
            let expression = compile(&annotation.value_expression, all, &names, &types);
            (annotation.key.clone(), expression)
        });
        Self {
            conditions: conditions.collect(),
            validations: validations.collect(),
            annotations: annotations.collect(),
            variables: Arc::new(variables),
        }
    }
}

/// Whether an expression is one, and its result of one of these types. No types: any. Returns how deep
/// it nests.
///
/// # Errors
/// What is wrong with it, in kube-apiserver's words.
pub(crate) fn check_expression(
    text: &str,
    allowed: Allowed,
    composed: &[Declared],
    types: &[Type],
) -> Result<usize, String> {
    compile(text, allowed, composed, types).map(|expression| expression.levels())
}

fn compile(text: &str, allowed: Allowed, composed: &[Declared], types: &[Type]) -> Tried {
    let mut variables = vec!["object", "oldObject", "request", "namespaceObject"];
    let mut nullable = vec!["object", "oldObject", "namespaceObject"];
    if allowed.params {
        variables.push("params");
        nullable.push("params");
    }
    if allowed.authorizer {
        variables.extend(["authorizer", REQUEST_RESOURCE]);
    }
    let names = Names {
        variables: &variables,
        nullable: &nullable,
        composed,
    };
    match types {
        [] => Expression::new(text, names),
        types => Expression::of_type(text, names, types),
    }
}
