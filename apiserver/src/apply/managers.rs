//! Who owns what: `metadata.managedFields` as a value of its own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field_set::FieldSet;
use super::fields_v1::FieldsError;
use super::go_text;

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Anything else: create, replace, patch.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes a manager one of its own.
///
/// Someone who applies in another version is the same manager, someone who updates in another
/// version is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    /// The name that the client gave, or that was made from its user agent.
    pub name: String,
    /// How it came to own fields.
    pub operation: Operation,
    /// The `apiVersion` of its updates. `None` for those who apply.
    pub api_version: Option<String>,
    /// The subresource it wrote to, empty for the object itself.
    pub subresource: String,
}

impl ManagerId {
    /// A manager that writes in this version; `unknown` without a name.
    #[must_use]
    pub fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let name = if name.is_empty() { "unknown" } else { name };
        Self {
            name: name.to_owned(),
            operation,
            api_version: (operation == Operation::Update).then(|| api_version.to_owned()),
            subresource: subresource.to_owned(),
        }
    }

    /// The text by which upstream sorts managers.
    pub(super) fn sort_key(&self) -> String {
        let mut key = String::from("{");
        let mut comma = "";
        let fields = [
            ("manager", self.name.as_str()),
            ("operation", self.operation.name()),
            ("apiVersion", self.api_version.as_deref().unwrap_or("")),
            ("subresource", self.subresource.as_str()),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            key.push_str(comma);
            comma = ",";
            go_text::push_json_string(&mut key, name, true);
            key.push(':');
            go_text::push_json_string(&mut key, value, true);
        }
        key.push('}');
        key
    }
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The fields.
    pub fields: FieldSet,
    /// The `apiVersion` in which the paths are meant.
    pub api_version: String,
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers {
    pub(super) owners: BTreeMap<ManagerId, Owned>,
    /// Of managers that own nothing any more as well: one that comes back is as old as it was.
    pub(super) times: BTreeMap<ManagerId, Timestamp>,
}

/// What is wrong with an entry of `managedFields`, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagersError {
    /// Not a list of entries whose fields have the right types.
    #[error("metadata.managedFields is not a list of entries")]
    Shape,
    /// Neither apply nor update.
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    /// There is no version for the paths.
    #[error("apiVersion must not be empty")]
    ApiVersion,
    /// It is not said how the fields are encoded.
    #[error("missing fieldsType in managed fields entry {0}")]
    MissingFieldsType(usize),
    /// An encoding that is not known.
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
    /// The fields cannot be read.
    #[error("error decoding fields of managed fields entry {0}")]
    Fields(usize, #[source] FieldsError),
}

/// What an object says of its managers.
pub(super) enum Stated {
    /// Nothing that could be read.
    Nothing,
    /// That there are to be none: an empty list, or one empty entry.
    Reset,
    /// Entries, whose contents have not been checked.
    Entries(Vec<Entry>),
}

#[derive(Default, PartialEq)]
pub(super) struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    time: Option<Timestamp>,
    fields_type: String,
    fields: Option<Value>,
    subresource: String,
}

impl Stated {
    pub(super) fn of(object: &Value) -> Self {
        let Some(entries) = field(object).and_then(Value::as_array) else {
            return Self::Nothing;
        };
        let entries: Option<Vec<_>> = entries.iter().map(Entry::read).collect();
        match entries {
            None => Self::Nothing,
            Some(entries) if entries.is_empty() || entries == [Entry::default()] => Self::Reset,
            Some(entries) => Self::Entries(entries),
        }
    }
}

fn field(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

impl Entry {
    /// `None` if a field has a value of the wrong type.
    fn read(entry: &Value) -> Option<Self> {
        let entry = entry.as_object()?;
        let text = |name: &str| match entry.get(name) {
            None | Some(Value::Null) => Some(String::new()),
            Some(value) => value.as_str().map(str::to_owned),
        };
        let time = match entry.get("time") {
            None | Some(Value::Null) => None,
            Some(time) => Some(time.as_str()?.parse().ok()?),
        };
        let fields = entry.get("fieldsV1").filter(|fields| !fields.is_null());
        Some(Self {
            manager: text("manager")?,
            operation: text("operation")?,
            api_version: text("apiVersion")?,
            time,
            fields_type: text("fieldsType")?,
            fields: fields.cloned(),
            subresource: text("subresource")?,
        })
    }

    fn decode(&self, index: usize) -> Result<(ManagerId, Owned), ManagersError> {
        let operation = match self.operation.as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(ManagersError::Operation),
        };
        if self.api_version.is_empty() {
            return Err(ManagersError::ApiVersion);
        }
        match self.fields_type.as_str() {
            "FieldsV1" => {}
            "" => return Err(ManagersError::MissingFieldsType(index)),
            other => return Err(ManagersError::FieldsType(index, other.to_owned())),
        }
        let fields = FieldSet::decode(self.fields.as_ref().unwrap_or(&Value::Null));
        let id = ManagerId {
            // Unlike a manager of a request, a stored one may be without name.
            name: self.manager.clone(),
            ..ManagerId::new("", operation, &self.api_version, &self.subresource)
        };
        let owned = Owned {
            fields: fields.map_err(|error| ManagersError::Fields(index, error))?,
            api_version: self.api_version.clone(),
        };
        Ok((id, owned))
    }
}

impl Managers {
    /// The managers that an object states; none if it does not state any.
    ///
    /// # Errors
    /// When `metadata.managedFields` is there and cannot be read.
    pub fn of(object: &Value) -> Result<Self, ManagersError> {
        match Stated::of(object) {
            Stated::Nothing if field(object).is_none_or(Value::is_null) => Ok(Self::default()),
            Stated::Nothing => Err(ManagersError::Shape),
            // One empty entry is a request, not something to be stored.
            Stated::Reset if field(object) != Some(&json!([])) => Err(ManagersError::Operation),
            Stated::Reset => Ok(Self::default()),
            Stated::Entries(entries) => Self::decode(&entries),
        }
    }

    pub(super) fn decode(entries: &[Entry]) -> Result<Self, ManagersError> {
        let mut managers = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let (id, owned) = entry.decode(index)?;
            match entry.time {
                Some(time) => managers.times.insert(id.clone(), time),
                None => managers.times.remove(&id),
            };
            managers.owners.insert(id, owned);
        }
        Ok(managers)
    }

    /// Whether nobody owns anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The managers, what they own, and when that last changed.
    pub fn iter(&self) -> impl Iterator<Item = (&ManagerId, &Owned, Option<Timestamp>)> {
        let with_time = |(id, owned)| (id, owned, self.times.get(id).copied());
        self.owners.iter().map(with_time)
    }

    /// The entries of `managedFields`: those who apply first, the oldest first.
    #[must_use]
    pub fn encode(&self) -> Vec<Value> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by(|(a, a_owned, a_time), (b, b_owned, b_time)| {
            let second = |time: &Option<Timestamp>| time.map_or(0, |time| time.as_second());
            (a.operation.cmp(&b.operation))
                .then_with(|| second(a_time).cmp(&second(b_time)))
                .then_with(|| a.name.cmp(&b.name))
                .then_with(|| a_owned.api_version.cmp(&b_owned.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        let entry = |(id, owned, time)| encode_entry(id, owned, time);
        entries.into_iter().map(entry).collect()
    }

    /// Puts the entries into an object, or takes the field away if there are none.
    pub(super) fn write_to(&self, object: &mut Value) {
        if self.is_empty() {
            clear(object);
            return;
        }
        let Some(object) = object.as_object_mut() else {
            return;
        };
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("managedFields".to_owned(), Value::Array(self.encode()));
        }
    }
}

/// Takes `managedFields` away from an object.
pub(super) fn clear(object: &mut Value) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata {
        metadata.remove("managedFields");
    }
}

fn encode_entry(id: &ManagerId, owned: &Owned, time: Option<Timestamp>) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            entry.insert(name.to_owned(), Value::from(value));
        }
    };
    put("manager", &id.name);
    put("operation", id.operation.name());
    put("apiVersion", &owned.api_version);
    if let Some(time) = time {
        put("time", &time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    put("fieldsType", "FieldsV1");
    put("subresource", &id.subresource);
    entry.insert("fieldsV1".to_owned(), owned.fields.encode());
    Value::Object(entry)
}

#[cfg(test)]
mod tests;
