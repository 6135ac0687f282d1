//! The loops that make lists: `map` and `filter`.
//!
//! The interpreter copies the list for each item that is added to it, twice.

use std::sync::Arc;

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators,
};
use kube_cel::cel::objects::ResolveResult;
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::cost::{afford, afford_size};

/// The function that takes the place of such a loop. No expression can write its name.
pub(super) const COLLECT: &str = "@collect";

/// What such a loop does with each item.
pub(super) struct Collecting<'a> {
    /// Which items it is done with; absent: all.
    pub(super) condition: Option<&'a IdedExpr>,
    pub(super) element: &'a IdedExpr,
}

impl<'a> Collecting<'a> {
    /// Of a loop, if it is one of those.
    pub(super) fn of(loops: &'a ComprehensionExpr) -> Option<Self> {
        let is_result = |expression: &IdedExpr| matches!(&expression.expr, Expr::Ident(name) if *name == loops.accu_var);
        let call = |expression: &'a IdedExpr, function: &str| match &expression.expr {
            Expr::Call(call) if call.func_name == function => Some(call.args.as_slice()),
            _ => None,
        };
        let (condition, step) = match call(&loops.loop_step, operators::CONDITIONAL) {
            Some([condition, step, otherwise]) if is_result(otherwise) => (Some(condition), step),
            Some(_) => return None,
            None => (None, &loops.loop_step),
        };
        let Some([result, added]) = call(step, operators::ADD) else {
            return None;
        };
        match &added.expr {
            Expr::List(list) if is_result(result) && list.optional_indices.is_empty() => {
                let [element] = list.elements.as_slice() else {
                    return None;
                };
                Some(Self { condition, element })
            }
            _ => None,
        }
    }
}

/// The call that takes the place of a loop over `range` with a variable.
pub(super) fn call(
    range: IdedExpr,
    variable: &str,
    [condition, element]: [IdedExpr; 2],
    weight: i64,
) -> Expr {
    let literal = |value| IdedExpr {
        id: range.id,
        expr: Expr::Literal(value),
    };
    let variable = literal(LiteralValue::String(variable.into()));
    let weight = literal(LiteralValue::Int(weight.into()));
    Expr::Call(CallExpr {
        func_name: COLLECT.to_owned(),
        target: None,
        args: vec![range, variable, condition, element, weight],
    })
}

pub(super) fn register(context: &mut Context<'_>) {
    context.add_function(COLLECT, collect);
}

fn collect(context: &FunctionContext<'_, '_>) -> ResolveResult {
    let [range, variable, condition, element, weight] = context.args else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let (Expr::Literal(LiteralValue::String(variable)), Expr::Literal(LiteralValue::Int(weight))) =
        (&variable.expr, &weight.expr)
    else {
        return Err(ExecutionError::NoSuchOverload);
    };
    let items = match Value::resolve(range, context.ptx)? {
        Value::List(items) => items,
        Value::Map(map) => Arc::new(map.map.keys().map(Value::from).collect()),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    let mut scope = context.ptx.new_inner_scope();
    let mut collected = Vec::new();
    for item in items.iter() {
        afford(*weight.inner())?;
        afford_size(item)?;
        scope.add_variable_from_value(variable.inner(), item.clone());
        match Value::resolve(condition, &scope)? {
            Value::Bool(true) => {}
            Value::Bool(false) => continue,
            _ => return Err(ExecutionError::NoSuchOverload),
        }
        let element = Value::resolve(element, &scope)?;
        afford_size(&element)?;
        collected.push(element);
    }
    Ok(Value::List(Arc::new(collected)))
}
