//! The fields of a type from the schema of its kind.

use std::collections::{BTreeMap, BTreeSet};

use apiserver::schema::{Kind as Shape, Schema};
use serde_json::Value;

use super::{Described, Field, Fields, shown_name, target_of};

/// What the descriptions of fields say of those that no client writes.
const SERVER_ONLY: [&str; 2] = ["Only the server writes it", "Present only in the answer"];

/// What nobody reads: hashes of secrets.
const HIDDEN: [&str; 1] = ["tokenHash"];

/// What is written and never shown.
const PASSWORDS: [&str; 3] = ["password", "serviceAccountPassword", "clientSecret"];

/// Fields of which every object of the API has its own.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The fields of a type. What is under `spec` and `status` is beside the others; where both have a field of
/// one name, it is that of `spec`.
pub(crate) fn described(id: &str, schema: &Schema) -> Described {
    let mut described = Described::default();
    let mut fields = common();
    for part in ["status", "spec"] {
        if let Some(part_schema) = schema.field(part) {
            let written = part == "spec";
            fields.extend(part_of(
                id,
                part_schema,
                &[part],
                written,
                &mut described.embedded,
            ));
        }
    }
    fields.extend(part_of(id, schema, &[], true, &mut described.embedded));
    described.fields = fields;
    described
}

/// What objects of all types have.
fn common() -> Fields {
    let read = Field::shown_only;
    let map = |at: &str, description| Field::written("map[string]", &["metadata", at], description);
    let fields = [
        (
            "id",
            read("string", &[], "Names the object among those of its type"),
        ),
        (
            "name",
            Field {
                update: false,
                ..Field::written(
                    "string",
                    &["metadata", "name"],
                    "Name of the object. Made up if none is given.",
                )
            },
        ),
        (
            "annotations",
            map("annotations", "What clients keep with the object"),
        ),
        ("labels", map("labels", "What selectors find the object by")),
        (
            "created",
            read(
                "date",
                &["metadata", "creationTimestamp"],
                "When the object was made",
            ),
        ),
        (
            "createdTS",
            read("int", &[], "The same, in milliseconds since 1970"),
        ),
        (
            "removed",
            read(
                "date",
                &["metadata", "deletionTimestamp"],
                "When somebody deleted the object, which still has to end",
            ),
        ),
        (
            "creatorId",
            read(
                "reference[user]",
                &["metadata", "annotations", super::super::resource::CREATOR],
                "Who made the object through this API",
            ),
        ),
        (
            "uuid",
            read(
                "string",
                &["metadata", "uid"],
                "Unique among all objects that ever were",
            ),
        ),
        (
            "state",
            read("string", &[], "One word for how the object is"),
        ),
        (
            "transitioning",
            Field {
                options: ["yes", "no", "error"].map(str::to_owned).to_vec(),
                ..read(
                    "enum",
                    &[],
                    "Whether the state is about to change, or is an error",
                )
            },
        ),
        ("transitioningMessage", read("string", &[], "Why")),
    ];
    fields.map(|(name, field)| (name.to_owned(), field)).into()
}

/// The fields of a part of an object.
fn part_of(
    id: &str,
    schema: &Schema,
    at: &[&str],
    written: bool,
    embedded: &mut BTreeMap<String, Fields>,
) -> Fields {
    let Shape::Object {
        properties,
        required,
        ..
    } = &schema.kind
    else {
        return Fields::new();
    };
    let settled = settled(schema);
    let root = at.is_empty();
    let own = properties.iter().filter(|(name, _)| {
        let layer = OF_EVERY_OBJECT.contains(&name.as_str())
            || matches!(name.as_str(), "spec" | "status" | "type");
        let hidden = HIDDEN.contains(&name.as_str()) || (root && layer);
        !hidden
    });
    let fields = own.map(|(name, schema)| {
        let written = written
            && !SERVER_ONLY
                .iter()
                .any(|said| schema.description.contains(said));
        let path = at.iter().copied().chain([name.as_str()]);
        let stays = settled.contains(name.as_str()) || is_settled(schema);
        let field = Field {
            path: path.map(str::to_owned).collect(),
            create: written,
            update: written && !stays,
            required: written && required.contains(name),
            write_only: PASSWORDS.contains(&name.as_str()),
            ..value(id, name, schema, embedded)
        };
        (shown_name(name).to_owned(), field)
    });
    fields.collect()
}

/// A field of that value.
fn value(id: &str, name: &str, schema: &Schema, embedded: &mut BTreeMap<String, Fields>) -> Field {
    let checks = &schema.checks;
    let options = checks.one_of_values.iter().filter_map(Value::as_str);
    Field {
        kind: kind(id, name, schema, embedded),
        nullable: schema.nullable,
        default: schema.default.clone(),
        options: options.map(str::to_owned).collect(),
        length: (checks.min_length, checks.max_length),
        range: (checks.minimum, checks.maximum),
        description: schema.description.clone(),
        ..Field::default()
    }
}

/// The name of a value's type.
fn kind(id: &str, name: &str, schema: &Schema, embedded: &mut BTreeMap<String, Fields>) -> String {
    match &schema.kind {
        Shape::String => scalar(name, schema),
        Shape::Integer => "int".to_owned(),
        Shape::Number => "float".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::IntOrString => "string".to_owned(),
        Shape::Any => "json".to_owned(),
        Shape::List { items, .. } => {
            format!("array[{}]", kind(id, singular(name), items, embedded))
        }
        Shape::Object {
            properties,
            additional: Some(additional),
            ..
        } if properties.is_empty() => {
            format!("map[{}]", kind(id, singular(name), additional, embedded))
        }
        Shape::Object { .. } if schema.preserve_unknown_fields => "json".to_owned(),
        Shape::Object {
            properties,
            required,
            ..
        } => {
            let inner = format!("{id}{}", upper_first(name));
            let fields = properties.iter().map(|(name, schema)| {
                let field = Field {
                    create: true,
                    update: true,
                    required: required.contains(name),
                    ..value(&inner, name, schema, embedded)
                };
                (name.clone(), field)
            });
            let fields = fields.collect();
            embedded.insert(inner.clone(), fields);
            inner
        }
    }
}

fn scalar(name: &str, schema: &Schema) -> String {
    if PASSWORDS.contains(&name) {
        return "password".to_owned();
    }
    // The names of a list are asked for one by one.
    let plural = format!("{name}s");
    if let Some(target) = target_of(name).or_else(|| target_of(&plural)) {
        return format!("reference[{target}]");
    }
    match (
        schema.checks.one_of_values.is_empty(),
        schema.checks.format.as_deref(),
    ) {
        (false, _) => "enum".to_owned(),
        (true, Some("date-time")) => "date".to_owned(),
        _ => "string".to_owned(),
    }
}

/// The fields of an object that its rules do not let change.
fn settled(schema: &Schema) -> BTreeSet<&str> {
    let stay = |message: &Option<String>| message.as_deref() == Some("cannot be changed");
    let rules = schema.rules.iter().filter(|rule| stay(&rule.message));
    rules
        .filter_map(|rule| rule.field_path.as_deref()?.strip_prefix('.'))
        .collect()
}

fn is_settled(schema: &Schema) -> bool {
    schema
        .rules
        .iter()
        .any(|rule| rule.rule == "self == oldSelf")
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

fn upper_first(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().into_iter();
    first.flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use apiserver::schema::Schema;
    use lariat_api::{
        Cluster, ClusterRegistrationToken, ClusterRoleTemplateBinding, Project, Setting, Token,
        User,
    };
    use schemars::{JsonSchema, schema_for};

    use super::*;

    fn of<K: JsonSchema>(id: &str) -> Described {
        let derived = serde_json::to_value(schema_for!(K)).unwrap();
        described(id, &Schema::from_schemars(&derived).unwrap())
    }

    #[test]
    fn fields_lie_side_by_side_under_the_names_of_rancher() {
        let project = of::<Project>("project").fields;
        assert_eq!(project["name"].path, ["spec", "displayName"]);
        assert!(project["name"].required && project["name"].update);
        assert_eq!(project["clusterId"].kind, "reference[cluster]");
        assert!(project["clusterId"].create && !project["clusterId"].update);
        assert_eq!(project["conditions"].kind, "array[projectCondition]");
        assert!(!project["conditions"].create);
        let binding = of::<ClusterRoleTemplateBinding>("b").fields;
        assert_eq!(binding["name"].path, ["metadata", "name"]);
        assert_eq!(binding["roleTemplateId"].kind, "reference[roleTemplate]");
        assert!(binding["roleTemplateId"].required && !binding["roleTemplateId"].update);
        for field in ["userId", "userPrincipalId", "groupPrincipalId"] {
            assert!(binding[field].kind.starts_with("reference["), "{field}");
        }
        for gone in [
            "spec",
            "status",
            "metadata",
            "kind",
            "apiVersion",
            "roleTemplateName",
        ] {
            assert!(!binding.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn what_only_the_server_writes_is_not_offered() {
        for (fields, names) in [
            (
                of::<Token>("token").fields,
                &["token", "isDerived", "expiresAt", "lastUsedAt"][..],
            ),
            (
                of::<Setting>("setting").fields,
                &["default", "customized", "source"][..],
            ),
            (of::<User>("user").fields, &["conditions"][..]),
            (
                of::<Cluster>("cluster").fields,
                &["driver", "agent", "info"][..],
            ),
        ] {
            for name in names {
                assert!(!fields[*name].create && !fields[*name].update, "{name}");
            }
        }
    }

    #[test]
    fn no_type_shows_a_secret() {
        assert!(of::<User>("user").fields["password"].write_only);
        assert_eq!(of::<User>("user").fields["password"].kind, "password");
        assert!(!of::<Token>("token").fields.contains_key("tokenHash"));
        let registration = of::<ClusterRegistrationToken>("t").fields;
        assert!(!registration.contains_key("tokenHash"));
    }

    #[test]
    fn values_with_fields_of_their_own_are_types() {
        let cluster = of::<Cluster>("cluster");
        let endpoint = &cluster.fields["localClusterAuthEndpoint"].kind;
        assert!(cluster.embedded[endpoint].contains_key("caCerts"));
        assert!(cluster.embedded["clusterCondition"].contains_key("status"));
        let quota = of::<Project>("project");
        assert_eq!(quota.fields["resourceQuota"].kind, "projectResourceQuota");
    }
}
