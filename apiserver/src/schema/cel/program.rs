//! Expressions are read once, and changed so that they count what they do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel::{IdedExpr, Program};

use super::fields::Fields;
use super::metered::{Names, metered};
use super::{shape, unknown};

/// The most bytes of an expression. Those of the Gateway API, the longest in wide use, have 2 KB.
/// kube-apiserver takes 100,000 characters, and bounds what they may cost instead.
const MAX_TEXT: usize = 16 << 10;
/// The most levels of an expression. kube-apiserver takes 250; the parser of `cel` takes 96, and
/// panics beyond.
const MAX_LEVELS: usize = 90;
/// The parser's stack. It calls itself about twelve times for each bracket.
const PARSER_STACK: usize = 32 << 20;

/// The programs of a rule.
pub(crate) struct Compiled {
    pub(super) rule: Tree,
    pub(super) message: Option<Tree>,
    fields: Fields,
    uses_old_self: bool,
}

/// Why a rule has no programs.
#[derive(Clone, Debug)]
pub(crate) struct CompileError {
    /// The keyword of the rule that is to blame.
    pub(crate) keyword: &'static str,
    pub(crate) detail: String,
}

impl Compiled {
    pub(super) fn new(rule: &str, message: Option<&str>) -> Result<Self, CompileError> {
        let names = Names {
            variables: &["self", "oldSelf"],
            ..Names::default()
        };
        let compile = |keyword: &'static str, prefix: &str, text: &str| {
            compile(text, names).map_err(|error| CompileError {
                keyword,
                detail: format!("{prefix}compilation failed: {error}"),
            })
        };
        let rule = compile("rule", "", rule)?;
        let message = message
            .map(|text| compile("messageExpression", "messageExpression ", text))
            .transpose()?;
        Ok(Self {
            uses_old_self: rule.parsed.references().has_variable("oldSelf"),
            fields: Fields::of(&rule.parsed),
            rule: rule.tree,
            message: message.map(|message| message.tree),
        })
    }

    /// The fields that the rule names.
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether the rule is about the change of a value.
    pub(crate) fn uses_old_self(&self) -> bool {
        self.uses_old_self
    }
}

/// An expression as it was written, and as it is evaluated.
pub(super) struct Compilation {
    pub(super) parsed: IdedExpr,
    pub(super) tree: Tree,
}

/// An expression as it is evaluated: it counts what it does.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) expression: IdedExpr,
    /// What it costs besides what it counts.
    pub(super) weight: i64,
    /// How deep it nests, with the variables that it asks for.
    pub(super) levels: usize,
}

/// Reads an expression.
pub(super) fn compile(text: &str, names: Names<'_>) -> Result<Compilation, String> {
    if text.len() > MAX_TEXT {
        return Err(format!(
            "expression has {} bytes, may have at most {MAX_TEXT}",
            text.len()
        ));
    }
    let levels = shape::levels(text);
    check_levels(levels)?;
    if shape::has_double_sign(text) {
        return Err("expression has ! or - twice in a row, write (!(!a)) or (-(-a))".to_owned());
    }
    // The parser is not ours: should it panic, the expression is to blame and not the server.
    let parse = || catch_unwind(AssertUnwindSafe(|| parse(text, levels, names)));
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK);
        let parser = parser
            .spawn_scoped(scope, parse)
            .map_err(|error| error.to_string())?;
        parser
            .join()
            .and_then(|result| result)
            .map_err(|_| "expression cannot be read".to_owned())?
    })
}

fn check_levels(levels: usize) -> Result<(), String> {
    if levels <= MAX_LEVELS {
        return Ok(());
    }
    Err(format!(
        "expression nests {levels} levels, may nest at most {MAX_LEVELS}"
    ))
}

fn parse(text: &str, levels: usize, names: Names<'_>) -> Result<Compilation, String> {
    let program = Program::compile(text).map_err(|errors| errors.to_string())?;
    let metered =
        metered(program.expression(), names).ok_or_else(|| "messages cannot be made".to_owned())?;
    if !metered.unknown.is_empty() {
        return Err(unknown::complaint(text, &metered.unknown));
    }
    // A variable is evaluated where it is asked for, on the same stack.
    let levels = levels + metered.levels;
    check_levels(levels)?;
    Ok(Compilation {
        parsed: program.expression().clone(),
        tree: Tree {
            expression: metered.expression,
            weight: metered.weight,
            levels,
        },
    })
}
