//! Variables that are expressions, evaluated when they are first asked for: `variables.name`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::cost::nested;
use super::expression::Expression;
use super::run::describe;

/// The variable whose fields they are.
pub(super) const VARIABLES: &str = "variables";
/// The function that stands for them. No expression can write its name.
pub(super) const COMPOSED: &str = "@variable";

/// Expressions by the names of the variables that they define; why one is none.
pub(crate) type Composed = HashMap<String, Result<Expression, String>>;

thread_local! {
    /// Those of the evaluation that runs on this thread.
    static RUNNING: RefCell<Running> = RefCell::default();
}

#[derive(Clone, Default)]
struct Running {
    composed: Arc<Composed>,
    known: HashMap<Arc<String>, Result<Value, String>>,
}

/// Runs an evaluation that may ask for variables. None of them is known before.
pub(super) fn with_variables<T>(composed: &Arc<Composed>, evaluate: impl FnOnce() -> T) -> T {
    RUNNING.set(Running {
        composed: Arc::clone(composed),
        known: HashMap::new(),
    });
    let result = evaluate();
    RUNNING.take();
    result
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(COMPOSED, variable);
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the interpreter calls functions with values"
)]
fn variable(context: &FunctionContext, name: Arc<String>) -> ResolveResult {
    let known = RUNNING.with_borrow(|running| running.known.get(&name).cloned());
    let result = known.unwrap_or_else(|| {
        let result = evaluate(&name, outermost(context.ptx));
        RUNNING.with_borrow_mut(|running| running.known.insert(Arc::clone(&name), result.clone()));
        result
    });
    result.map_err(|why| ExecutionError::function_error(VARIABLES, why))
}

fn evaluate(name: &str, scope: &Context<'_>) -> Result<Value, String> {
    let composed = RUNNING.with_borrow(|running| Arc::clone(&running.composed));
    match composed.get(name) {
        Some(Ok(expression)) => {
            nested(|| Value::resolve(expression.tree(), scope)).map_err(|why| {
                let why = describe(&why);
                format!("composited variable {name:?} fails to evaluate: {why}")
            })
        }
        Some(Err(why)) => Err(format!(
            "composited variable {name:?} fails to compile: {why}"
        )),
        None => Err(format!("no such key: {name}")),
    }
}

/// The scope of the variables, outside of all loops.
fn outermost<'a>(mut scope: &'a Context<'a>) -> &'a Context<'a> {
    while let Context::Child { parent, .. } = scope {
        if matches!(parent, Context::Root { .. }) {
            break;
        }
        scope = parent;
    }
    scope
}
