//! Fields of types: made from the schemas of kinds, without the layers of a Kubernetes object, under the names
//! that clients of Rancher know.

mod derive;

pub(super) use derive::described;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fields of an object by name.
pub(super) type Fields = BTreeMap<String, Field>;

/// A type with all that is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    /// Its fields.
    pub(super) fields: Fields,
    /// The types of values in it, by id.
    pub(super) embedded: BTreeMap<String, Fields>,
}

/// A field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Field {
    /// Where it is in the object. Empty: it is not there, but made of what is.
    pub(super) path: Vec<String>,
    /// Whether it is there as JSON in a text.
    pub(super) encoded: bool,
    /// Its type, for example `array[string]`.
    pub(super) kind: String,
    /// Whether clients set it in a new object.
    pub(super) create: bool,
    /// Whether they change it.
    pub(super) update: bool,
    pub(super) required: bool,
    pub(super) nullable: bool,
    /// Whether no answer has it.
    pub(super) write_only: bool,
    pub(super) default: Option<Value>,
    pub(super) options: Vec<String>,
    pub(super) length: (Option<i64>, Option<i64>),
    pub(super) range: (Option<f64>, Option<f64>),
    pub(super) description: String,
}

/// Names of fields that this face calls otherwise, with the types that they refer to.
const REFERENCES: [(&str, &str, &str); 12] = [
    ("clusterName", "clusterId", "cluster"),
    ("projectName", "projectId", "project"),
    ("roleTemplateName", "roleTemplateId", "roleTemplate"),
    ("roleTemplateNames", "roleTemplateIds", "roleTemplate"),
    (
        "inheritedClusterRoles",
        "inheritedClusterRoles",
        "roleTemplate",
    ),
    (
        "defaultClusterRoleForProjectMembers",
        "defaultClusterRoleForProjectMembers",
        "roleTemplate",
    ),
    ("globalRoleName", "globalRoleId", "globalRole"),
    ("userName", "userId", "user"),
    ("userId", "userId", "user"),
    ("userPrincipalName", "userPrincipalId", "principal"),
    ("groupPrincipalName", "groupPrincipalId", "principal"),
    ("groupName", "groupId", "group"),
];

/// The name here of a field of a kind.
pub(super) fn shown_name(field: &str) -> &str {
    if field == "displayName" {
        return "name";
    }
    let found = REFERENCES.iter().find(|(own, ..)| *own == field);
    found.map_or(field, |(_, shown, _)| shown)
}

/// Fields of kinds that refer to a type: their own names, and those here.
pub(super) fn referring_to(id: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = REFERENCES.iter().filter(move |(.., to)| *to == id);
    all.map(|(own, shown, _)| (*own, *shown))
}

fn target_of(field: &str) -> Option<&'static str> {
    let found = REFERENCES.iter().find(|(own, ..)| *own == field);
    found.map(|(.., to)| *to)
}

impl Field {
    /// A field that only the server writes.
    pub(super) fn shown_only(kind: &str, path: &[&str], description: &str) -> Self {
        Self {
            path: path.iter().map(ToString::to_string).collect(),
            kind: kind.to_owned(),
            nullable: true,
            description: description.to_owned(),
            ..Self::default()
        }
    }

    /// A field that clients write.
    pub(super) fn written(kind: &str, path: &[&str], description: &str) -> Self {
        Self {
            create: true,
            update: true,
            ..Self::shown_only(kind, path, description)
        }
    }

    /// Whether lists can be filtered and sorted by it: it is one text, number or truth value.
    pub(super) fn is_scalar(&self) -> bool {
        let kinds = ["string", "enum", "int", "float", "boolean", "date"];
        kinds.contains(&self.kind.as_str()) || self.kind.starts_with("reference[")
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.kind.as_str(), "int" | "float")
    }

    /// Its value in an object.
    pub(super) fn value<'a>(&self, object: &'a Value) -> Option<std::borrow::Cow<'a, Value>> {
        use std::borrow::Cow;
        let (first, rest) = self.path.split_first()?;
        let mut found = object.get(first)?;
        for name in rest {
            found = found.get(name)?;
        }
        match self.encoded {
            true => serde_json::from_str(found.as_str()?).ok().map(Cow::Owned),
            false => Some(Cow::Borrowed(found)),
        }
    }

    /// Puts a value into an object; `null` takes the field out.
    pub(super) fn put(&self, object: &mut Value, value: Value) {
        let Some((last, above)) = self.path.split_last() else {
            return;
        };
        let mut place = object;
        for name in above {
            let fields = fields_of(place);
            if value.is_null() && !fields.contains_key(name) {
                return;
            }
            place = fields.entry(name.as_str()).or_insert_with(|| json!({}));
        }
        let fields = fields_of(place);
        match value {
            Value::Null => drop(fields.remove(last)),
            value if self.encoded => drop(fields.insert(last.clone(), value.to_string().into())),
            value => drop(fields.insert(last.clone(), value)),
        }
    }

    /// It in a schema.
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({
            "type": self.kind,
            "create": self.create,
            "update": self.update,
            "required": self.required,
            "nullable": self.nullable,
        });
        let fields = fields_of(&mut shown);
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        add("writeOnly", self.write_only.then_some(Value::Bool(true)));
        add("default", self.default.clone());
        let options = !self.options.is_empty();
        add("options", options.then(|| json!(self.options)));
        add("minLength", self.length.0.map(Value::from));
        add("maxLength", self.length.1.map(Value::from));
        add("min", self.range.0.map(whole));
        add("max", self.range.1.map(whole));
        let described = !self.description.is_empty();
        add("description", described.then(|| json!(self.description)));
        shown
    }
}

/// A bound of a number, without a fraction where it has none.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounds of fields are far below 2^53"
)]
fn whole(bound: f64) -> Value {
    if bound.fract() == 0.0 && bound.abs() < 9e15 {
        json!(bound as i64)
    } else {
        json!(bound)
    }
}

/// The fields of an object; what is none becomes one.
pub(super) fn fields_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("it has just become one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_where_it_comes_from() {
        let field = Field::written("string", &["spec", "displayName"], "");
        let mut object = json!({"metadata": {}});
        field.put(&mut object, Value::Null);
        assert_eq!(object, json!({"metadata": {}}));
        field.put(&mut object, json!("a"));
        assert_eq!(object["spec"], json!({"displayName": "a"}));
        assert_eq!(*field.value(&object).unwrap(), json!("a"));
        field.put(&mut object, Value::Null);
        assert_eq!(object["spec"], json!({}));
        assert_eq!(field.value(&object), None);
    }

    #[test]
    fn a_value_in_an_annotation_is_json_in_a_text() {
        let field = Field {
            encoded: true,
            ..Field::written("json", &["metadata", "annotations", "a/b"], "")
        };
        let mut object = json!({});
        field.put(&mut object, json!({"limit": {"pods": "5"}}));
        let text = &object["metadata"]["annotations"]["a/b"];
        assert_eq!(text, "{\"limit\":{\"pods\":\"5\"}}");
        assert_eq!(field.value(&object).unwrap()["limit"]["pods"], "5");
        object["metadata"]["annotations"]["a/b"] = json!("{broken");
        assert_eq!(field.value(&object), None);
    }
}
