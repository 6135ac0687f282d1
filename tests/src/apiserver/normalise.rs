//! Removing from answers what differs between any two servers.

use regex::Regex;
use serde_json::Value;

/// Members whose values are given by a server, and what they become.
const GIVEN: &[(&str, &str)] = &[
    ("uid", "UID"),
    ("resourceVersion", "VERSION"),
    ("creationTimestamp", "TIME"),
    ("deletionTimestamp", "TIME"),
    ("lastTransitionTime", "TIME"),
    ("time", "TIME"),
    ("continue", "CONTINUE"),
    ("serverAddress", "SERVER"),
];

const RULES: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "UID",
    ),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    // The random end of a name that the API server generates (apimachinery, util/rand).
    (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-RANDOM"),
    (r"(resource ?[vV]ersion:? \(?)\d+( \(\d+\))?", "${1}VERSION"),
    (
        r"(ResourceVersion: )\d+(, Current: )\d+",
        "${1}VERSION${2}VERSION",
    ),
    (r"\(\d+ \(\d+\)\)", "(VERSION)"),
    (r"\?hash=[0-9A-Za-z]+", "?hash=HASH"),
];

/// Removes it.
pub(super) struct Normaliser(Vec<(Regex, &'static str)>);

impl Normaliser {
    pub(super) fn new() -> anyhow::Result<Self> {
        let compile = |&(pattern, replacement): &(&str, &'static str)| {
            Ok::<_, regex::Error>((Regex::new(pattern)?, replacement))
        };
        Ok(Self(RULES.iter().map(compile).collect::<Result<_, _>>()?))
    }

    pub(super) fn value(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                let is_table = members.get("kind").is_some_and(|kind| kind == "Table");
                for (name, value) in members.iter_mut() {
                    self.member(name, value);
                }
                if is_table {
                    ages(members);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn member(&self, name: &str, value: &mut Value) {
        let given = GIVEN.iter().find(|(given, _)| *given == name);
        match (given, &mut *value) {
            (Some((_, general)), Value::String(text)) if !text.is_empty() => {
                // "0" and what is no time or version at all is worth comparing.
                if text != "0" {
                    *text = (*general).to_owned();
                }
            }
            _ => self.value(value),
        }
    }

    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, replacement) in &self.0 {
            text = pattern.replace_all(&text, *replacement).into_owned();
        }
        text
    }
}

/// Ages in cells of tables.
fn ages(table: &mut serde_json::Map<String, Value>) {
    let titles = table.get("columnDefinitions").and_then(Value::as_array);
    let ages: Vec<usize> = (titles.into_iter().flatten().enumerate())
        .filter(|(_, column)| column["name"] == "Age")
        .map(|(index, _)| index)
        .collect();
    let rows = table.get_mut("rows").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten() {
        for index in &ages {
            if let Some(cell) = row["cells"].get_mut(index) {
                *cell = Value::from("AGE");
            }
        }
    }
}
