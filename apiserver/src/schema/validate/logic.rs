//! `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::Value;

use super::{Outcome, Part, node};
use crate::schema::notation::quote;
use crate::schema::{Checks, Clause, Schema};

/// Checks how many clauses hold. The value's path is the same for all of them.
pub(super) fn check(
    checks: &Checks,
    spine: &Schema,
    new: &Value,
    old: Option<&Value>,
    path: &str,
    outcome: &mut Outcome,
) {
    // What is unchanged is let pass by the value as a whole, not clause by clause: a clause that
    // fails must count as failed.
    let ask = |clause: &Clause| node(Part::Clause(clause), spine, new, old_below(old, new), path);
    any_of(&checks.any_of, ask, path, outcome);
    one_of(&checks.one_of, ask, path, outcome);
    all_of(&checks.all_of, ask, path, outcome);
    if let Some(clause) = &checks.not
        && ask(clause).is_valid()
    {
        outcome.composite(format!(
            "{} must not validate the schema (not)",
            quote(path)
        ));
    }
    outcome.right += 1;
}

/// The old value as far as it says what parts of the new one had before.
fn old_below<'a>(old: Option<&'a Value>, new: &Value) -> Option<&'a Value> {
    old.filter(|old| *old != new)
}

fn any_of(clauses: &[Clause], ask: impl Fn(&Clause) -> Outcome, path: &str, outcome: &mut Outcome) {
    let mut best: Option<Outcome> = None;
    for clause in clauses {
        let one = ask(clause);
        if one.is_valid() {
            outcome.merge(one);
            return;
        }
        if best.as_ref().is_none_or(|best| one.right > best.right) {
            best = Some(one);
        }
    }
    if let Some(best) = best {
        outcome.composite(format!(
            "{} must validate at least one schema (anyOf)",
            quote(path)
        ));
        outcome.merge(best);
    }
}

fn one_of(clauses: &[Clause], ask: impl Fn(&Clause) -> Outcome, path: &str, outcome: &mut Outcome) {
    if clauses.is_empty() {
        return;
    }
    let (mut best, mut first): (Option<Outcome>, Option<Outcome>) = (None, None);
    let mut holding = 0;
    for clause in clauses {
        let one = ask(clause);
        if one.is_valid() {
            holding += 1;
            first.get_or_insert(one);
        } else if best.as_ref().is_none_or(|best| one.right > best.right) {
            best = Some(one);
        }
    }
    let found = match holding {
        0 => "Found none valid".to_owned(),
        1 => {
            outcome.merge(first.unwrap_or_default());
            return;
        }
        _ => format!("Found {holding} valid alternatives"),
    };
    let path = quote(path);
    outcome.composite(format!(
        "{path} must validate one and only one schema (oneOf). {found}"
    ));
    if let (0, Some(best)) = (holding, best) {
        outcome.merge(best);
    }
}

fn all_of(clauses: &[Clause], ask: impl Fn(&Clause) -> Outcome, path: &str, outcome: &mut Outcome) {
    let mut holding = 0;
    for clause in clauses {
        let one = ask(clause);
        holding += usize::from(one.is_valid());
        outcome.merge(one);
    }
    if holding < clauses.len() {
        let none = if holding == 0 { ". None validated" } else { "" };
        outcome.composite(format!(
            "{} must validate all the schemas (allOf){none}",
            quote(path)
        ));
    }
}
