//! Expressions outside of schemas, over variables that are given when they are evaluated.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Value as CelValue};
use serde_json::Value;

use super::composed::{Composed, Known, with_variables};
use super::cost::exhausted;
use super::metered::{Names, fields_of};
use super::program::{Tree, compile};
use super::run::{Budget, Outcome, describe};
use super::types::{Type, type_of};

/// An expression, compiled.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    tree: Tree,
    result: Option<Type>,
}

/// How an evaluation of several expressions went on.
#[derive(Debug)]
pub(crate) enum Evaluated {
    /// It has this value.
    Value(CelValue),
    /// It has none; why, in the words of cel-go.
    Failed(String),
    /// There is nothing left to be spent.
    OutOfBudget,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, in kube-apiserver's words.
    pub(crate) fn new(text: &str, names: Names<'_>) -> Result<Self, String> {
        let compiled = compile(text, names).map_err(|why| format!("compilation failed: {why}"))?;
        Ok(Self {
            text: text.to_owned(),
            result: type_of(&compiled.parsed, names),
            tree: compiled.tree,
        })
    }

    /// The same, for one whose result must be of one of these types. One that nobody can tell
    /// before it is evaluated passes.
    ///
    /// # Errors
    /// What is wrong with it, in kube-apiserver's words.
    pub(crate) fn of_type(text: &str, names: Names<'_>, wanted: &[Type]) -> Result<Self, String> {
        let expression = Self::new(text, names)?;
        match (expression.result, wanted) {
            (None, _) => Ok(expression),
            (Some(found), wanted) if wanted.contains(&found) => Ok(expression),
            (Some(found), [one]) => Err(format!("must evaluate to {one} but got {found}")),
            (Some(found), several) => {
                let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                let several = several.join(" ");
                Err(format!(
                    "must evaluate to one of [{several}] but got {found}"
                ))
            }
        }
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How deep it nests, with the variables that it asks for.
    pub(crate) fn levels(&self) -> usize {
        self.tree.levels
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// Values of variables for the evaluation of several expressions, which together may cost so much.
pub(crate) struct Evaluation {
    scope: Context<'static>,
    composed: Arc<Composed>,
    known: Known,
    budget: Budget,
}

impl Evaluation {
    /// An evaluation with functions, and with `variables.x` by their names.
    pub(crate) fn new(
        functions: &'static Context<'static>,
        composed: &Arc<Composed>,
        limit: i64,
    ) -> Self {
        Self {
            scope: functions.new_inner_scope(),
            composed: Arc::clone(composed),
            known: Known::new(),
            budget: Budget::of(limit),
        }
    }

    /// Gives a variable its value.
    pub(crate) fn set(&mut self, name: &str, value: CelValue) {
        self.scope.add_variable_from_value(name, value);
    }

    /// The same for one that may be null.
    pub(crate) fn set_nullable(&mut self, name: &str, value: CelValue) {
        let fields = match &value {
            CelValue::Null => CelValue::Map(Map {
                map: Arc::new(HashMap::new()),
            }),
            value => value.clone(),
        };
        self.set(&fields_of(name), fields);
        self.set(name, value);
    }

    /// Evaluates.
    pub(crate) fn evaluate(&mut self, expression: &Expression) -> Evaluated {
        let outcome = with_variables(&self.composed, &mut self.known, || {
            self.budget.evaluate(&expression.tree, &self.scope)
        });
        let error = match outcome {
            Outcome::Value(value) => return Evaluated::Value(value),
            Outcome::BudgetSpent => return Evaluated::OutOfBudget,
            Outcome::Failed(error) => error,
            Outcome::TooCostly => exhausted(),
        };
        let (text, error) = (&expression.text, describe(&error));
        Evaluated::Failed(format!("expression '{text}' resulted in error: {error}"))
    }

    /// From now on, this may be spent. No variable is known.
    pub(crate) fn allow(&mut self, limit: i64) {
        self.known.clear();
        self.budget = Budget::of(limit);
    }
}

/// JSON as CEL sees it where no schema says more. Bodies nest only so deep, and so does this.
pub(crate) fn plain(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => CelValue::Int(integer),
            None => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(plain).collect())),
        Value::Object(fields) => {
            let entries = fields.iter();
            let entries =
                entries.map(|(name, field)| (Key::String(Arc::new(name.clone())), plain(field)));
            CelValue::Map(Map {
                map: Arc::new(entries.collect()),
            })
        }
    }
}
