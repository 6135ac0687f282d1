//! The form that kubectl prints.

use http::HeaderMap;
use http::header::ACCEPT;
use lariat_api::{Column, Kind};
use serde_json::{Value, json};

/// The form in which a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Objects,
    /// As rows of a table.
    Table,
}

impl Form {
    /// The first form of the `Accept` header that can be served.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for choice in accept.flat_map(|value| value.split(',')) {
            let mut parameters = choice.split(';').map(str::trim);
            let media_type = parameters.next().unwrap_or_default();
            let parameters: Vec<_> = parameters.collect();
            let json = matches!(media_type, "application/json" | "*/*" | "application/*");
            if json && parameters.contains(&"as=Table") && parameters.contains(&"v=v1") {
                return Self::Table;
            }
            if json
                && !parameters
                    .iter()
                    .any(|parameter| parameter.starts_with("as="))
            {
                return Self::Objects;
            }
        }
        Self::Objects
    }

    /// One object in this form.
    pub(super) fn one<K: Kind>(self, object: &K) -> Value {
        match self {
            Self::Objects => json!(object),
            Self::Table => {
                let version = object.meta().resource_version.clone();
                table::<K>(&[row(object)], &json!({"resourceVersion": version}))
            }
        }
    }

    /// A list in this form.
    pub(super) fn list<K: Kind>(self, items: &[K], meta: &Value) -> Value {
        match self {
            Self::Objects => json!({
                "kind": format!("{}List", K::KIND),
                "apiVersion": K::api_version(&()),
                "metadata": meta,
                "items": items,
            }),
            Self::Table => {
                let rows: Vec<_> = items.iter().map(row).collect();
                table::<K>(&rows, meta)
            }
        }
    }
}

fn table<K: Kind>(rows: &[Value], meta: &Value) -> Value {
    let name = column("Name", "string", "name", "Name of the object", false);
    let age = column(
        "Age",
        "date",
        "",
        "Time since the object was created",
        false,
    );
    let own = K::COLUMNS.iter().map(
        |Column {
             name,
             kind,
             description,
             wide,
         }| { column(name, kind, "", description, *wide) },
    );
    let columns: Vec<_> = [name].into_iter().chain(own).chain([age]).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn column(name: &str, kind: &str, format: &str, description: &str, wide: bool) -> Value {
    json!({
        "name": name,
        // Dates are sent as ages, as kube-apiserver sends them for its own kinds.
        "type": if kind == "date" { "string" } else { kind },
        "format": format,
        "description": description,
        "priority": i32::from(wide),
    })
}

fn row<K: Kind>(object: &K) -> Value {
    let now = jiff::Timestamp::now();
    let meta = object.meta();
    let mut cells = vec![json!(object.name())];
    for (cell, column) in object.cells().into_iter().zip(K::COLUMNS) {
        cells.push(if column.kind == "date" {
            age(&cell, now)
        } else {
            cell
        });
    }
    cells.push(age(&json!(meta.creation_timestamp), now));
    json!({
        "cells": cells,
        "object": {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": meta,
        },
    })
}

/// The distance between a time and now, as kubectl shows it: `5d`, `3h`, `2m`, `10s`.
fn age(time: &Value, now: jiff::Timestamp) -> Value {
    let time: Option<jiff::Timestamp> = time.as_str().and_then(|time| time.parse().ok());
    let Some(time) = time else {
        return Value::Null;
    };
    let seconds = now.duration_since(time).as_secs();
    let (sign, seconds) = if seconds < 0 {
        ("in ", -seconds)
    } else {
        ("", seconds)
    };
    let text = match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    };
    json!(format!("{sign}{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lariat_api::Cluster;

    fn wanted(accept: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Form::wanted(&headers)
    }

    #[test]
    fn kubectl_gets_a_table_and_others_get_objects() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(wanted(kubectl), Form::Table);
        assert_eq!(wanted("application/json"), Form::Objects);
        assert_eq!(
            wanted("application/json, application/json;as=Table;v=v1"),
            Form::Objects
        );
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let table = Form::Table.one(&Cluster::new("prod"));
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns);
    }
}
