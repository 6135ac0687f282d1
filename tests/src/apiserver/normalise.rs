//! Removing from answers what differs between any two servers.

use regex::Regex;
use serde_json::{Map, Value};

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
    (
        r"((?i:resource ?version):? +\(?)\d+( \(\d+\))?",
        "${1}VERSION",
    ),
    (
        r"(ResourceVersion: )\d+(, Current: )\d+",
        "${1}VERSION${2}VERSION",
    ),
    (r"\(\d+ \(\d+\)\)", "(VERSION)"),
    (r"(ResourceVersion in record \()\d+", "${1}VERSION"),
    (
        r"(Too large resource version: \w+, current: )\d+",
        "${1}VERSION",
    ),
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
                let named = std::mem::take(members).into_iter();
                members.extend(named.map(|(name, mut value)| {
                    self.member(&name, &mut value);
                    (self.text(&name), value)
                }));
                match members.get("kind").and_then(Value::as_str) {
                    Some("Table") => ages(members),
                    Some("Status") => order_causes(members),
                    Some("APIResourceList") => order_resources(members),
                    _ => {}
                }
                order_managers(members);
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

/// Ages in cells of tables. Of the tables of a watch only the first has titles, so there what looks
/// like an age of seconds is one.
fn ages(table: &mut Map<String, Value>) {
    let titles = table.get("columnDefinitions").and_then(Value::as_array);
    let ages: Option<Vec<usize>> = titles.map(|titles| {
        let ages = titles.iter().enumerate();
        ages.filter(|(_, column)| column["name"] == "Age")
            .map(|(index, _)| index)
            .collect()
    });
    let rows = table.get_mut("rows").and_then(Value::as_array_mut);
    for row in rows.into_iter().flatten() {
        let cells = row["cells"].as_array_mut().into_iter().flatten();
        for (index, cell) in cells.enumerate() {
            let is_age = match &ages {
                Some(ages) => ages.contains(&index),
                None => is_seconds(cell),
            };
            if is_age {
                *cell = Value::from("AGE");
            }
        }
    }
}

fn is_seconds(cell: &Value) -> bool {
    let number = cell.as_str().and_then(|text| text.strip_suffix('s'));
    number.is_some_and(|number| number.parse::<u8>().is_ok())
}

/// Causes by what they say, so that one more does not shift the others: kube-apiserver checks the
/// fields of an object in the order of a Go map, which is another one each time.
fn order_causes(status: &mut Map<String, Value>) {
    let causes = status
        .get_mut("details")
        .and_then(|details| details.get_mut("causes"))
        .and_then(Value::as_array_mut);
    let Some(causes) = causes else {
        return;
    };
    causes.sort_by_cached_key(said);
    let mut said: Vec<String> = causes.iter().map(said).collect();
    let mut reasons = Map::new();
    for (said, cause) in said.iter().zip(causes.iter_mut()) {
        let reasons = reasons
            .entry(said)
            .or_insert_with(|| Value::Array(Vec::new()));
        reasons
            .as_array_mut()
            .into_iter()
            .for_each(|reasons| reasons.push(cause["reason"].take()));
    }
    said.dedup();
    if let Some(details) = status.get_mut("details") {
        details["causes"] = reasons.into();
    }
    let message = status.get("message").and_then(Value::as_str);
    let Some((what, found)) = message.and_then(|message| message.split_once(" is invalid: ["))
    else {
        return;
    };
    // The same texts in another order, and no others.
    let ordered = format!("{}]", said.join(", "));
    if ordered.len() == found.len() && said.iter().all(|one| found.contains(one.as_str())) {
        let message = format!("{what} is invalid: [{ordered}");
        status.insert("message".to_owned(), message.into());
    }
}

/// kube-apiserver lists the resources that definitions define in the order of a Go map.
fn order_resources(list: &mut Map<String, Value>) {
    let resources = list.get_mut("resources").and_then(Value::as_array_mut);
    if let Some(resources) = resources {
        resources.sort_by_cached_key(|resource| resource["name"].to_string());
    }
}

fn said(cause: &Value) -> String {
    let text = |name: &str| cause[name].as_str().unwrap_or_default();
    format!("{}: {}", text("field"), text("message"))
}

/// Managers are in the order of the second in which they wrote, which may be the same for both or
/// not.
fn order_managers(metadata: &mut Map<String, Value>) {
    let managers = metadata.get_mut("managedFields");
    let Some(managers) = managers.and_then(Value::as_array_mut) else {
        return;
    };
    managers.sort_by_cached_key(|entry| {
        ["operation", "manager", "apiVersion", "subresource"]
            .map(|name| entry[name].as_str().unwrap_or_default().to_owned())
    });
}
