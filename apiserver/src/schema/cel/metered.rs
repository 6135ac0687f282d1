//! Expressions are changed so that they count what they do.

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::collect::{self, Collecting};
use super::composed::{COMPOSED, Declared, VARIABLES};
use super::cost::{FORMAT, SIZED, SQUARED, STEP};

/// What stands before the dot in the names of functions.
const NAMESPACES: [&str; 14] = [
    "base64",
    "cel",
    "cidr",
    "format",
    "google",
    "ip",
    "jsonpatch",
    "lists",
    "math",
    "optional",
    "regex",
    "semver",
    "sets",
    "strings",
];

/// How many levels the evaluation of a variable in an expression takes besides its own.
const PER_VARIABLE: usize = 4;

/// Types, which may be compared with those of values.
const TYPES: [&str; 12] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// Names that an expression may use for values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names<'a> {
    /// Variables.
    pub(crate) variables: &'a [&'a str],
    /// Those of them that may be null, and whose fields are missing then.
    pub(crate) nullable: &'a [&'a str],
    /// Fields of a variable `variables`, which are expressions themselves.
    pub(crate) composed: &'a [Declared],
}

/// A name that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Variable(String),
    /// Of `variables`.
    Field(String),
}

/// An expression that counts what it does.
pub(super) struct Metered {
    pub(super) expression: IdedExpr,
    /// What it costs besides what it counts: one for each part outside of loops.
    pub(super) weight: i64,
    /// How deep the deepest variable nests that it asks for.
    pub(super) levels: usize,
    pub(super) unknown: Vec<Unknown>,
}

/// The expression that counts what it does. `None` if it makes a message of a protocol buffer, of
/// which there are none.
pub(super) fn metered(expression: &IdedExpr, names: Names<'_>) -> Option<Metered> {
    let mut variables: Vec<String> = names.variables.iter().map(|&name| name.into()).collect();
    if !names.composed.is_empty() {
        variables.push(VARIABLES.into());
    }
    let mut meter = Meter {
        names,
        declared: variables.len(),
        variables,
        weight: 0,
        levels: 0,
        unknown: Vec::new(),
    };
    let expression = meter.expression(expression)?;
    Some(Metered {
        expression,
        weight: meter.weight,
        levels: meter.levels,
        unknown: meter.unknown,
    })
}

/// The name under which a variable that may be null has its fields: none if it is null.
pub(super) fn fields_of(variable: &str) -> String {
    format!("@{variable}")
}

struct Meter<'a> {
    names: Names<'a>,
    /// Names that stand for values; others may be the first part of a function's name.
    variables: Vec<String>,
    /// How many of them are no variables of loops.
    declared: usize,
    /// Of the loop that is looked at, or of what is outside of all.
    weight: i64,
    levels: usize,
    unknown: Vec<Unknown>,
}

impl Meter<'_> {
    fn expression(&mut self, expression: &IdedExpr) -> Option<IdedExpr> {
        self.weight += 1;
        let expr = match &expression.expr {
            Expr::Call(call) => Expr::Call(self.call(call)?),
            Expr::Comprehension(loops) => return self.comprehension(expression.id, loops),
            Expr::List(list) => {
                let mut list = list.clone();
                for element in &mut list.elements {
                    *element = self.copied(element)?;
                }
                Expr::List(list)
            }
            Expr::Map(map) => {
                let mut map = map.clone();
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return None;
                    };
                    entry.key = self.copied(&entry.key)?;
                    entry.value = self.copied(&entry.value)?;
                }
                Expr::Map(map)
            }
            Expr::Select(select) => self.select(select)?,
            Expr::Ident(name) => {
                self.look_up(name);
                expression.expr.clone()
            }
            Expr::Literal(literal) => {
                self.weight += length(literal);
                expression.expr.clone()
            }
            Expr::Struct(_) | Expr::Unspecified => return None,
        };
        Some(IdedExpr {
            id: expression.id,
            expr,
        })
    }

    /// A field of a value that has none is an error, which the interpreter takes for false unless it
    /// is an index.
    fn select(&mut self, select: &SelectExpr) -> Option<Expr> {
        if let Expr::Ident(name) = &select.operand.expr
            && self.is_declared(name)
        {
            let qualified = format!("{name}.{}", select.field);
            if self.names.variables.contains(&qualified.as_str()) {
                return Some(Expr::Ident(qualified));
            }
            if name == VARIABLES {
                return Some(self.composed(&select.field));
            }
            if self.names.nullable.contains(&name.as_str()) && !select.test {
                let operand = IdedExpr {
                    id: select.operand.id,
                    expr: Expr::Ident(fields_of(name)),
                };
                return Some(index(operand, &select.field));
            }
        }
        let operand = self.expression(&select.operand)?;
        if !select.test {
            return Some(index(operand, &select.field));
        }
        let mut select = select.clone();
        select.operand = Box::new(operand);
        Some(Expr::Select(select))
    }

    fn composed(&mut self, field: &str) -> Expr {
        let mut declared = self.names.composed.iter();
        match declared.find(|variable| variable.name == field) {
            Some(variable) => self.levels = self.levels.max(variable.levels + PER_VARIABLE),
            None => self.unknown.push(Unknown::Field(field.to_owned())),
        }
        Expr::Call(CallExpr {
            func_name: COMPOSED.to_owned(),
            target: None,
            args: vec![text(field)],
        })
    }

    /// Whether a name is that of a variable, and of none of a loop.
    fn is_declared(&self, name: &str) -> bool {
        let found = self.variables.iter().rposition(|known| known == name);
        found.is_some_and(|at| at < self.declared)
    }

    fn look_up(&mut self, name: &str) {
        let known = name.starts_with('@')
            || TYPES.contains(&name)
            || self.variables.iter().any(|known| known == name);
        if !known {
            self.unknown.push(Unknown::Variable(name.to_owned()));
        }
    }

    fn call(&mut self, call: &CallExpr) -> Option<CallExpr> {
        let mut metered = call.clone();
        let mut function = call.func_name.clone();
        if let Some(target) = &mut metered.target {
            match self.name(target) {
                Some(first) => function = format!("{first}.{function}"),
                None => **target = self.operand(&function, target)?,
            }
        }
        for argument in &mut metered.args {
            *argument = self.operand(&function, argument)?;
        }
        Some(metered)
    }

    /// The target of a call that is no value but part of the function's name, as in `math.least`.
    fn name<'a>(&self, target: &'a IdedExpr) -> Option<&'a str> {
        match &target.expr {
            Expr::Ident(name)
                if !self.variables.contains(name) && NAMESPACES.contains(&name.as_str()) =>
            {
                Some(name)
            }
            _ => None,
        }
    }

    fn operand(&mut self, function: &str, operand: &IdedExpr) -> Option<IdedExpr> {
        match how_counted(function) {
            None => self.expression(operand),
            Some(SIZED) => self.copied(operand),
            Some(counter) => Some(pass_through(counter, vec![self.expression(operand)?])),
        }
    }

    /// An expression whose value is copied. A literal has been counted as one.
    fn copied(&mut self, expression: &IdedExpr) -> Option<IdedExpr> {
        let metered = self.expression(expression)?;
        Some(match &expression.expr {
            Expr::Literal(_) => metered,
            _ => pass_through(SIZED, vec![metered]),
        })
    }

    /// Each item of what a loop goes through is copied once.
    fn comprehension(&mut self, id: u64, loops: &ComprehensionExpr) -> Option<IdedExpr> {
        let range = self.copied(&loops.iter_range)?;
        let first = self.expression(&loops.accu_init)?;
        let outside = self.variables.len();
        self.variables.push(loops.accu_var.clone());
        self.variables.push(loops.iter_var.clone());
        self.variables.extend(loops.iter_var2.clone());
        let before = std::mem::replace(&mut self.weight, 1);
        let literal = |value| IdedExpr {
            id,
            expr: Expr::Literal(value),
        };
        let expr = if let Some(collecting) = Collecting::of(loops) {
            let condition = match collecting.condition {
                Some(condition) => self.expression(condition)?,
                None => literal(LiteralValue::Boolean(true.into())),
            };
            let element = self.expression(collecting.element)?;
            collect::call(range, &loops.iter_var, [condition, element], self.weight)
        } else {
            let loop_step = self.expression(&loops.loop_step)?;
            let condition = self.expression(&loops.loop_cond)?;
            let weight = literal(LiteralValue::Int(self.weight.into()));
            Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range: range,
                accu_init: first,
                loop_cond: pass_through(STEP, vec![condition, weight]),
                loop_step,
                result: self.expression(&loops.result)?,
                ..loops.clone()
            }))
        };
        self.weight = before;
        self.variables.truncate(outside);
        Some(IdedExpr { id, expr })
    }
}

/// `operand["field"]`, which is `operand.field`.
fn index(operand: IdedExpr, field: &str) -> Expr {
    Expr::Call(CallExpr {
        func_name: operators::INDEX.to_owned(),
        target: None,
        args: vec![operand, text(field)],
    })
}

fn text(text: &str) -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Literal(LiteralValue::String(text.into())),
    }
}

/// What it costs to copy a literal, besides what any part does.
fn length(literal: &LiteralValue) -> i64 {
    let bytes = match literal {
        LiteralValue::String(text) => text.inner().len(),
        LiteralValue::Bytes(bytes) => bytes.inner().len(),
        _ => 0,
    };
    i64::try_from(bytes / 10).unwrap_or(i64::MAX)
}

/// How the operands of a function are counted, if it looks at more than their first part.
fn how_counted(function: &str) -> Option<&'static str> {
    match function {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::CONDITIONAL
        | operators::INDEX => None,
        // Each item of one is compared with each of the other.
        "sets.contains" | "sets.intersects" | "sets.equivalent" | "distinct" => Some(SQUARED),
        "format" => Some(FORMAT),
        _ => Some(SIZED),
    }
}

fn pass_through(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let id = args.first().map_or(0, |first| first.id);
    let call = CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    };
    IdedExpr {
        id,
        expr: Expr::Call(call),
    }
}
