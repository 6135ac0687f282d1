//! The form that kubectl prints: rows and columns.

mod age;
mod path;

pub use age::human_age;
pub use path::{FieldPath, PathError};

use crate::object::Object;
use crate::registry::Column;
use crate::upstream;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::iter;

/// The columns of a version, ready to print.
#[derive(Debug)]
pub struct Printer {
    columns: Vec<Column>,
    cells: Cells,
}

/// What the cells of a row hold.
#[derive(Debug)]
enum Cells {
    /// What is found at the paths of the columns.
    Found(Vec<FieldPath>),
    /// What is found where a column has a path, and what is made of the object where it has none.
    Computed(Vec<Option<FieldPath>>, fn(&Object) -> Vec<Value>),
    /// Just what is made of the object, the name among it.
    Written(fn(&Object, Timestamp) -> Vec<Value>),
}

/// What a row carries of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carried {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Carried {
    /// The value of the parameter `includeObject`; `None` for one that there is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            "" | "Metadata" => Some(Self::Metadata),
            _ => None,
        }
    }
}

impl Printer {
    /// A printer of columns behind the name. Where none are given, the age is printed.
    ///
    /// # Errors
    /// [`PathError`] when the path of a column is none.
    pub fn new(columns: &[Column]) -> Result<Self, PathError> {
        let age = [Column {
            name: "Age".into(),
            kind: "date".into(),
            format: String::new(),
            description: upstream::description_of("ObjectMeta", "creationTimestamp"),
            priority: 0,
            path: ".metadata.creationTimestamp".into(),
        }];
        let columns = if columns.is_empty() { &age } else { columns };
        let paths = columns.iter().map(|column| FieldPath::parse(&column.path));
        Ok(Self {
            columns: behind_name(columns.to_vec()),
            cells: Cells::Found(paths.collect::<Result<_, _>>()?),
        })
    }

    /// A printer of columns of which those without a path hold what a function makes of the object,
    /// in their order.
    ///
    /// # Errors
    /// [`PathError`] when the path of a column is none.
    pub fn computed(
        columns: Vec<Column>,
        cells: fn(&Object) -> Vec<Value>,
    ) -> Result<Self, PathError> {
        let paths = columns.iter().map(|column| match column.path.as_str() {
            "" => Ok(None),
            path => FieldPath::parse(path).map(Some),
        });
        let cells = Cells::Computed(paths.collect::<Result<_, _>>()?, cells);
        Ok(Self {
            columns: behind_name(columns),
            cells,
        })
    }

    /// A printer of rows that a function writes as they are shown, with a cell for each column: the
    /// name is one of them.
    #[must_use]
    pub fn written(columns: Vec<Column>, cells: fn(&Object, Timestamp) -> Vec<Value>) -> Self {
        let cells = Cells::Written(cells);
        Self { columns, cells }
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A table with these rows. `meta` is the metadata of the list.
    #[must_use]
    pub fn table(&self, meta: &Value, rows: &[Value]) -> Value {
        let columns = self.columns.iter().map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "priority": column.priority, "description": description(column),
            })
        });
        let columns: Vec<_> = columns.collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    /// The row of an object.
    #[must_use]
    pub fn row(&self, object: &Object, carried: Carried, now: Timestamp) -> Value {
        let value = object.as_value();
        let name = || [Value::from(object.name())].into_iter();
        let columns = self.columns.iter().skip(1);
        let cells: Vec<_> = match &self.cells {
            Cells::Found(paths) => {
                let found = columns.zip(paths);
                let found = found.map(|(column, path)| cell(&column.kind, &path.find(value), now));
                name().chain(found).collect()
            }
            Cells::Computed(paths, compute) => {
                let mut computed = compute(object).into_iter();
                let cells = columns.zip(paths).map(|(column, path)| match path {
                    Some(path) => cell(&column.kind, &path.find(value), now),
                    None => {
                        let computed = computed.next().unwrap_or_default();
                        cell(&column.kind, &[&computed], now)
                    }
                });
                name().chain(cells).collect()
            }
            Cells::Written(write) => write(object, now),
        };
        match carried {
            Carried::None => json!({"cells": cells, "object": null}),
            Carried::Metadata => json!({"cells": cells, "object": metadata_of(object)}),
            Carried::Object => json!({"cells": cells, "object": value}),
        }
    }
}

/// What a column is for, or where it is from.
fn description(column: &Column) -> String {
    match column.description.as_str() {
        "" if !column.path.is_empty() => {
            let path = &column.path;
            format!("Custom resource definition column (in JSONPath format): {path}")
        }
        given => given.to_owned(),
    }
}

/// Columns with that of the name before them.
fn behind_name(columns: Vec<Column>) -> Vec<Column> {
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: upstream::description_of("ObjectMeta", "name"),
        priority: 0,
        path: String::new(),
    };
    iter::once(name).chain(columns).collect()
}

/// An object with nothing but its metadata.
#[must_use]
pub fn metadata_of(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.meta(),
    })
}

/// What a column of some kind shows of the first of the values that its path finds; null where there
/// is none, or where it is of another kind.
fn cell(kind: &str, found: &[&Value], now: Timestamp) -> Value {
    let Some(first) = found.first().filter(|first| !first.is_null()) else {
        return Value::Null;
    };
    match kind {
        "string" => text(first).into(),
        "integer" => match (first.as_i64(), first.as_f64()) {
            (Some(number), _) => number.into(),
            #[expect(clippy::cast_possible_truncation, reason = "as upstream shows it")]
            (None, Some(number)) => (number as i64).into(),
            (None, None) => Value::Null,
        },
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => match first.as_str().map(str::parse::<Timestamp>) {
            Some(Ok(time)) => human_age(time, now).into(),
            Some(Err(_)) => "<invalid>".into(),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str, path: &str) -> Column {
        Column {
            name: name.into(),
            kind: kind.into(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            path: path.into(),
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let object = Object::new(json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"example.org/x": "y"}},
            "spec": {"n": 3, "s": "x", "on": true, "list": ["p", "q"]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        let printer = Printer::new(&[
            column("N", "integer", ".spec.n"),
            column("S", "string", ".spec.s"),
            column("On", "boolean", ".spec.on"),
            column("List", "string", ".spec.list[*]"),
            column(
                "Ready",
                "string",
                r#".status.conditions[?(@.type=="Ready")].status"#,
            ),
            column("X", "string", r".metadata.annotations.example\.org/x"),
            column("None", "string", ".spec.none"),
            column("Wrong", "integer", ".spec.s"),
            column("Age", "date", ".metadata.creationTimestamp"),
        ])
        .unwrap();
        let now = "2026-01-01T01:30:00Z".parse().unwrap();
        let row = printer.row(&object, Carried::Metadata, now);
        let expected = json!(["a", 3, "x", true, "p", "True", "y", null, null, "90m"]);
        assert_eq!(row["cells"], expected);
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
        let table = printer.table(&json!({}), &[row]);
        let titles = table["columnDefinitions"].as_array().unwrap();
        assert_eq!(titles.len(), expected.as_array().unwrap().len());
    }

    #[test]
    fn without_columns_the_age_is_shown() {
        let printer = Printer::new(&[]).unwrap();
        let table = printer.table(&json!({}), &[]);
        assert_eq!(table["columnDefinitions"][1]["name"], "Age");
        assert!(Printer::new(&[column("X", "string", ".a[")]).is_err());
    }
}
