//! What can be done at the paths of a resource.

use super::names;
use super::schemas::reference;
use crate::registry::{Resource, Version};
use crate::upstream::{self, SCALE, meta};
use serde_json::{Map, Value, json};

/// What a list may be asked for.
const LIST: [&str; 10] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const GET: [&str; 1] = ["resourceVersion"];
const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];
const PATCH: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: [&str; 5] = [
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];

const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// An operation.
struct Operation<'a> {
    /// HTTP method in lower case.
    method: &'a str,
    /// `x-kubernetes-action`.
    action: &'a str,
    /// What it is called, with which its id begins.
    verb: &'a str,
    parameters: &'a [&'a str],
    /// Name of the schema that it reads.
    reads: Option<String>,
    /// Name of the schema that it answers with.
    answers: String,
    codes: &'a [(&'a str, &'a str)],
}

const OK: (&str, &str) = ("200", "OK");
const CREATED: (&str, &str) = ("201", "Created");
const ACCEPTED: (&str, &str) = ("202", "Accepted");

/// A resource in a version, whose paths are written.
pub(super) struct Paths<'a> {
    pub(super) resource: &'a Resource,
    pub(super) version: &'a Version,
}

impl Paths<'_> {
    /// Path items by path.
    pub(super) fn write(&self, paths: &mut Map<String, Value>) {
        let root = format!("/{}", names::root(&self.resource.group, &self.version.name));
        let plural = &self.resource.plural;
        let mut collection = format!("{root}/{plural}");
        let kind = self.name(&self.resource.kind);
        if self.resource.hooks.is_review() {
            if self.resource.namespaced {
                collection = format!("{root}/namespaces/{{namespace}}/{plural}");
            }
            paths.insert(collection, self.item("", "", [self.create(&kind)]));
            return;
        }
        if self.resource.namespaced {
            let item = self.item("", "ForAllNamespaces", [self.list()]);
            paths.insert(collection, item);
            collection = format!("{root}/namespaces/{{namespace}}/{plural}");
        }
        let of_collection = [self.list(), self.create(&kind), self.delete_collection()];
        paths.insert(collection.clone(), self.item("", "", of_collection));
        let of_object = [get(&kind), replace(&kind), self.patch(&kind), self.delete()];
        let object = format!("{collection}/{{name}}");
        paths.insert(object.clone(), self.item("", "", of_object));
        let status = self.version.status.then_some(("status", kind.as_str()));
        let scale = self.version.scale.as_ref().map(|_| ("scale", SCALE));
        for (name, kind) in status.into_iter().chain(scale) {
            let item = self.item(name, "", [get(kind), replace(kind), self.patch(kind)]);
            paths.insert(format!("{object}/{name}"), item);
        }
    }

    fn name(&self, kind: &str) -> String {
        self.resource.type_name(&self.version.name, kind)
    }

    fn list(&self) -> Operation<'static> {
        Operation {
            method: "get",
            action: "list",
            verb: "list",
            parameters: &LIST,
            reads: None,
            answers: self.name(&self.resource.list_kind),
            codes: &[OK],
        }
    }

    fn create(&self, kind: &str) -> Operation<'static> {
        Operation {
            method: "post",
            action: "post",
            verb: "create",
            parameters: &WRITE,
            reads: Some(kind.to_owned()),
            answers: kind.to_owned(),
            codes: &[OK, CREATED, ACCEPTED],
        }
    }

    fn delete_collection(&self) -> Operation<'static> {
        Operation {
            action: "deletecollection",
            parameters: &LIST,
            codes: &[OK],
            ..self.delete()
        }
    }

    fn delete(&self) -> Operation<'static> {
        Operation {
            method: "delete",
            action: "delete",
            verb: "delete",
            parameters: &DELETE,
            reads: Some(meta("DeleteOptions")),
            answers: meta("Status"),
            codes: &[OK, ACCEPTED],
        }
    }

    fn patch(&self, kind: &str) -> Operation<'static> {
        Operation {
            method: "patch",
            action: "patch",
            verb: "patch",
            parameters: &PATCH,
            reads: Some(meta("Patch")),
            answers: kind.to_owned(),
            codes: &[OK, CREATED],
        }
    }

    /// A path with its operations. `subresource` is empty for objects themselves.
    fn item<'a>(
        &self,
        subresource: &str,
        suffix: &str,
        operations: impl IntoIterator<Item = Operation<'a>>,
    ) -> Value {
        let mut item = Map::new();
        let mut in_path = false;
        for operation in operations {
            in_path |= matches!(operation.action, "get" | "put" | "patch" | "delete");
            item.insert(
                operation.method.to_owned(),
                self.operation(&operation, subresource, suffix),
            );
        }
        let mut parameters = Vec::new();
        if in_path {
            let description = format!("name of the {}", self.resource.kind);
            parameters.push(path_parameter("name", &description));
        }
        if self.resource.namespaced && suffix.is_empty() {
            let description = "object name and auth scope, such as for teams and projects";
            parameters.push(path_parameter("namespace", description));
        }
        parameters.extend(upstream::parameter("pretty").cloned());
        item.insert("parameters".into(), parameters.into());
        item.into()
    }

    fn operation(&self, operation: &Operation<'_>, subresource: &str, suffix: &str) -> Value {
        let Self { resource, version } = self;
        let scope = match resource.namespaced && suffix.is_empty() {
            true => "Namespaced",
            false => "",
        };
        let collection = match operation.action {
            "deletecollection" => "Collection",
            _ => "",
        };
        let rest = format!(
            "{collection}{scope}{}{}{suffix}",
            resource.kind,
            names::camel(subresource)
        );
        let parameters = operation.parameters.iter();
        let parameters: Vec<_> = parameters
            .filter_map(|name| upstream::parameter(name))
            .collect();
        let gvk = match operation.answers.as_str() {
            SCALE => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
            _ => {
                json!({"group": resource.group, "version": version.name, "kind": resource.kind})
            }
        };
        let mut value = json!({
            "description": self.description(operation, subresource),
            "operationId": names::operation(operation.verb, resource, &version.name, &rest),
            "parameters": parameters,
            "responses": responses(operation),
            "tags": [names::tag(&resource.group, &version.name)],
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": gvk,
        });
        if let Some(body) = self.body(operation) {
            value["requestBody"] = body;
        }
        value
    }

    fn description(&self, operation: &Operation<'_>, subresource: &str) -> String {
        let kind = &self.resource.kind;
        let of = match subresource {
            "" => String::new(),
            subresource => format!(" {subresource} of"),
        };
        match operation.action {
            "list" => format!("list or watch objects of kind {kind}"),
            "post" => format!("create {} {kind}", article(kind)),
            "deletecollection" => format!("delete collection of {kind}"),
            "delete" => format!("delete {} {kind}", article(kind)),
            "get" => format!("read{of} the specified {kind}"),
            "put" => format!("replace{of} the specified {kind}"),
            _ => format!("partially update{of} the specified {kind}"),
        }
    }

    fn body(&self, operation: &Operation<'_>) -> Option<Value> {
        let schema = reference(operation.reads.as_ref()?);
        if operation.method != "patch" {
            let mut body = json!({"content": {"*/*": {"schema": schema}}});
            if operation.method != "delete" {
                body["required"] = true.into();
            }
            return Some(body);
        }
        let offered = PATCHES.iter();
        let offered = offered.filter(|name| self.resource.built_in || !name.contains("strategic"));
        let content: Map<_, _> = offered
            .map(|name| ((*name).to_owned(), json!({"schema": schema})))
            .collect();
        Some(json!({"content": content, "required": true}))
    }
}

fn get(kind: &str) -> Operation<'static> {
    Operation {
        method: "get",
        action: "get",
        verb: "read",
        parameters: &GET,
        reads: None,
        answers: kind.to_owned(),
        codes: &[OK],
    }
}

fn replace(kind: &str) -> Operation<'static> {
    Operation {
        method: "put",
        action: "put",
        verb: "replace",
        parameters: &WRITE,
        reads: Some(kind.to_owned()),
        answers: kind.to_owned(),
        codes: &[OK, CREATED],
    }
}

fn responses(operation: &Operation<'_>) -> Value {
    let schema = reference(&operation.answers);
    let mut content = json!({
        "application/json": {"schema": schema}, "application/yaml": {"schema": schema},
    });
    if operation.action == "list" {
        content["application/json;stream=watch"] = json!({"schema": schema});
    }
    let codes = operation.codes.iter();
    let codes = codes.map(|(code, description)| {
        let response = json!({"description": description, "content": content});
        ((*code).to_owned(), response)
    });
    let mut responses: Map<_, _> = codes.collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    responses.into()
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": {"type": "string", "uniqueItems": true},
    })
}

fn article(noun: &str) -> &'static str {
    match noun.starts_with(['A', 'E', 'I', 'O', 'U']) {
        true => "an",
        false => "a",
    }
}
