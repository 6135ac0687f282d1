//! Variables that are expressions, evaluated when they are first asked for: `variables.name`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::cost::{afford_size, nested};
use super::expression::Expression;
use super::run::describe;

/// The variable whose fields they are.
pub(super) const VARIABLES: &str = "variables";
/// The function that stands for them. No expression can write its name.
pub(super) const COMPOSED: &str = "@variable";

/// Expressions by the names of the variables that they define; why one is none.
pub(crate) type Composed = HashMap<String, Result<Expression, String>>;

/// Such a variable, as later expressions know it.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// How deep it nests.
    pub(crate) levels: usize,
}

/// The values of those that were asked for.
pub(super) type Known = HashMap<Arc<String>, Result<Value, String>>;

thread_local! {
    /// Those of the evaluation that runs on this thread.
    static RUNNING: RefCell<Running> = RefCell::default();
}

#[derive(Default)]
struct Running {
    composed: Arc<Composed>,
    known: Known,
}

/// Runs an evaluation that may ask for variables.
pub(super) fn with_variables<T>(
    composed: &Arc<Composed>,
    known: &mut Known,
    evaluate: impl FnOnce() -> T,
) -> T {
    RUNNING.set(Running {
        composed: Arc::clone(composed),
        known: std::mem::take(known),
    });
    let result = evaluate();
    *known = RUNNING.take().known;
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
    let result = match known {
        Some(known) => known,
        None => {
            let result = evaluate(&name, outermost(context.ptx));
            // It is kept as well.
            result.iter().try_for_each(afford_size)?;
            RUNNING.with_borrow_mut(|running| {
                running.known.insert(Arc::clone(&name), result.clone());
            });
            result
        }
    };
    let value = result.map_err(|why| ExecutionError::function_error(VARIABLES, why))?;
    afford_size(&value)?;
    Ok(value)
}

fn evaluate(name: &str, scope: &Context<'_>) -> Result<Value, String> {
    let composed = RUNNING.with_borrow(|running| Arc::clone(&running.composed));
    match composed.get(name) {
        Some(Ok(expression)) => {
            let tree = expression.tree();
            let value = nested(tree.weight, || Value::resolve(&tree.expression, scope));
            value.map_err(|why| {
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
