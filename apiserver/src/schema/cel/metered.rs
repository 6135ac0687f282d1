//! Expressions are changed so that they count what they do.

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, operators,
};

use super::cost::{BEGIN, END, GROWING_STEP, REGEX, SIZED, SQUARED, STEP};

/// The expression that counts what it does. `None` if it makes a message of a protocol buffer, of
/// which there are none.
pub(super) fn metered(expression: &IdedExpr) -> Option<IdedExpr> {
    let variables = vec!["self".to_owned(), "oldSelf".to_owned()];
    Meter { variables }.expression(expression)
}

struct Meter {
    /// Names that stand for values; others may be the first part of a function's name.
    variables: Vec<String>,
}

impl Meter {
    fn expression(&mut self, expression: &IdedExpr) -> Option<IdedExpr> {
        let expr = match &expression.expr {
            Expr::Call(call) => Expr::Call(self.call(call)?),
            Expr::Comprehension(loops) => return self.comprehension(expression.id, loops),
            Expr::List(list) => {
                let mut list = list.clone();
                for element in &mut list.elements {
                    *element = self.expression(element)?;
                }
                Expr::List(list)
            }
            Expr::Map(map) => {
                let mut map = map.clone();
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return None;
                    };
                    entry.key = self.expression(&entry.key)?;
                    entry.value = self.expression(&entry.value)?;
                }
                Expr::Map(map)
            }
            Expr::Select(select) => {
                let mut select = select.clone();
                select.operand = Box::new(self.expression(&select.operand)?);
                Expr::Select(select)
            }
            Expr::Ident(_) | Expr::Literal(_) => expression.expr.clone(),
            Expr::Struct(_) | Expr::Unspecified => return None,
        };
        Some(IdedExpr {
            id: expression.id,
            expr,
        })
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
            Expr::Ident(name) if !self.variables.contains(name) => Some(name),
            _ => None,
        }
    }

    fn operand(&mut self, function: &str, operand: &IdedExpr) -> Option<IdedExpr> {
        let metered = self.expression(operand)?;
        Some(match (how_counted(function), &operand.expr) {
            (None, _) => metered,
            (Some(SIZED), Expr::Literal(_)) => metered,
            (Some(counter), _) => pass_through(counter, metered),
        })
    }

    fn comprehension(&mut self, id: u64, loops: &ComprehensionExpr) -> Option<IdedExpr> {
        let mut counted = loops.clone();
        counted.iter_range = self.expression(&loops.iter_range)?;
        counted.accu_init = pass_through(BEGIN, self.expression(&loops.accu_init)?);
        let outside = self.variables.len();
        self.variables.push(loops.accu_var.clone());
        self.variables.push(loops.iter_var.clone());
        self.variables.extend(loops.iter_var2.clone());
        let (step, grows) = self.step(&loops.loop_step, &loops.accu_var)?;
        let counter = if grows { GROWING_STEP } else { STEP };
        counted.loop_cond = pass_through(counter, self.expression(&loops.loop_cond)?);
        counted.loop_step = step;
        counted.result = pass_through(END, self.expression(&loops.result)?);
        self.variables.truncate(outside);
        Some(IdedExpr {
            id,
            expr: Expr::Comprehension(Box::new(counted)),
        })
    }

    /// What a loop does each time, and whether that is to append to a list. The list is not looked
    /// through for that.
    fn step(&mut self, step: &IdedExpr, accumulator: &str) -> Option<(IdedExpr, bool)> {
        let Expr::Call(call) = &step.expr else {
            return Some((self.expression(step)?, false));
        };
        let mut call = call.clone();
        let appends = call.func_name == operators::ADD
            && call
                .args
                .first()
                .is_some_and(|first| is_variable(first, accumulator));
        if appends {
            for argument in call.args.iter_mut().skip(1) {
                *argument = self.expression(argument)?;
            }
        } else if call.func_name == operators::CONDITIONAL {
            let mut grows = false;
            for argument in &mut call.args {
                let (inner, inner_grows) = self.step(argument, accumulator)?;
                *argument = inner;
                grows |= inner_grows;
            }
            let expr = Expr::Call(call);
            return Some((IdedExpr { id: step.id, expr }, grows));
        } else {
            return Some((self.expression(step)?, false));
        }
        let expr = Expr::Call(call);
        Some((IdedExpr { id: step.id, expr }, true))
    }
}

fn is_variable(expression: &IdedExpr, name: &str) -> bool {
    matches!(&expression.expr, Expr::Ident(found) if found == name)
}

/// How the operands of a function are counted, if it looks at more than their first part.
fn how_counted(function: &str) -> Option<&'static str> {
    match function {
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::CONDITIONAL
        | operators::INDEX
        | operators::OPT_INDEX
        | operators::OPT_SELECT => None,
        // Each item of one is compared with each of the other.
        "sets.contains" | "sets.intersects" | "sets.equivalent" | "distinct" => Some(SQUARED),
        "find" | "findAll" => Some(REGEX),
        _ => Some(SIZED),
    }
}

fn pass_through(function: &str, argument: IdedExpr) -> IdedExpr {
    let id = argument.id;
    let call = CallExpr {
        func_name: function.to_owned(),
        target: None,
        args: vec![argument],
    };
    IdedExpr {
        id,
        expr: Expr::Call(call),
    }
}
