//! Paths to fields, as ownership names them.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

use super::go_text;

/// One step from a value to a value in it.
///
/// The order is that of encoded field sets: fields, keys, values, indices. Numbers count as equal
/// by what they are worth: `1` is `1.0`.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// The field of an object with this name.
    Field(String),
    /// The item of a map list whose key fields have these values, sorted by name.
    Key(Vec<(String, Value)>),
    /// The item of a set.
    Value(Value),
    /// The item of a list with this index.
    Index(i64),
}

impl PathElement {
    /// The item of a map list whose key fields have these values, in any order.
    #[must_use]
    pub fn key(mut fields: Vec<(String, Value)>) -> Self {
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self::Key(fields)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for PathElement {}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", in_path(value))?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", in_path(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path from an object to a field in it. Printed as kube-apiserver prints it:
/// `.spec.ports[port=80,protocol="TCP"].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// The path through fields with these names.
    #[must_use]
    pub fn of_fields(names: &[&str]) -> Self {
        let field = |name: &&str| PathElement::Field((*name).to_owned());
        Self(names.iter().map(field).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}

fn compare_keys(a: &[(String, Value)], b: &[(String, Value)]) -> Ordering {
    for ((a_name, a), (b_name, b)) in a.iter().zip(b) {
        let order = a_name.cmp(b_name).then_with(|| compare_values(a, b));
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// Whether two values are the same: numbers by what they are worth, objects whatever the order of
/// their fields.
pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let mut fields = a.iter();
            a.len() == b.len() && fields.all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        _ => a == b,
    }
}

fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let mut orders = a.iter().zip(b).map(|(a, b)| compare_values(a, b));
            let first = orders.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let sorted = |fields: &serde_json::Map<String, Value>| {
                let mut fields: Vec<_> = fields.clone().into_iter().collect();
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                fields
            };
            compare_keys(&sorted(a), &sorted(b))
        }
        _ => rank_of_value(a).cmp(&rank_of_value(b)),
    }
}

fn rank_of_value(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    // JSON has no NaN.
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal)
}

/// A value in a printed path.
fn in_path(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => go_text::quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(in_path).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", in_path(value)))
            .collect(),
        scalar => go_text::plain(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_printed_as_upstream_prints_it() {
        let key = PathElement::key(vec![
            ("protocol".to_owned(), json!("TCP")),
            ("port".to_owned(), json!(80)),
        ]);
        let mut path = Path::of_fields(&["spec", "ports"]);
        path.0.extend([key, PathElement::Field("name".to_owned())]);
        assert_eq!(
            path.to_string(),
            r#".spec.ports[port=80,protocol="TCP"].name"#
        );
        let set = Path(vec![PathElement::Value(json!("a")), PathElement::Index(3)]);
        assert_eq!(set.to_string(), r#"[="a"][3]"#);
    }

    #[test]
    fn numbers_are_equal_by_worth_and_kinds_have_an_order() {
        assert_eq!(PathElement::Value(json!(1)), PathElement::Value(json!(1.0)));
        let sorted = [
            PathElement::Field("z".to_owned()),
            PathElement::key(vec![("a".to_owned(), json!(1))]),
            PathElement::Value(json!(2)),
            PathElement::Value(json!("1")),
            PathElement::Value(json!(false)),
            PathElement::Index(0),
        ];
        assert!(sorted.is_sorted_by(|a, b| a < b));
    }
}
