//! An object of the API, of whatever kind.

use crate::body;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// How an object begins in the store, so that its resource version, which is only known when it
/// has been written, can be put in without parsing.
const HEAD: &[u8] = br#"{"metadata":{"#;

/// An object: a JSON object with `metadata`, which is one too.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(Value);

/// What is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not a JSON object.
    #[error("it is not an object")]
    NoObject,
    /// `metadata` is something else.
    #[error("metadata is not an object")]
    NoMetadata,
    /// What is in the store does not parse.
    #[error("what is stored does not parse")]
    Damaged,
}

impl Object {
    /// An object from a value. Absent metadata becomes empty metadata.
    ///
    /// # Errors
    /// [`ObjectError::NoObject`], [`ObjectError::NoMetadata`].
    pub fn new(mut value: Value) -> Result<Self, ObjectError> {
        let Value::Object(fields) = &mut value else {
            return Err(ObjectError::NoObject);
        };
        match fields.get("metadata") {
            Some(Value::Object(_)) => {}
            None | Some(Value::Null) => {
                fields.insert("metadata".into(), Map::new().into());
            }
            Some(_) => return Err(ObjectError::NoMetadata),
        }
        Ok(Self(value))
    }

    /// How deep it nests, without what server-side apply records, which nests as deep again.
    #[must_use]
    pub fn depth(&self) -> usize {
        let below = |(name, field): (&String, &Value)| match name.as_str() {
            "managedFields" => 0,
            _ => body::depth(field),
        };
        let meta = 1 + self.meta().iter().map(below).max().unwrap_or_default();
        let fields = self.fields().iter();
        let others = fields.filter(|(name, _)| *name != "metadata").map(below);
        1 + others.max().unwrap_or_default().max(meta)
    }

    /// The object in an entry of the store.
    ///
    /// # Errors
    /// [`ObjectError::Damaged`].
    pub fn decode(bytes: &[u8], revision: u64) -> Result<Self, ObjectError> {
        let value = serde_json::from_slice(bytes).map_err(|_| ObjectError::Damaged)?;
        let mut object = Self::new(value)?;
        object.set_meta("resourceVersion", revision.to_string());
        Ok(object)
    }

    /// What is written to the store: without its resource version, metadata first.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(HEAD);
        let meta = self.meta().iter();
        write_fields(
            &mut text,
            meta.filter(|(name, _)| *name != "resourceVersion"),
        );
        text.push(b'}');
        let rest = self.fields().iter().filter(|(name, _)| *name != "metadata");
        for (name, value) in rest {
            text.push(b',');
            write_fields(&mut text, [(name, value)]);
        }
        text.push(b'}');
        text.shrink_to_fit();
        text.into()
    }

    /// The fields of the object.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        self.0.as_object().expect("it was made of an object")
    }

    /// The same, to be changed. `metadata` must stay an object.
    pub fn fields_mut(&mut self) -> &mut Map<String, Value> {
        self.0.as_object_mut().expect("it was made of an object")
    }

    /// The object as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// `metadata`.
    #[must_use]
    pub fn meta(&self) -> &Map<String, Value> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let meta = self.0.get("metadata").and_then(Value::as_object);
        meta.unwrap_or(&EMPTY)
    }

    /// `metadata`, to be changed.
    pub fn meta_mut(&mut self) -> &mut Map<String, Value> {
        let meta = self
            .fields_mut()
            .entry("metadata")
            .or_insert_with(|| Map::new().into());
        if !meta.is_object() {
            *meta = Map::new().into();
        }
        meta.as_object_mut().expect("it was made an object above")
    }

    /// Sets a field of the metadata.
    pub fn set_meta(&mut self, field: &str, value: impl Into<Value>) {
        self.meta_mut().insert(field.to_owned(), value.into());
    }

    /// A text in the metadata; empty if it is absent.
    #[must_use]
    pub fn meta_text(&self, field: &str) -> &str {
        text(self.meta(), field)
    }

    /// Its name; empty if it has none yet.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta_text("name")
    }

    /// Its namespace; empty for kinds without.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.meta_text("namespace")
    }

    /// Its uid; empty if it has none yet.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.meta_text("uid")
    }

    /// `apiVersion`; empty if it is absent.
    #[must_use]
    pub fn api_version(&self) -> &str {
        text(self.fields(), "apiVersion")
    }

    /// `kind`; empty if it is absent.
    #[must_use]
    pub fn kind(&self) -> &str {
        text(self.fields(), "kind")
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta().get("labels")?.get(key)?.as_str()
    }

    /// Whether it is being deleted and waits for its finalizers.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.meta().contains_key("deletionTimestamp")
    }

    /// What must be done before it is gone.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let finalizers = self.meta().get("finalizers").and_then(Value::as_array);
        finalizers.into_iter().flatten().filter_map(Value::as_str)
    }

    /// A text at a path such as `spec.nodeName`, for field selectors: empty if it is absent, and
    /// for anything that is not a scalar.
    #[must_use]
    pub fn field(&self, path: &str) -> String {
        let mut steps = path.trim_start_matches('.').split('.');
        let first = steps.next().and_then(|step| self.0.get(step));
        match steps.try_fold(first, |value, step| Some(value?.get(step))) {
            Some(Some(Value::String(text))) => text.clone(),
            Some(Some(scalar @ (Value::Bool(_) | Value::Number(_)))) => scalar.to_string(),
            _ => String::new(),
        }
    }
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> &'a str {
    fields
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn write_fields<'a>(text: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'a String, &'a Value)>) {
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
        text.push(b':');
        // Writing a value to memory does not fail.
        let _ = serde_json::to_writer(&mut *text, value);
    }
}

/// An object as it is sent, in pieces that follow each other, from what is stored.
#[must_use]
pub fn sent(stored: &Bytes, revision: u64) -> [Bytes; 2] {
    let Some(rest) = stored.strip_prefix(HEAD) else {
        return [stored.clone(), Bytes::new()];
    };
    let mut head = Vec::with_capacity(HEAD.len() + 48);
    head.extend_from_slice(HEAD);
    head.extend_from_slice(format!("\"resourceVersion\":\"{revision}\"").as_bytes());
    if !rest.starts_with(b"}") {
        head.push(b',');
    }
    [head.into(), stored.slice(HEAD.len()..)]
}

/// A random (version 4) UUID.
#[must_use]
pub fn random_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_stored_gets_its_revision_without_being_parsed() {
        let value = json!({
            "apiVersion": "v1", "kind": "Thing", "spec": {"a": ["\"", 1.5, null]},
            "metadata": {"name": "a", "resourceVersion": "3", "labels": {"x": "y"}},
        });
        let stored = Object::new(value.clone()).unwrap().encode();
        assert!(!String::from_utf8_lossy(&stored).contains("resourceVersion"));
        let pieces = sent(&stored, 7).concat();
        let mut sent: Value = serde_json::from_slice(&pieces).unwrap();
        assert_eq!(sent["metadata"]["resourceVersion"], "7");
        assert_eq!(Object::decode(&stored, 7).unwrap().into_value(), sent);
        sent["metadata"]["resourceVersion"] = "3".into();
        assert_eq!(sent, value);
        let empty = Object::new(json!({})).unwrap().encode();
        let pieces = super::sent(&empty, 1).concat();
        assert!(serde_json::from_slice::<Value>(&pieces).is_ok());
    }

    #[test]
    fn fields_are_read_as_text() {
        let object = Object::new(json!({"spec": {"a": {"b": true, "c": "x", "d": []}}})).unwrap();
        for (path, expected) in [
            ("spec.a.b", "true"),
            (".spec.a.c", "x"),
            ("spec.a.d", ""),
            ("spec.a", ""),
            ("none.at.all", ""),
        ] {
            assert_eq!(object.field(path), expected, "{path}");
        }
        assert_eq!(Object::new(json!([])), Err(ObjectError::NoObject));
        assert_eq!(
            Object::new(json!({"metadata": 1})),
            Err(ObjectError::NoMetadata)
        );
    }
}
