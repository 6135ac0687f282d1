//! In what two answers differ.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: `code`, the name of a header, a JSON pointer, or `text`. Items of lists are named, if
    /// they have names.
    pub at: String,
    /// What ours has there.
    pub ours: Option<String>,
    /// What kube-apiserver has there.
    pub theirs: Option<String>,
}

/// Compares two JSON values.
pub fn values(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<Difference>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let both = |key: &String| (key.clone(), (ours.get(key), theirs.get(key)));
            let keys = ours.keys().chain(theirs.keys()).map(both);
            each(at, keys.collect(), found);
        }
        (Value::Array(ours), Value::Array(theirs)) => lists(at, ours, theirs, found),
        // 1 and 1.0 are the same number in JSON.
        (Value::Number(ours), Value::Number(theirs)) if ours.as_f64() == theirs.as_f64() => {}
        _ if ours == theirs => {}
        _ => found.push(Difference {
            at: at.to_owned(),
            ours: Some(ours.to_string()),
            theirs: Some(theirs.to_string()),
        }),
    }
}

/// Compares two texts by lines.
pub fn texts(ours: &str, theirs: &str, found: &mut Vec<Difference>) {
    for change in TextDiff::from_lines(theirs, ours).iter_all_changes() {
        let line = Some(change.value().trim_end().to_owned());
        let (ours, theirs) = match change.tag() {
            ChangeTag::Equal => continue,
            ChangeTag::Insert => (line, None),
            ChangeTag::Delete => (None, line),
        };
        let at = "text".to_owned();
        found.push(Difference { at, ours, theirs });
    }
}

type Pairs<'a> = BTreeMap<String, (Option<&'a Value>, Option<&'a Value>)>;

fn each(at: &str, pairs: Pairs<'_>, found: &mut Vec<Difference>) {
    for (key, pair) in pairs {
        let at = format!("{at}/{key}");
        match pair {
            (Some(ours), Some(theirs)) => values(&at, ours, theirs, found),
            (ours, theirs) => found.push(Difference {
                at,
                ours: ours.map(Value::to_string),
                theirs: theirs.map(Value::to_string),
            }),
        }
    }
}

fn lists(at: &str, ours: &[Value], theirs: &[Value], found: &mut Vec<Difference>) {
    let (our_names, their_names) = (names(ours), names(theirs));
    let (Some(our_names), Some(their_names)) = (our_names, their_names) else {
        let length = ours.len().max(theirs.len());
        let pairs = (0..length).map(|index| {
            let pair = (ours.get(index), theirs.get(index));
            (format!("{index:03}"), pair)
        });
        return each(at, pairs.collect(), found);
    };
    let mut pairs = Pairs::new();
    for (name, value) in our_names.iter().zip(ours) {
        pairs.entry(name.clone()).or_default().0 = Some(value);
    }
    for (name, value) in their_names.iter().zip(theirs) {
        pairs.entry(name.clone()).or_default().1 = Some(value);
    }
    let common = |names: &[String], others: &[String]| {
        let common = names.iter().filter(|name| others.contains(name));
        common.cloned().collect::<Vec<_>>().join(", ")
    };
    let orders = (
        common(&our_names, &their_names),
        common(&their_names, &our_names),
    );
    if orders.0 != orders.1 {
        found.push(Difference {
            at: format!("{at} (order)"),
            ours: Some(orders.0),
            theirs: Some(orders.1),
        });
    }
    each(at, pairs, found);
}

/// What tells one entry of `managedFields` from another.
fn manager(entry: &Value) -> String {
    let fields = ["manager", "operation", "apiVersion", "subresource"];
    let fields = fields.map(|field| entry[field].as_str().unwrap_or_default());
    fields.join(" ").trim_end().to_owned()
}

/// What identifies the items of a list, if something does.
fn names(items: &[Value]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in items {
        let identities = [
            "/name",
            "/metadata/name",
            "/object/metadata/name",
            "/groupVersion",
            "/version",
            "/resource",
            "/subresource",
            "/type",
        ];
        let identity = identities.iter().find_map(|at| item.pointer(at)?.as_str());
        let name = match item.get("manager") {
            Some(_) => manager(item),
            None => identity?.to_owned(),
        };
        if names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_of_lists_are_compared_by_name() {
        let mut found = Vec::new();
        let ours = json!({"groups": [{"name": "a", "size": 1}, {"name": "c"}]});
        let theirs = json!({"groups": [{"name": "b"}, {"name": "a", "size": 2}, {"name": "c"}]});
        values("", &ours, &theirs, &mut found);
        let places: Vec<_> = found.iter().map(|one| one.at.as_str()).collect();
        assert_eq!(places, ["/groups/a/size", "/groups/b"]);
    }

    #[test]
    fn the_order_of_items_counts() {
        let mut found = Vec::new();
        let ours = json!([{"name": "a"}, {"name": "b"}]);
        let theirs = json!([{"name": "b"}, {"name": "a"}]);
        values("", &ours, &theirs, &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].at, " (order)");
    }
}
