//! Defaults are values that their schemas take.

use crate::schema::path::{child, key};
use crate::schema::prune::{Extent, prune};
use crate::schema::validate::check_default;
use crate::schema::{FieldError, Kind, Schema};

/// Complains about defaults that their own schemas refuse, or that hold more than they describe.
pub(super) fn check(schema: &Schema, errors: &mut Vec<FieldError>) {
    walk(schema, "", true, false, errors);
}

fn walk(
    schema: &Schema,
    path: &str,
    is_root: bool,
    inside_meta: bool,
    errors: &mut Vec<FieldError>,
) {
    if let Some(default) = &schema.default {
        let path = child(path, "default");
        let mut pruned = default.clone();
        let extent = if schema.embedded_resource {
            Extent::Resource
        } else {
            Extent::Value
        };
        if !inside_meta && !prune(schema, &mut pruned, extent).is_empty() {
            let detail = "must not have unknown fields";
            errors.push(FieldError::invalid(path.as_str(), default.clone(), detail));
        }
        errors.extend(
            check_default(schema, default)
                .into_iter()
                .map(|error| error.under(&path)),
        );
    }
    match &schema.kind {
        Kind::Object { properties, .. } => {
            for (name, field) in properties {
                let is_meta = (is_root || schema.embedded_resource)
                    && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
                let path = key(&child(path, "properties"), name);
                walk(field, &path, false, inside_meta || is_meta, errors);
            }
        }
        Kind::List { items, .. } => {
            walk(items, &child(path, "items"), false, inside_meta, errors);
        }
        _ => {}
    }
}
