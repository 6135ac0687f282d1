//! The parameters of a request by name, and the numbers in them.

use crate::error::ApiError;
use std::collections::HashMap;
use std::num::{IntErrorKind, ParseIntError};

/// The parameters by name. The first value of a name counts where one is wanted.
pub(super) struct Parameters(HashMap<String, Vec<String>>);

impl Parameters {
    pub(super) fn parse(query: &str) -> Self {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let values = values.entry(name.into_owned()).or_default();
            values.push(value.into_owned());
        }
        Self(values)
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.0.get(name).into_iter().flatten();
        values.map(String::as_str)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// Everything but `false` and `0` counts as yes, as upstream has it.
    pub(super) fn flag(&self, name: &str) -> bool {
        let value = self.all(name).next();
        value.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.text(name) {
            "" => Ok(None),
            text => match whole_number(text) {
                Ok(number) => Ok(Some(number)),
                Err(why) => Err(ApiError::bad_request(why)),
            },
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A number as upstream reads it, or why it is none.
pub(crate) fn whole_number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| {
        let why = unreadable(&error);
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

/// Why a text is no number, in upstream's words.
pub(super) fn unreadable(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}
