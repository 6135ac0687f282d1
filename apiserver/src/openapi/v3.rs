//! OpenAPI v3: a document for each version of a group.

use super::operations::Paths;
use super::{INFO, names, schemas};
use crate::registry::Registry;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The parts of a document.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) schemas: Map<String, Value>,
    pub(super) paths: Map<String, Value>,
}

impl Parts {
    /// The parts of the documents, by where a document is.
    pub(super) fn of(registry: &Registry) -> BTreeMap<String, Self> {
        let mut documents: BTreeMap<String, Self> = BTreeMap::new();
        for resource in registry.iter() {
            for version in &resource.versions {
                let root = names::root(&resource.group, &version.name);
                let parts = documents.entry(root).or_default();
                schemas::add(resource, version, &mut parts.schemas);
                Paths { resource, version }.write(&mut parts.paths);
            }
        }
        documents
    }
}

/// The documents, by where they are.
pub(super) fn documents(registry: &Registry) -> BTreeMap<String, Value> {
    let documents = Parts::of(registry).into_iter();
    documents
        .map(|(root, mut parts)| {
            schemas::add_common(&mut parts.schemas);
            let document = json!({
                "openapi": "3.0.0", "info": *INFO, "paths": parts.paths,
                "components": {"schemas": parts.schemas},
            });
            (root, document)
        })
        .collect()
}
