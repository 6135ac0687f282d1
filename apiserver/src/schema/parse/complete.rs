//! What clauses speak of is described by the schema around them.

use crate::schema::path::{child, index, key};
use crate::schema::{Checks, Clause, FieldError, Kind, Schema};

/// Complains about fields and items that only the clauses of the root name. Clauses further down are
/// not looked at, as in kube-apiserver.
pub(super) fn check(schema: &Schema, path: &str, errors: &mut Vec<FieldError>) {
    checks(&schema.checks, Some(schema), path, path, errors);
}

fn checks(
    checks: &Checks,
    schema: Option<&Schema>,
    path: &str,
    clause_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let lists = [
        ("allOf", &checks.all_of),
        ("anyOf", &checks.any_of),
        ("oneOf", &checks.one_of),
    ];
    for (name, clauses) in lists {
        for (at, one) in clauses.iter().enumerate() {
            clause(
                one,
                schema,
                path,
                &index(&child(clause_path, name), at),
                errors,
            );
        }
    }
    if let Some(not) = &checks.not {
        clause(not, schema, path, &child(clause_path, "not"), errors);
    }
}

fn clause(
    asked: &Clause,
    schema: Option<&Schema>,
    path: &str,
    clause_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(schema) = schema else {
        errors.push(FieldError::required(
            path,
            format!("because it is defined in {clause_path}"),
        ));
        return;
    };
    checks(&asked.checks, Some(schema), path, clause_path, errors);
    if let Some(items) = &asked.items {
        clause(
            items,
            schema.items(),
            &child(path, "items"),
            &child(clause_path, "items"),
            errors,
        );
    }
    for (name, field) in &asked.properties {
        let named = match &schema.kind {
            Kind::Object { properties, .. } => properties.get(name),
            _ => None,
        };
        let path = key(&child(path, "properties"), name);
        let clause_path = key(&child(clause_path, "properties"), name);
        clause(field, named, &path, &clause_path, errors);
    }
}
