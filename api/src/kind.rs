//! What all kinds share: their names, their columns, and the two type fields on the wire.
//!
//! What an object must be is said where its type is declared: lengths and bounds by `schemars`'
//! attributes, everything else by CEL rules (`x-kubernetes-validations`) beside them. So the schema
//! of the type is all that a server must know to refuse a bad object with every fault named.

use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// The API group of all kinds here.
pub const GROUP: &str = "management.cattle.io";

/// The only version of that group.
pub const VERSION: &str = "v3";

const API_VERSION: &str = "management.cattle.io/v3";

/// A kind of the management API.
pub trait Kind:
    kube::Resource<DynamicType = ()>
    + Serialize
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Name of the kind, for example `Cluster`.
    const KIND: &'static str;
    /// Plural used in URLs, for example `clusters`.
    const PLURAL: &'static str;
    /// Singular used by kubectl, for example `cluster`.
    const SINGULAR: &'static str;
    /// Short names that kubectl accepts.
    const SHORT_NAMES: &'static [&'static str];
    /// Whether objects live in a namespace (which is then the id of a cluster).
    const NAMESPACED: bool;
    /// Whether objects hold what nobody may read who holds the store, hashes of tokens for example:
    /// they are sealed in it.
    const SECRET: bool = false;
    /// Columns of `kubectl get` after NAME.
    const COLUMNS: &'static [Column<Self>];

    /// Whether the object has a status that only the server writes. Then a create or an update
    /// leaves the stored status as it is.
    fn carry_server_fields(&mut self, stored: Option<&Self>);

    /// `metadata.name`, or the empty string before the object has one.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`, or the empty string.
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }
}

/// A column of `kubectl get`.
#[derive(Debug)]
pub struct Column<K> {
    /// Heading.
    pub name: &'static str,
    /// OpenAPI type of the cells: `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// What the column says.
    pub description: &'static str,
    /// Shown only with `-o wide`.
    pub wide: bool,
    /// What is in it.
    pub cell: Cell<K>,
}

/// What is in a column.
#[derive(Debug)]
pub enum Cell<K> {
    /// What is found at a JSONPath, for example `.spec.displayName`.
    Field(&'static str),
    /// What is made of the object; null where it has nothing to say.
    Computed(fn(&K) -> Value),
}

impl<K> Column<K> {
    pub(crate) const fn field(
        name: &'static str,
        kind: &'static str,
        path: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            description,
            wide: false,
            cell: Cell::Field(path),
        }
    }

    pub(crate) const fn computed(
        name: &'static str,
        kind: &'static str,
        compute: fn(&K) -> Value,
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            description,
            wide: false,
            cell: Cell::Computed(compute),
        }
    }

    pub(crate) const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

/// A CEL rule (`x-kubernetes-validations`) about the value it is declared for.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// The rule that what was given once stays.
pub(crate) fn unchanged() -> Value {
    rule("self == oldSelf", "cannot be changed")
}

/// The rule of texts on one line.
pub(crate) fn printable() -> Value {
    let expression = r"self.matches('^\\P{Cc}*$')";
    rule(expression, "must not contain control characters")
}

/// A CEL rule about an object whose field `at` (`.userName`) is to blame.
pub(crate) fn rule_at(at: &str, rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message, "fieldPath": at })
}

/// The expression that a field is there and is not empty.
pub(crate) fn given(field: &str) -> String {
    format!("(has(self.{field}) && self.{field} != '')")
}

/// The rule of an object that a text of it stays as it was, be it empty. It may be left out where the
/// server fills it in.
pub(crate) fn settled(field: &str) -> Value {
    let same = format!("has(oldSelf.{field}) && self.{field} == oldSelf.{field}");
    let expression = format!("!{} || ({same})", given(field));
    rule_at(&format!(".{field}"), &expression, "cannot be changed")
}

/// The schema of a text that names an object.
pub(crate) struct ObjectName;

impl JsonSchema for ObjectName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ObjectName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let expression = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";
        let message = "must consist of lower-case letters, digits, '-' and '.', and start and end with a letter or digit";
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "x-kubernetes-validations": [rule(expression, message)],
        })
    }
}

/// The schema of a list of names of objects, each at most once.
pub(crate) struct ObjectNames<const MOST: usize>;

impl<const MOST: usize> JsonSchema for ObjectNames<MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ObjectNames".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": ObjectName::json_schema(generator),
            "maxItems": MOST,
            "x-kubernetes-list-type": "set",
        })
    }
}

/// The schema of the metadata of a kind whose names are the ids `Id`.
pub(crate) struct Named<Id>(PhantomData<Id>);

impl<Id: JsonSchema> JsonSchema for Named<Id> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ObjectMeta".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let name = Id::json_schema(generator);
        json_schema!({ "type": "object", "properties": { "name": name } })
    }
}

/// The `apiVersion` field: always `management.cattle.io/v3`; any other value does not parse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiVersion;

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(API_VERSION)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = String::deserialize(deserializer)?;
        if found == API_VERSION {
            Ok(Self)
        } else {
            Err(D::Error::custom(format_args!(
                "apiVersion is {found:?}, expected {API_VERSION:?}"
            )))
        }
    }
}

impl JsonSchema for ApiVersion {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiVersion".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The `kind` field of `K`: always its name; any other value does not parse.
pub struct KindName<K>(PhantomData<fn() -> K>);

impl<K> Clone for KindName<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for KindName<K> {}

impl<K> Default for KindName<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K> PartialEq for KindName<K> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<K: Kind> std::fmt::Debug for KindName<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(K::KIND)
    }
}

impl<K: Kind> Serialize for KindName<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(K::KIND)
    }
}

impl<'de, K: Kind> Deserialize<'de> for KindName<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = String::deserialize(deserializer)?;
        if found == K::KIND {
            Ok(Self::default())
        } else {
            Err(D::Error::custom(format_args!(
                "kind is {found:?}, expected {:?}",
                K::KIND
            )))
        }
    }
}

impl<K> JsonSchema for KindName<K> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Implements [`kube::Resource`] for a kind of this group.
macro_rules! resource {
    ($kind:ident, $scope:ty) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                <Self as $crate::Kind>::KIND.into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $crate::GROUP.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $crate::VERSION.into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                <Self as $crate::Kind>::PLURAL.into()
            }
            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;
