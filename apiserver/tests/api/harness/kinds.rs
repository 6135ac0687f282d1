//! Kinds of no group of Kubernetes.

use apiserver::admission::NoHooks;
use apiserver::builtin;
use apiserver::registry::{Column, Naming, Resource, Version};
use apiserver::schema::Schema;
use apiserver::table::Printer;
use serde_json::{Value, json};
use std::sync::Arc;

/// Widgets, and the kinds of Kubernetes.
pub fn all() -> impl Iterator<Item = Resource> {
    std::iter::once(widgets()).chain(builtin::resources())
}

/// A kind with a bit of everything.
pub fn widgets() -> Resource {
    let schema = json!({
        "type": "object",
        "description": "Widget is a thing to try clients on.",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object", "description": "What is wanted of the widget.",
                "properties": {
                    "size": {"type": "integer", "minimum": 0, "default": 1,
                        "description": "How large it is, in millimetres."},
                    "colour": {"type": "string", "enum": ["red", "blue"]},
                    "port": {"x-kubernetes-int-or-string": true},
                    "parts": {
                        "type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "count": {"type": "integer"}}},
                    },
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "maybe": {"type": "string", "nullable": true},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        },
    });
    let size = Column {
        name: "Size".into(),
        kind: "integer".into(),
        format: String::new(),
        description: "How large it is.".into(),
        priority: 0,
        path: ".spec.size".into(),
    };
    let version = Version {
        printer: Printer::new(&[size]).unwrap(),
        status: true,
        selectable: vec!["spec.colour".into()],
        ..version(&schema)
    };
    Resource {
        short_names: vec!["wd".into()],
        categories: vec!["all".into()],
        ..kind("Widget", version)
    }
}

/// A kind of `example.org`, in namespaces, whose plural ends with an s.
pub fn kind(kind: &str, version: Version) -> Resource {
    let singular = kind.to_ascii_lowercase();
    Resource {
        group: "example.org".into(),
        plural: format!("{singular}s"),
        singular,
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        built_in: false,
        defined: false,
        secret: false,
        naming: Naming::Subdomain,
        storage: version.name.clone(),
        versions: vec![Arc::new(version)],
        hooks: Arc::new(NoHooks),
    }
}

/// `v1` of a kind, without columns and subresources.
pub fn version(schema: &Value) -> Version {
    Version {
        name: "v1".into(),
        schema: Arc::new(Schema::parse(schema).unwrap()),
        printer: Printer::new(&[]).unwrap(),
        status: false,
        scale: None,
        selectable: Vec::new(),
        deprecation: None,
        evolved: false,
    }
}
