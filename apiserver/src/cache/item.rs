//! An object as the cache keeps it.

use crate::keys;
use crate::selector::{FieldSelector, LabelSelector};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use store::Entry;

/// An object: its bytes, shared with the store, and what selectors look at.
#[derive(Clone, Debug)]
pub struct Item {
    /// As it was written.
    pub entry: Arc<Entry>,
    /// What selectors look at.
    pub selectable: Arc<Selectable>,
}

/// What selectors look at.
#[derive(Debug, Default)]
pub struct Selectable {
    namespace: Box<str>,
    name: Box<str>,
    labels: Box<[(Box<str>, Box<str>)]>,
    /// Values of the fields that the resource lets clients select by, in its order.
    fields: Box<[Box<str>]>,
    /// What somebody else read of the object.
    read: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Item {
    /// Reads an entry. `below` is its key below the resource's prefix.
    #[must_use]
    pub fn new(entry: Arc<Entry>, below: &str, paths: &[String]) -> Self {
        let selectable = Arc::new(Selectable::read(&entry.value, below, paths));
        Self { entry, selectable }
    }

    /// An entry for who selects by nothing but its name: its value is not parsed.
    #[must_use]
    pub fn unread(entry: Arc<Entry>, below: &str) -> Self {
        let selectable = Arc::new(Selectable::named(below));
        Self { entry, selectable }
    }

    /// What `read` makes of the object, which it is asked once for each change, whatever the number of
    /// watchers and lists. All who ask for objects of a resource must ask for the same type; the others
    /// get nothing.
    pub fn read<T: Any + Send + Sync>(&self, read: impl FnOnce(&Entry) -> T) -> Option<&T> {
        let kept = &self.selectable.read;
        let known = kept.get_or_init(|| Box::new(read(&self.entry)));
        known.downcast_ref()
    }
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(default)]
    metadata: Labels,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
}

impl Selectable {
    /// Reads what a value says. What does not parse has no labels.
    #[must_use]
    pub fn read(value: &[u8], below: &str, paths: &[String]) -> Self {
        let parsed: Option<Labelled> = serde_json::from_slice(value).ok();
        let labels = parsed.and_then(|parsed| parsed.metadata.labels);
        let fields = paths.iter().map(|path| field(value, path));
        Self {
            labels: labels.unwrap_or_default().into_iter().collect(),
            fields: fields.collect(),
            ..Self::named(below)
        }
    }

    /// What the key alone says.
    fn named(below: &str) -> Self {
        let (namespace, name) = keys::split(below);
        Self {
            namespace: namespace.into(),
            name: name.into(),
            ..Self::default()
        }
    }

    /// The namespace; empty for kinds without.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both selectors mean the object. `paths` are those it was read with.
    #[must_use]
    pub fn is_meant(
        &self,
        labels: &LabelSelector,
        fields: &FieldSelector,
        paths: &[String],
    ) -> bool {
        let label = |key: &str| {
            let found = self
                .labels
                .binary_search_by(|(known, _)| (**known).cmp(key));
            found.ok().map(|at| &*self.labels[at].1)
        };
        let value = |path: &str| match path {
            "metadata.name" => &*self.name,
            "metadata.namespace" => &*self.namespace,
            path => {
                let at = paths.iter().position(|known| known == path);
                at.and_then(|at| self.fields.get(at))
                    .map_or("", |value| value)
            }
        };
        labels.selects(label) && fields.selects(value)
    }
}

/// The scalar at a path, as text; only the objects on the way are parsed.
fn field(value: &[u8], path: &str) -> Box<str> {
    let mut steps = path.trim_start_matches('.').split('.').peekable();
    let mut rest: &[u8] = value;
    while let Some(step) = steps.next() {
        let fields: BTreeMap<String, &RawValue> = match serde_json::from_slice(rest) {
            Ok(fields) => fields,
            Err(_) => return "".into(),
        };
        let Some(found) = fields.get(step) else {
            return "".into();
        };
        rest = found.get().as_bytes();
        if steps.peek().is_none() {
            return scalar(found.get());
        }
    }
    "".into()
}

fn scalar(raw: &str) -> Box<str> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw)
            .unwrap_or_default()
            .into(),
        Some(b'{' | b'[' | b'n') | None => "".into(),
        Some(_) => raw.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_see_labels_fields_and_the_key() {
        let value =
            br#"{"metadata":{"labels":{"b":"2","a":"1"}},"spec":{"on":true,"n":"x","o":{}}}"#;
        let paths = ["spec.on", "spec.n", "spec.o", "spec.none"].map(str::to_owned);
        let selectable = Selectable::read(value, "ns/me", &paths);
        let meant = |labels: &str, fields: &str| {
            selectable.is_meant(&labels.parse().unwrap(), &fields.parse().unwrap(), &paths)
        };
        assert!(meant(
            "a=1,b=2,!c",
            "metadata.name=me,metadata.namespace=ns"
        ));
        assert!(meant("", "spec.on=true,spec.n=x,spec.o=,spec.none="));
        assert!(!meant("a=2", ""));
        assert!(!meant("", "metadata.name=you"));
        assert_eq!(Selectable::read(b"broken", "me", &paths).name(), "me");
    }

    #[test]
    fn an_object_is_read_once_for_all_who_ask() {
        let entry = Entry {
            key: "/k".into(),
            value: "12".into(),
            created: store::Revision(7),
            modified: store::Revision(7),
            version: 1,
        };
        let item = Item::new(Arc::new(entry), "k", &[]);
        let copy = item.clone();
        assert_eq!(item.read(|entry| entry.value.len()), Some(&2));
        assert_eq!(copy.read(|_| -> usize { unreachable!() }), Some(&2));
        assert_eq!(item.read(|_| String::new()), None);
    }
}
