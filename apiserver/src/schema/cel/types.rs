//! Of which type the result of an expression is, as far as it can be told without a type checker.

use std::fmt;

use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::composed::VARIABLES;
use super::metered::Names;

/// A type of CEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Bytes,
    Double,
    /// Known when the expression is evaluated.
    Dyn,
    Int,
    Null,
    String,
    Uint,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Double => "double",
            Self::Dyn => "dyn",
            Self::Int => "int",
            Self::Null => "null_type",
            Self::String => "string",
            Self::Uint => "uint",
        })
    }
}

/// The type; `None` if that cannot be told.
pub(super) fn type_of(expression: &IdedExpr, names: Names<'_>) -> Option<Type> {
    match &expression.expr {
        Expr::Literal(literal) => Some(match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Bytes(_) => Type::Bytes,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(_) => Type::String,
            LiteralValue::UInt(_) => Type::Uint,
        }),
        Expr::Call(call) => of_call(call, names),
        Expr::Select(select) if select.test => Some(Type::Bool),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == VARIABLES => None,
            _ => type_of(&select.operand, names).filter(|of| *of == Type::Dyn),
        },
        // What may be null is an object of any kind.
        Expr::Ident(name)
            if names.nullable.contains(&name.as_str()) && name != "namespaceObject" =>
        {
            Some(Type::Dyn)
        }
        _ => None,
    }
}

fn of_call(call: &CallExpr, names: Names<'_>) -> Option<Type> {
    let of = |at: usize| type_of(call.args.get(at)?, names);
    match (call.func_name.as_str(), call.target.is_some()) {
        (
            operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN,
            false,
        )
        | ("startsWith" | "endsWith" | "contains" | "matches", true) => Some(Type::Bool),
        ("size", _) | ("int", false) => Some(Type::Int),
        ("string", false) | ("format" | "join", true) => Some(Type::String),
        (operators::CONDITIONAL, false) => of(1).filter(|first| of(2) == Some(*first)),
        (operators::ADD, false) => match (of(0)?, of(1)?) {
            (Type::Dyn, other) | (other, Type::Dyn) => Some(other),
            (first, second) => Some(first).filter(|first| *first == second),
        },
        (operators::INDEX, false) => of(0).filter(|of| *of == Type::Dyn),
        _ => None,
    }
}
