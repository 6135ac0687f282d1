//! What a definition defines.

use super::{text, texts, versions};
use crate::admission::NoHooks;
use crate::object::Object;
use crate::registry::{Column, Naming, Resource, Scale, Version, rank};
use crate::schema::{FieldError, Schema};
use crate::table::Printer;
use serde_json::Value;
use std::sync::Arc;

/// The resource that a definition defines, with the versions that it serves.
///
/// # Errors
/// What is wrong with its schemas and columns. The rest is [checked](super::check) apart.
pub fn resource(definition: &Object) -> Result<Resource, Vec<FieldError>> {
    let mut served = Vec::new();
    let mut errors = Vec::new();
    let generation = definition.meta().get("generation").and_then(Value::as_u64);
    let evolved = generation > Some(1) || versions(definition).nth(1).is_some();
    for (at, version) in versions(definition).enumerate() {
        match read_version(
            definition,
            version,
            evolved,
            &format!("spec.versions[{at}]"),
        ) {
            Ok(read) if version["served"] == true => served.push(Arc::new(read)),
            Ok(_) => {}
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let names = &definition.as_value()["spec"]["names"];
    let storage = versions(definition).find(|version| version["storage"] == true);
    Ok(Resource {
        group: text(definition, "/spec/group").into(),
        plural: text(definition, "/spec/names/plural").into(),
        singular: text(definition, "/spec/names/singular").into(),
        kind: text(definition, "/spec/names/kind").into(),
        list_kind: text(definition, "/spec/names/listKind").into(),
        short_names: texts(names.get("shortNames")),
        categories: texts(names.get("categories")),
        defined: true,
        built_in: false,
        namespaced: text(definition, "/spec/scope") == "Namespaced",
        secret: false,
        naming: Naming::Subdomain,
        versions: served,
        storage: storage.map_or_else(String::new, |version| word(version, "name")),
        hooks: Arc::new(NoHooks),
    })
}

fn read_version(
    definition: &Object,
    version: &Value,
    evolved: bool,
    path: &str,
) -> Result<Version, Vec<FieldError>> {
    let under = |field: &str| format!("{path}.{field}");
    let schema = match version.pointer("/schema/openAPIV3Schema") {
        Some(schema) if !schema.is_null() => Schema::parse(schema).map_err(|errors| {
            let place = under("schema.openAPIV3Schema");
            errors
                .into_iter()
                .map(|error| error.under(&place))
                .collect::<Vec<_>>()
        })?,
        _ => {
            let place = under("schema.openAPIV3Schema");
            return Err(vec![FieldError::required(place, "")]);
        }
    };
    let columns: Vec<Column> = list(version, "additionalPrinterColumns")
        .iter()
        .map(column)
        .collect();
    let printer = Printer::new(&columns).map_err(|error| {
        let at = columns.iter().position(|column| column.path == error.path);
        let place = under(&format!(
            "additionalPrinterColumns[{}].jsonPath",
            at.unwrap_or_default()
        ));
        vec![FieldError::invalid(place, error.path, error.detail)]
    })?;
    let deprecation = (version["deprecated"] == true).then(|| {
        let given = word(version, "deprecationWarning");
        if given.is_empty() {
            deprecation(definition, version)
        } else {
            given
        }
    });
    let subresources = &version["subresources"];
    Ok(Version {
        name: word(version, "name"),
        schema: Arc::new(schema),
        printer,
        status: subresources
            .get("status")
            .is_some_and(|status| !status.is_null()),
        scale: subresources
            .get("scale")
            .filter(|scale| !scale.is_null())
            .map(scale),
        selectable: list(version, "selectableFields")
            .iter()
            .map(|field| word(field, "jsonPath").trim_start_matches('.').to_owned())
            .collect(),
        deprecation,
        evolved,
    })
}

/// What clients of a deprecated version are told if the definition does not say.
fn deprecation(definition: &Object, version: &Value) -> String {
    let name = word(version, "name");
    let (group, kind) = (
        text(definition, "/spec/group"),
        text(definition, "/spec/names/kind"),
    );
    let others = versions(definition)
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(|other| word(other, "name"))
        .filter(|other| rank(other) > rank(&name));
    let instead = match others.max_by_key(|other| rank(other)) {
        Some(other) => format!("; use {group}/{other} {kind}"),
        None => String::new(),
    };
    format!("{group}/{name} {kind} is deprecated{instead}")
}

fn column(column: &Value) -> Column {
    Column {
        name: word(column, "name"),
        kind: word(column, "type"),
        format: word(column, "format"),
        description: word(column, "description"),
        priority: column["priority"]
            .as_i64()
            .and_then(|number| number.try_into().ok())
            .unwrap_or_default(),
        path: word(column, "jsonPath"),
    }
}

fn scale(scale: &Value) -> Scale {
    let selector = word(scale, "labelSelectorPath");
    Scale {
        spec_replicas: word(scale, "specReplicasPath"),
        status_replicas: word(scale, "statusReplicasPath"),
        selector: (!selector.is_empty()).then_some(selector),
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn word(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
