//! Selectors of labels: `a=b,c!=d,e in (f,g),!h,i>1`.

use crate::names;
use crate::schema::FieldError;
use std::collections::BTreeSet;
use std::str::FromStr;

/// Longest text of a selector, in bytes.
pub(super) const MAX_LENGTH: usize = 64 * 1024;

/// Most requirements of a selector: each is asked of every object.
pub(super) const MAX_REQUIREMENTS: usize = 1000;

/// Requirements that the labels of an object must all meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// The text is no selector.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LabelSelectorError {
    /// The text is too long.
    #[error("the selector is longer than {MAX_LENGTH} bytes")]
    Length,
    /// There are too many requirements.
    #[error("the selector has more than {MAX_REQUIREMENTS} requirements")]
    Requirements,
    /// The text breaks the grammar.
    #[error("found '{found}'{comma}expected: {expected}")]
    Syntax {
        /// What is there; empty at the end of the text.
        found: String,
        /// What could be there.
        expected: &'static str,
        /// What upstream has between the two.
        comma: &'static str,
    },
    /// A key or a value is none.
    #[error(transparent)]
    Invalid(FieldError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

/// What must hold for the value of a key. The negative tests hold where the key is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Above(i64),
    Below(i64),
}

impl LabelSelector {
    /// Whether every object is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels meet the requirements; `value` looks up the value of a key.
    pub fn selects<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0
            .iter()
            .all(|requirement| requirement.test.holds(value(&requirement.key)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_one_of =
            |values: &BTreeSet<String>| value.is_some_and(|value| values.contains(value));
        let number = || value?.parse::<i64>().ok();
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Above(limit) => number().is_some_and(|number| number > *limit),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        if text.len() > MAX_LENGTH {
            return Err(LabelSelectorError::Length);
        }
        let mut rest = Tokens(text);
        let mut requirements = Vec::new();
        if rest.peek() == Token::End {
            return Ok(Self::default());
        }
        loop {
            if requirements.len() == MAX_REQUIREMENTS {
                return Err(LabelSelectorError::Requirements);
            }
            requirements.push(requirement(&mut rest)?);
            match rest.take() {
                Token::End => return Ok(Self(requirements)),
                Token::Comma => {}
                other => return Err(other.unexpected("',' or 'end of string'")),
            }
        }
    }
}

fn requirement(rest: &mut Tokens<'_>) -> Result<Requirement, LabelSelectorError> {
    let absent = rest.peek() == Token::Not;
    if absent {
        rest.take();
    }
    let key = match rest.take() {
        Token::Word(word) => word,
        other if absent => return Err(other.unexpected("identifier")),
        other => return Err(other.unexpected("!, identifier, or 'end of string'")),
    };
    names::qualified(key).map_err(|rule| invalid("", key, rule))?;
    let test = if absent {
        Test::Absent
    } else {
        test(key, rest)?
    };
    Ok(Requirement {
        key: key.to_owned(),
        test,
    })
}

fn test(key: &str, rest: &mut Tokens<'_>) -> Result<Test, LabelSelectorError> {
    if matches!(rest.peek(), Token::End | Token::Comma) {
        return Ok(Test::Exists);
    }
    Ok(match rest.take() {
        Token::Equals => Test::In([value(key, rest)?].into()),
        Token::Differs => Test::NotIn([value(key, rest)?].into()),
        Token::Word("in") => Test::In(values(key, rest)?),
        Token::Word("notin") => Test::NotIn(values(key, rest)?),
        Token::Above => Test::Above(number(key, rest)?),
        Token::Below => Test::Below(number(key, rest)?),
        other => return Err(other.unexpected("in, notin, =, ==, !=, gt, lt")),
    })
}

/// The value behind an operator. It may be empty.
fn value(key: &str, rest: &mut Tokens<'_>) -> Result<String, LabelSelectorError> {
    match rest.peek() {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(word) => {
            rest.take();
            check_value(key, 0, word)?;
            Ok(word.to_owned())
        }
        other => Err(other.unexpected("identifier")),
    }
}

fn number(key: &str, rest: &mut Tokens<'_>) -> Result<i64, LabelSelectorError> {
    let text = value(key, rest)?;
    text.parse().map_err(|_| {
        let rule = "for 'Gt', 'Lt' operators, the value must be an integer";
        invalid("values[0]", &text, rule.into())
    })
}

fn check_value(key: &str, at: usize, value: &str) -> Result<(), LabelSelectorError> {
    let place = || format!("values[{at}][{key}]");
    names::label_value(value).map_err(|rule| invalid(&place(), value, rule))
}

fn values(key: &str, rest: &mut Tokens<'_>) -> Result<BTreeSet<String>, LabelSelectorError> {
    match rest.take() {
        Token::Open => {}
        other => {
            return Err(LabelSelectorError::Syntax {
                found: other.text().to_owned(),
                expected: "'('",
                comma: " ",
            });
        }
    }
    let mut values = BTreeSet::new();
    loop {
        match rest.peek() {
            Token::Word(word) => {
                rest.take();
                check_value(key, values.len(), word)?;
                values.insert(word.to_owned());
            }
            Token::Comma | Token::Close => drop(values.insert(String::new())),
            other => return Err(other.unexpected("',', ')' or identifier")),
        }
        match rest.take() {
            Token::Comma => {}
            Token::Close => return Ok(values),
            other => return Err(other.unexpected("',' or ')'")),
        }
    }
}

fn invalid(place: &str, text: &str, rule: String) -> LabelSelectorError {
    LabelSelectorError::Invalid(FieldError::invalid(place, text, rule))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Equals,
    Differs,
    Above,
    Below,
    Not,
    Comma,
    Open,
    Close,
    End,
}

impl<'a> Token<'a> {
    fn unexpected(self, expected: &'static str) -> LabelSelectorError {
        LabelSelectorError::Syntax {
            found: self.text().to_owned(),
            expected,
            comma: ", ",
        }
    }

    fn text(self) -> &'a str {
        match self {
            Self::Word(word) => word,
            Self::Equals => "=",
            Self::Differs => "!=",
            Self::Above => ">",
            Self::Below => "<",
            Self::Not => "!",
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::End => "",
        }
    }
}

/// What of the text was not read yet.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn peek(&self) -> Token<'a> {
        self.next().0
    }

    fn take(&mut self) -> Token<'a> {
        let (token, rest) = self.next();
        self.0 = rest;
        token
    }

    fn next(&self) -> (Token<'a>, &'a str) {
        let text = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        for (symbol, token) in [
            ("==", Token::Equals),
            ("!=", Token::Differs),
            ("=", Token::Equals),
            (">", Token::Above),
            ("<", Token::Below),
            ("!", Token::Not),
            (",", Token::Comma),
            ("(", Token::Open),
            (")", Token::Close),
        ] {
            if let Some(rest) = text.strip_prefix(symbol) {
                return (token, rest);
            }
        }
        let end = text
            .find([' ', '\t', '\r', '\n', '=', '!', '>', '<', ',', '(', ')'])
            .unwrap_or(text.len());
        match text.split_at(end) {
            ("", rest) => (Token::End, rest),
            (word, rest) => (Token::Word(word), rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str) -> bool {
        let labels = [("env", "prod"), ("tier", ""), ("n", "7")];
        let value = |key: &str| {
            labels
                .iter()
                .find(|label| label.0 == key)
                .map(|label| label.1)
        };
        selector.parse::<LabelSelector>().unwrap().selects(value)
    }

    #[test]
    fn every_operator_selects() {
        for (selector, expected) in [
            ("", true),
            ("env", true),
            ("!env", false),
            ("!other", true),
            ("env=prod", true),
            ("env == prod , tier", true),
            ("env=prod,tier=,n>6", true),
            ("env!=prod", false),
            ("other!=prod", true),
            ("env in (dev, prod)", true),
            ("env in ()", false),
            ("tier in ()", true),
            ("env notin (dev,test)", true),
            ("other notin (dev)", true),
            ("n>7", false),
            ("n<8", true),
            ("env<8", false),
            ("in in (notin)", false),
        ] {
            assert_eq!(selects(selector), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for bad in [
            "=a",
            "a=b=c",
            "a in b",
            "a in (b",
            "a in (b c)",
            ",",
            "a,,b",
            "!",
            "a b",
            "a>x",
            "a/=b",
            "-a",
            "a=-",
            "!a=b",
            "(",
            "a!",
        ] {
            assert!(bad.parse::<LabelSelector>().is_err(), "{bad}");
        }
        let twice = "!!".parse::<LabelSelector>().unwrap_err().to_string();
        assert_eq!(twice, "found '!', expected: identifier");
    }

    #[test]
    fn a_selector_has_bounds() {
        let long = "a".repeat(MAX_LENGTH + 1);
        assert_eq!(
            long.parse::<LabelSelector>(),
            Err(LabelSelectorError::Length)
        );
        let many = vec!["a"; MAX_REQUIREMENTS + 1].join(",");
        let refused = many.parse::<LabelSelector>();
        assert_eq!(refused, Err(LabelSelectorError::Requirements));
        let values = format!("env in ({},prod)", vec!["x"; 20_000].join(","));
        assert!(selects(&values));
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String) {
            let _ = text.parse::<LabelSelector>();
        }
    }
}
