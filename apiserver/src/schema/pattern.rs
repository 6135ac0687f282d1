//! Regular expressions in Go's dialect, which is that of Kubernetes.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// The most memory that one compiled expression takes. Go has a like limit (of 128 MB, for a much
/// larger representation); the expressions of Kubernetes' own types take less than 1 MB.
const MAX_SIZE: usize = 4 << 20;
/// The memory that a search may take, if the expression takes less.
const MIN_SEARCH: usize = 256 << 10;
/// How deep groups nest in one expression. Go allows 1000.
const MAX_NESTING: u32 = 250;

/// A regular expression (RE2's syntax) that is searched in time linear in the text.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that it is too large.
    pub fn new(text: &str) -> Result<Self, String> {
        let regex = build(&translate(text)?, MAX_SIZE).map_err(|error| complaint(&error))?;
        Ok(Self {
            text: text.into(),
            regex,
        })
    }

    /// The same, and the most bytes that it takes compiled: `small`, or a multiple.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that it is too large.
    pub fn sized(text: &str, small: usize) -> Result<(Self, usize), String> {
        let translated = translate(text)?;
        let mut size = small;
        loop {
            match build(&translated, size) {
                Ok(regex) => {
                    let text = text.into();
                    return Ok((Self { text, regex }, size));
                }
                Err(regex::Error::CompiledTooBig(_)) if size < MAX_SIZE => {
                    size = MAX_SIZE.min(size.saturating_mul(8));
                }
                Err(error) => return Err(complaint(&error)),
            }
        }
    }

    /// The expression as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found anywhere in `text`.
    #[must_use]
    pub fn is_found_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Where it is found in `text`, from the first place on. The places do not overlap.
    pub fn find_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        self.regex.find_iter(text).map(|found| found.as_str())
    }
}

fn build(translated: &str, size: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(translated)
        .size_limit(size)
        .dfa_size_limit(size.max(MIN_SEARCH))
        .nest_limit(MAX_NESTING)
        .build()
}

fn complaint(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
        other => {
            let text = other.to_string();
            let line = text.lines().last().unwrap_or_default();
            format!(
                "error parsing regexp: {}",
                line.trim().trim_start_matches("error: ")
            )
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pattern({:?})", self.text)
    }
}

/// Says an expression in the `regex` crate's dialect. The two differ where Go's classes are of ASCII,
/// where Go takes a bracket or brace that opens nothing for itself, and in what classes may hold.
fn translate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_class = false;
    let mut repetition = Repetition::None;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        if !in_class {
            let count = repetition_count(rest);
            repetition = repetition.then(character, count.is_some())?;
            if let Some(count) = count {
                check_count(&rest[..count])?;
                out.push_str(&rest[..count]);
                rest = &rest[count..];
                continue;
            }
        }
        rest = match character {
            '\\' => escape(after, in_class, &mut out),
            '[' if in_class => match posix_class(rest)? {
                Some(class) => {
                    out.push_str(class);
                    &rest[class.len()..]
                }
                None => {
                    out.push_str("\\[");
                    after
                }
            },
            '[' => {
                in_class = true;
                open_class(after, &mut out)
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                after
            }
            // Two of these are operators in the crate's classes.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
                after
            }
            '{' if !in_class => {
                out.push_str("\\{");
                after
            }
            _ => {
                out.push(character);
                after
            }
        };
    }
    Ok(out)
}

/// Translates what opens a class after its bracket, and returns what is left.
fn open_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let negated = after.strip_prefix('^');
    if negated.is_some() {
        out.push('^');
    }
    let inside = negated.unwrap_or(after);
    // A bracket right after the opening one does not close it.
    match inside.strip_prefix(']') {
        Some(inside) => {
            out.push_str("\\]");
            inside
        }
        None => inside,
    }
}

/// Translates what follows a backslash, and returns what is left.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(character) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[character.len_utf8()..];
    let class = match character {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\x0c\\r ]",
        'S' => "[^\\t\\n\\x0c\\r ]",
        'b' if !in_class => "(?-u:\\b)",
        'Q' if !in_class => {
            let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return rest;
        }
        // What stands in braces here is a name or a number, and no repetition.
        'p' | 'P' | 'x' if rest.starts_with('{') => {
            let (name, rest) = rest.split_at(rest.find('}').map_or(rest.len(), |end| end + 1));
            out.push('\\');
            out.push(character);
            out.push_str(name);
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(character);
            return rest;
        }
    };
    out.push_str(class);
    rest
}

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The class of a name in a class, such as `[:alpha:]`.
fn posix_class(rest: &str) -> Result<Option<&str>, String> {
    let Some(end) = rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else {
        return Ok(None);
    };
    let class = &rest[..end + 4];
    let name = class[2..end + 2].trim_start_matches('^');
    match POSIX_CLASSES.contains(&name) {
        true => Ok(Some(class)),
        false => Err(format!(
            "error parsing regexp: invalid character class range: `{class}`"
        )),
    }
}

/// How long the repetition in braces is that `rest` begins with.
fn repetition_count(rest: &str) -> Option<usize> {
    let (inside, _) = rest.strip_prefix('{')?.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, "0"));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && is_number(least) && is_number(most)).then_some(inside.len() + 2)
}

/// Go repeats at most 1000 times.
fn check_count(repetition: &str) -> Result<(), String> {
    let numbers = repetition.split(|character: char| !character.is_ascii_digit());
    let fits = |number: &str| number.is_empty() || number.parse::<u32>().is_ok_and(|n| n <= 1000);
    match numbers.into_iter().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "error parsing regexp: invalid repeat count: `{repetition}`"
        )),
    }
}

/// What comes before in an expression: Go repeats no repetition.
#[derive(Clone, Copy, PartialEq)]
enum Repetition {
    None,
    Greedy,
    Lazy,
}

impl Repetition {
    fn then(self, character: char, counted: bool) -> Result<Self, String> {
        match (self, character) {
            (Self::Greedy, '?') => Ok(Self::Lazy),
            (Self::None, '*' | '+' | '?') => Ok(Self::Greedy),
            (Self::None, _) if counted => Ok(Self::Greedy),
            (_, '*' | '+' | '?') => {
                Err("error parsing regexp: invalid nested repetition operator".to_owned())
            }
            _ if counted => {
                Err("error parsing regexp: invalid nested repetition operator".to_owned())
            }
            _ => Ok(Self::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_are_read_as_in_go() {
        let table = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+$", "a_b.c-d", true),
            (r"^[^\s]+$", "a b", false),
            (r"^[a[b]+$", "[ab", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "b", true),
            (r"^[[:alpha:]&&x]+$", "ab&x", true),
            (r"^a{b}$", "a{b}", true),
            (r"^a{2}$", "aa", true),
            (r"^a{2,}$", "aaa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"(?i)^abc$", "ABC", true),
            (r"^\pL+$", "é", true),
            (r"^\p{Greek}+$", "αβ", true),
            (r"^\x{e9}\x{41}+$", "éAA", true),
            (r"^(?:a|b)*?c\*\{2}$", "abc*{2}", true),
            (r"\bfoo\b", "a foo b", true),
            ("x", "axb", true),
        ];
        for (expression, text, found) in table {
            assert_eq!(
                Pattern::new(expression).unwrap().is_found_in(text),
                found,
                "{expression}"
            );
        }
    }

    /// What Go 1.25 says of the same expressions.
    #[test]
    fn expressions_are_taken_and_refused_as_in_go() {
        let taken = [
            "a{,3}", r"\pN", "(?i)a", "(?<n>a)", r"\Qa", "a{2", r"\-", r"\_", "[a&&b]", "a{1000}",
        ];
        let refused = [
            "[[:foo:]]",
            r"[a-\d]",
            "x**",
            "[z-a]",
            "a{1001}",
            r"\C",
            r"\8",
            "[^]",
            r"\é",
        ];
        for expression in taken {
            assert!(Pattern::new(expression).is_ok(), "{expression}");
        }
        for expression in refused {
            assert!(Pattern::new(expression).is_err(), "{expression}");
        }
    }

    #[test]
    fn bad_and_huge_expressions_are_refused() {
        for expression in [
            "(",
            "[a",
            "*",
            r"\",
            r"(?=a)",
            r"\1",
            "(((a{1000}){1000}){1000})",
        ] {
            assert!(Pattern::new(expression).is_err(), "{expression}");
        }
        assert!(Pattern::new(&"(".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_expression_panics(expression in r"[\[\]\\{}()^&~:a-z0-9,QEdws|*+?.-]{0,40}") {
            let _ = Pattern::new(&expression);
        }
    }
}
