//! The fields that an expression names.
//!
//! There is no type checker: this finds the fault that is most often made, a field that there is not.

use kube_cel::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

use crate::schema::{Kind, Schema};

/// The most levels of an expression that are looked through: more than the parser takes.
const MAX_LEVELS: usize = 1000;

/// Paths of fields below `self` and `oldSelf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<Vec<String>>);

impl Fields {
    /// Those that an expression names.
    pub(super) fn of(expression: &IdedExpr) -> Self {
        let mut fields = Self::default();
        fields.collect(expression, MAX_LEVELS);
        fields
    }

    /// The first name that is no field of a value with that schema.
    pub(crate) fn undefined(&self, schema: &Schema) -> Option<&str> {
        let mut paths = self.0.iter();
        paths.find_map(|path| undefined(schema, path))
    }

    fn collect(&mut self, expression: &IdedExpr, levels: usize) {
        let Some(levels) = levels.checked_sub(1) else {
            return;
        };
        match &expression.expr {
            Expr::Select(select) => match path(expression) {
                Some(path) => self.0.push(path),
                None => self.collect(&select.operand, levels),
            },
            Expr::Call(call) => {
                let target = call.target.as_deref().into_iter();
                for part in target.chain(&call.args) {
                    self.collect(part, levels);
                }
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.collect(element, levels);
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.collect(&entry.key, levels);
                        self.collect(&entry.value, levels);
                    }
                }
            }
            Expr::Comprehension(loops) => self.collect_loop(loops, levels),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
        }
    }

    fn collect_loop(&mut self, loops: &ComprehensionExpr, levels: usize) {
        self.collect(&loops.iter_range, levels);
        // Inside, the name may stand for something else.
        let second = loops.iter_var2.as_deref();
        if is_root(&loops.iter_var) || second.is_some_and(is_root) {
            return;
        }
        for part in [
            &loops.accu_init,
            &loops.loop_cond,
            &loops.loop_step,
            &loops.result,
        ] {
            self.collect(part, levels);
        }
    }
}

fn is_root(name: &str) -> bool {
    matches!(name, "self" | "oldSelf")
}

/// The names of a selection from `self`.
fn path(expression: &IdedExpr) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut place = expression;
    loop {
        match &place.expr {
            Expr::Select(select) => {
                names.push(select.field.clone());
                place = &select.operand;
            }
            Expr::Ident(name) if is_root(name) => {
                names.reverse();
                return Some(names);
            }
            _ => return None,
        }
    }
}

fn undefined<'a>(mut schema: &Schema, path: &'a [String]) -> Option<&'a str> {
    for (at, name) in path.iter().enumerate() {
        // Names that CEL does not take are written otherwise; every object of the API has some more.
        let is_meta = at == 0 && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        if name.contains("__") || is_meta || schema.embedded_resource {
            return None;
        }
        match &schema.kind {
            Kind::Object { .. } => match schema.field(name) {
                Some(field) => schema = field,
                None => return Some(name),
            },
            Kind::Any | Kind::IntOrString => return None,
            _ => return Some(name),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_cel::cel::Program;
    use serde_json::json;

    fn undefined_in(rule: &str) -> Option<String> {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
            "list": {"type": "array", "items": {"type": "object"}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"x-kubernetes-preserve-unknown-fields": true},
        }}))
        .unwrap();
        let program = Program::compile(rule).unwrap();
        let fields = Fields::of(program.expression());
        fields.undefined(&schema).map(str::to_owned)
    }

    #[test]
    fn fields_that_there_are_not_are_found() {
        for rule in ["self.none == 1", "has(self.a.none)", "self.a.b.none > 1"] {
            assert_eq!(undefined_in(rule).as_deref(), Some("none"), "{rule}");
        }
        let rule = "self.list.all(x, oldSelf.none == x)";
        assert_eq!(undefined_in(rule).as_deref(), Some("none"));
    }

    #[test]
    fn fields_that_there_are_pass() {
        for rule in [
            "self.a.b == 'x' && size(self.list) > 1",
            "self.map.anything == 'x'",
            "has(self.any.thing)",
            "self.metadata.name == 'a'",
            "self.list.all(x, x.anything)",
            "self.a.x__dash__y == 1",
            "[1].all(self, self.none == 1)",
        ] {
            assert_eq!(undefined_in(rule), None, "{rule}");
        }
    }
}
