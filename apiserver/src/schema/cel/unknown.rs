//! Names that stand for nothing, shown as cel-go shows them.

use super::metered::Unknown;
use super::shape::string_end_at;

/// What is said of the names that an expression uses and that stand for nothing.
pub(super) fn complaint(text: &str, unknown: &[Unknown]) -> String {
    let mut said: Vec<(usize, String)> = Vec::new();
    for name in unknown {
        let (at, what) = match name {
            Unknown::Variable(name) => (
                place(text, name, false),
                format!("undeclared reference to '{name}' (in container '')"),
            ),
            // The dot is what selects it.
            Unknown::Field(name) => (
                place(text, name, true).saturating_sub(1),
                format!("undefined field '{name}'"),
            ),
        };
        let shown = shown(text, at, &what);
        if !said.iter().any(|(_, other)| *other == shown) {
            said.push((at, shown));
        }
    }
    said.sort();
    let said: Vec<_> = said.into_iter().map(|(_, shown)| shown).collect();
    said.join("\n")
}

fn shown(text: &str, at: usize, what: &str) -> String {
    let before = &text[..at];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = text[start..at].chars().count();
    let snippet = text[start..].lines().next().unwrap_or_default();
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{}:{}: {what}\n | {snippet}\n | {dots}^",
        line + 1,
        column + 1
    )
}

/// Where a word stands in a text, outside of strings: behind a dot, or not.
fn place(text: &str, word: &str, behind_dot: bool) -> usize {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut at = 0;
    let mut before = None;
    while let Some(character) = text[at..].chars().next() {
        if matches!(character, '\'' | '"') {
            at = string_end_at(text, at, character);
            before = Some(character);
            continue;
        }
        let starts = !before.is_some_and(is_part) && text[at..].starts_with(word);
        let ends = || !text[at + word.len()..].chars().next().is_some_and(is_part);
        if starts && ends() && (before == Some('.')) == behind_dot {
            return at;
        }
        before = Some(character);
        at += character.len_utf8();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_name_is_shown() {
        let text = "'foo' + a.foo == \"x\" &&\n  foo > 1";
        let found = complaint(text, &[Unknown::Variable("foo".into())]);
        let expected = "ERROR: <input>:2:3: undeclared reference to 'foo' (in container '')\n |   foo > 1\n | ..^";
        assert_eq!(found, expected);
        let found = complaint("variables.a", &[Unknown::Field("a".into())]);
        let expected = "ERROR: <input>:1:10: undefined field 'a'\n | variables.a\n | .........^";
        assert_eq!(found, expected);
    }
}
