//! How deep an expression nests, seen from its text alone.
//!
//! The parser and the interpreter call themselves once for each level, so this must be known before
//! they see it.

/// An upper bound of how many levels the expression has: brackets and operators that hold others.
/// Chains of `&&` and `||` are balanced by the parser and count as one.
pub(super) fn levels(text: &str) -> usize {
    let mut open: Vec<Group> = Vec::new();
    let mut group = Group::default();
    let mut rest = text;
    let mut previous = ' ';
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '\'' | '"' => {
                let prefix = &text[..text.len() - rest.len()];
                string_end(rest, character, is_raw(prefix))
            }
            '/' if after.starts_with('/') => after.split_once('\n').map_or("", |(_, rest)| rest),
            '(' | '[' | '{' => {
                open.push(std::mem::take(&mut group));
                after
            }
            ')' | ']' | '}' => {
                let depth = group.finish() + 1;
                group = open.pop().unwrap_or_default();
                // What follows a bracket may be applied to what it holds.
                group.operators += 1;
                group.deepest_inside = group.deepest_inside.max(depth);
                after
            }
            '&' | '|' if previous == character => {
                group.end_operand();
                after
            }
            ',' => {
                group.end_part();
                after
            }
            '?' => {
                group.conditions += 1;
                group.end_operand();
                after
            }
            ':' => {
                group.end_operand();
                after
            }
            '+' | '-' | '*' | '/' | '%' | '!' | '.' | '<' | '>' | '=' => {
                group.operators += 1;
                after
            }
            // The word `in`; any other word of these letters counts for nothing worse.
            'n' if previous == 'i' => {
                group.operators += 1;
                after
            }
            _ => after,
        };
        previous = character;
    }
    let mut depth = group.finish();
    while let Some(mut outer) = open.pop() {
        outer.deepest_inside = outer.deepest_inside.max(depth + 1);
        depth = outer.finish();
    }
    depth
}

/// Whether `!` or `-` stands twice in a row. The parser of `cel` 0.13 takes an even number of them for
/// one, and reads what follows twice: in time exponential in how often this nests.
pub(super) fn has_double_sign(text: &str) -> bool {
    let mut rest = text;
    let mut previous = ' ';
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '\'' | '"' => {
                let prefix = &text[..text.len() - rest.len()];
                string_end(rest, character, is_raw(prefix))
            }
            '/' if after.starts_with('/') => {
                rest = after.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            _ if character.is_whitespace() => {
                rest = after;
                continue;
            }
            '!' | '-' if previous == character => return true,
            _ => after,
        };
        previous = character;
    }
    false
}

/// What stands between two brackets.
#[derive(Default)]
struct Group {
    /// Since the last `&&`, `||`, `?`, `:` or comma.
    operators: usize,
    deepest_inside: usize,
    /// Since the last comma.
    conditions: usize,
    deepest_operand: usize,
    deepest_part: usize,
}

impl Group {
    fn end_operand(&mut self) {
        self.deepest_operand = self
            .deepest_operand
            .max(self.operators + self.deepest_inside);
        self.operators = 0;
        self.deepest_inside = 0;
    }

    fn end_part(&mut self) {
        self.end_operand();
        self.deepest_part = self
            .deepest_part
            .max(self.deepest_operand + self.conditions);
        self.deepest_operand = 0;
        self.conditions = 0;
    }

    fn finish(&mut self) -> usize {
        self.end_part();
        self.deepest_part
    }
}

/// Where the string ends that begins with a quote at a place of a text.
pub(super) fn string_end_at(text: &str, at: usize, quote: char) -> usize {
    text.len() - string_end(&text[at..], quote, is_raw(&text[..at])).len()
}

/// Whether a string that follows has an `r` before it that is no end of a word.
fn is_raw(before: &str) -> bool {
    let word = before.trim_end_matches(['r', 'R', 'b', 'B']);
    let prefix = &before[word.len()..];
    let is_word = word.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    !is_word && prefix.len() <= 2 && prefix.contains(['r', 'R'])
}

/// What follows the string at the start of `text`.
fn string_end(text: &str, quote: char, raw: bool) -> &str {
    let triple = [quote; 3].iter().collect::<String>();
    let (end, mut rest) = match text.strip_prefix(&triple) {
        Some(rest) => (triple.as_str(), rest),
        None => (&triple[..1], &text[1..]),
    };
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            return after;
        }
        let mut characters = rest.chars();
        match characters.next() {
            None => return "",
            Some('\\') if !raw => {
                characters.next();
            }
            Some(_) => {}
        }
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chains_and_brackets_count_and_strings_do_not() {
        let table = [
            ("self", 0..=0),
            ("self.a > 1 && self.b > 1 && self.c > 1", 2..=2),
            ("((((1))))", 4..=9),
            ("1+1+1+1", 3..=3),
            ("a ? b : c ? d : e", 2..=2),
            ("'((((' == \"[[[[\"", 2..=2),
            (r"'\'((((('", 0..=0),
            (r"r'\' + ((1))", 3..=6),
            ("'''((('(((''' + 1", 1..=1),
            ("f(a, b.c, d.e.f)", 1..=4),
            ("1 // ((((\n + 1", 1..=1),
        ];
        for (text, expected) in table {
            assert!(expected.contains(&levels(text)), "{text}: {}", levels(text));
        }
        assert!(levels(&"(".repeat(1000)) >= 1000);
        assert!(levels(&"!".repeat(1000)) >= 1000);
        assert!(levels(&"1+".repeat(1000)) >= 1000);
        assert!(levels(&"a?a:".repeat(1000)) >= 1000);
        assert!(levels(&"a.".repeat(1000)) >= 1000);
        assert!(levels(&"1 in ".repeat(1000)) >= 1000);
        assert!(levels(&"a[0]".repeat(1000)) >= 1000);
    }

    #[test]
    fn double_signs_are_found() {
        for text in ["!!a", "! // no\n !a", "a - -1", "--a", "a in --b"] {
            assert!(has_double_sign(text), "{text}");
        }
        for text in [
            "!a",
            "a != !b",
            "-a - b",
            "'!!' == \"--\"",
            "!(!a)",
            "a // !!",
        ] {
            assert!(!has_double_sign(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", code in "[a-z'\"rb\\\\()\\[\\]{}?:&|,.+ /!\n]{0,60}") {
            for text in [text, code] {
                levels(&text);
                has_double_sign(&text);
            }
        }
    }
}
