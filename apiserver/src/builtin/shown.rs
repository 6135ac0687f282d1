//! What `kubectl get` shows of each kind: kube-apiserver's `pkg/printers/internalversion`.

mod admission;
mod event;

pub(super) use admission::{FLOW_SCHEMA, POLICY, POLICY_BINDING, PRIORITY_LEVEL};
pub(super) use event::{EVENT, NEW_EVENT};

use crate::object::Object;
use crate::registry::Column;
use crate::table::human_age;
use crate::upstream::{self, meta};
use jiff::Timestamp;
use serde_json::Value;

/// The columns of a kind, and what is in them.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    columns: &'static [Shape],
    pub(super) cells: fn(&Object, Timestamp) -> Vec<Value>,
}

/// The types of some of what is shown, beside those of the kinds.
const PARTS: [&str; 4] = [
    "io.k8s.api.core.v1.Event",
    "io.k8s.api.core.v1.ObjectReference",
    "io.k8s.api.flowcontrol.v1.LimitedPriorityLevelConfiguration",
    "io.k8s.api.flowcontrol.v1.QueuingConfiguration",
];

/// Title, type and text of a column. The text of the field of the kind that is named so, if there is
/// one, is the field's.
struct Shape(&'static str, &'static str, &'static str, i32);

impl Shown {
    /// The columns of the kind with that type.
    pub(super) fn columns(&self, type_name: &str) -> Vec<Column> {
        let described = |field: &str, of: &str| {
            let field = upstream::definition(of)?.get("properties")?.get(field)?;
            Some(field.get("description")?.as_str()?.to_owned())
        };
        let column = |Shape(title, kind, about, priority): &Shape| {
            let own = [
                meta("ObjectMeta"),
                type_name.into(),
                format!("{type_name}Spec"),
            ];
            let mut types = own.iter().map(String::as_str).chain(PARTS);
            let text = types.find_map(|name| described(about, name));
            Column {
                name: (*title).into(),
                kind: (*kind).into(),
                format: if *title == "Name" { "name" } else { "" }.into(),
                description: text.unwrap_or_else(|| (*about).to_owned()),
                priority: *priority,
                path: String::new(),
            }
        };
        self.columns.iter().map(column).collect()
    }
}

const NAME: Shape = Shape("Name", "string", "name", 0);
const AGE_COLUMN: Shape = Shape("Age", "string", "creationTimestamp", 0);

/// Kinds without a printer of their own.
pub(super) const CREATED_AT: Shown = Shown {
    columns: &[NAME, Shape("Created At", "date", "creationTimestamp", 0)],
    cells: |object, _| vec![name(object), object.meta_text("creationTimestamp").into()],
};

pub(super) const AGE: Shown = Shown {
    columns: &[NAME, AGE_COLUMN],
    cells: |object, now| vec![name(object), age(object, now)],
};

pub(super) const NAMESPACE: Shown = Shown {
    columns: &[
        NAME,
        Shape("Status", "string", "The status of the namespace", 0),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        vec![
            name(object),
            text(object, "/status/phase"),
            age(object, now),
        ]
    },
};

pub(super) const SECRET: Shown = Shown {
    columns: &[
        NAME,
        Shape("Type", "string", "type", 0),
        Shape("Data", "string", "data", 0),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        let entries = count(object, "/data");
        vec![
            name(object),
            text(object, "/type"),
            entries.into(),
            age(object, now),
        ]
    },
};

pub(super) const CONFIG_MAP: Shown = Shown {
    columns: &[NAME, Shape("Data", "string", "data", 0), AGE_COLUMN],
    cells: |object, now| {
        let entries = count(object, "/data") + count(object, "/binaryData");
        vec![name(object), entries.into(), age(object, now)]
    },
};

pub(super) const LEASE: Shown = Shown {
    columns: &[
        NAME,
        Shape("Holder", "string", "holderIdentity", 0),
        AGE_COLUMN,
    ],
    cells: |object, now| {
        let holder = text(object, "/spec/holderIdentity");
        vec![name(object), holder, age(object, now)]
    },
};

pub(super) const ROLE_BINDING: Shown = Shown {
    columns: &[
        NAME,
        Shape(
            "Role",
            "string",
            "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
            0,
        ),
        AGE_COLUMN,
        Shape("Users", "string", "Users in the roleBinding", 1),
        Shape("Groups", "string", "Groups in the roleBinding", 1),
        Shape(
            "ServiceAccounts",
            "string",
            "ServiceAccounts in the roleBinding",
            1,
        ),
    ],
    cells: binding,
};

pub(super) const CLUSTER_ROLE_BINDING: Shown = Shown {
    columns: &[
        NAME,
        Shape(
            "Role",
            "string",
            "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
            0,
        ),
        AGE_COLUMN,
        Shape("Users", "string", "Users in the clusterRoleBinding", 1),
        Shape("Groups", "string", "Groups in the clusterRoleBinding", 1),
        Shape(
            "ServiceAccounts",
            "string",
            "ServiceAccounts in the clusterRoleBinding",
            1,
        ),
    ],
    cells: binding,
};

fn binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let role = format!(
        "{}/{}",
        at(object, "/roleRef/kind"),
        at(object, "/roleRef/name")
    );
    let subjects = |kind: &str| {
        let all = object.as_value()["subjects"].as_array();
        let some = all.into_iter().flatten().filter(|one| one["kind"] == kind);
        let names = some.map(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            match kind {
                "ServiceAccount" => {
                    format!("{}/{name}", one["namespace"].as_str().unwrap_or_default())
                }
                _ => name.to_owned(),
            }
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    vec![
        name(object),
        role.into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn name(object: &Object) -> Value {
    object.name().into()
}

fn age(object: &Object, now: Timestamp) -> Value {
    since(object.meta_text("creationTimestamp"), now)
}

fn since(time: &str, now: Timestamp) -> Value {
    match time.parse() {
        Ok(time) => human_age(time, now).into(),
        Err(_) => "<unknown>".into(),
    }
}

fn at<'a>(object: &'a Object, path: &str) -> &'a str {
    let found = object.as_value().pointer(path).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn text(object: &Object, path: &str) -> Value {
    at(object, path).into()
}

fn count(object: &Object, path: &str) -> usize {
    let found = object.as_value().pointer(path).and_then(Value::as_object);
    found.map_or(0, serde_json::Map::len)
}
