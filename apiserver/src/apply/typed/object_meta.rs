//! The types that every object of the API has: of `apiVersion`, `kind` and `metadata`.

use std::sync::LazyLock;

use super::Type;
use crate::schema::{Kind, ListType, Ownership, Schema};

static STRING: LazyLock<Schema> = LazyLock::new(|| of(Kind::String));
static META: LazyLock<Schema> = LazyLock::new(meta);

/// The type of such a field of an object.
pub(super) fn field(name: &str) -> Option<Type<'static>> {
    let schema: &'static Schema = match name {
        "apiVersion" | "kind" => &STRING,
        "metadata" => &META,
        _ => return None,
    };
    Some(Type::Schema {
        schema,
        keeps_unknown: false,
    })
}

fn of(kind: Kind) -> Schema {
    Schema {
        kind,
        ..Schema::default()
    }
}

fn object(properties: Vec<(&str, Schema)>, ownership: Ownership) -> Schema {
    let properties = properties.into_iter();
    of(Kind::Object {
        properties: properties
            .map(|(name, schema)| (name.to_owned(), schema))
            .collect(),
        additional: None,
        required: Vec::new(),
        ownership,
    })
}

fn list(items: Schema, list: ListType) -> Schema {
    of(Kind::List {
        items: Box::new(items),
        list,
    })
}

fn strings_by_name() -> Schema {
    of(Kind::Object {
        properties: Default::default(),
        additional: Some(Box::new(of(Kind::String))),
        required: Vec::new(),
        ownership: Ownership::Granular,
    })
}

fn time() -> Schema {
    let mut time = of(Kind::String);
    time.checks.format = Some("date-time".to_owned());
    time
}

/// `io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta`, as far as ownership goes.
fn meta() -> Schema {
    let owner_reference = object(
        vec![
            ("apiVersion", of(Kind::String)),
            ("kind", of(Kind::String)),
            ("name", of(Kind::String)),
            ("uid", with_default("", of(Kind::String))),
            ("controller", of(Kind::Boolean)),
            ("blockOwnerDeletion", of(Kind::Boolean)),
        ],
        Ownership::Atomic,
    );
    let managed_fields = object(
        vec![
            ("manager", of(Kind::String)),
            ("operation", of(Kind::String)),
            ("apiVersion", of(Kind::String)),
            ("time", time()),
            ("fieldsType", of(Kind::String)),
            ("fieldsV1", object(vec![], Ownership::Granular)),
            ("subresource", of(Kind::String)),
        ],
        Ownership::Granular,
    );
    let by_uid = ListType::Map(vec!["uid".to_owned()]);
    object(
        vec![
            ("name", of(Kind::String)),
            ("generateName", of(Kind::String)),
            ("namespace", of(Kind::String)),
            ("selfLink", of(Kind::String)),
            ("uid", of(Kind::String)),
            ("resourceVersion", of(Kind::String)),
            ("generation", of(Kind::Integer)),
            ("creationTimestamp", time()),
            ("deletionTimestamp", time()),
            ("deletionGracePeriodSeconds", of(Kind::Integer)),
            ("labels", strings_by_name()),
            ("annotations", strings_by_name()),
            ("ownerReferences", list(owner_reference, by_uid)),
            ("finalizers", list(of(Kind::String), ListType::Set)),
            ("managedFields", list(managed_fields, ListType::Atomic)),
        ],
        Ownership::Granular,
    )
}

fn with_default(default: &str, schema: Schema) -> Schema {
    Schema {
        default: Some(default.into()),
        ..schema
    }
}
