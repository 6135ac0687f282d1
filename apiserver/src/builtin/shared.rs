//! Events are the same objects in both groups. They are kept as those of the old one.

use crate::object::Object;
use crate::registry::Resource;
use crate::selector::FieldSelector;
use serde_json::{Map, Value};

use super::strategy::settle_event;

/// What the old group calls a field, and what the new one does.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Group and plural under which the objects of a resource are kept.
pub(crate) fn kept_as(resource: &Resource) -> (&str, &str) {
    match is_shared(resource) {
        true => ("", &resource.plural),
        false => (&resource.group, &resource.plural),
    }
}

/// Whether the objects of a resource are kept as those of another.
pub(crate) fn is_shared(resource: &Resource) -> bool {
    resource.built_in && resource.group == "events.k8s.io"
}

/// An object as it is kept.
pub(crate) fn to_kept(resource: &Resource, object: &mut Object) {
    if !is_shared(resource) {
        return;
    }
    let fields = object.fields_mut();
    for (old, new) in NAMES {
        rename(fields, new, old);
    }
    fields.insert("apiVersion".into(), "v1".into());
    settle_event("", fields);
}

/// An object of the resource, from what is kept.
pub(crate) fn from_kept(resource: &Resource, object: &mut Object) {
    if !is_shared(resource) {
        return;
    }
    let fields = object.fields_mut();
    for (old, new) in NAMES {
        rename(fields, old, new);
    }
    for empty in ["reportingController", "reportingInstance"] {
        if fields.get(empty).is_some_and(|value| value == "") {
            fields.remove(empty);
        }
    }
    settle_event(&resource.group, fields);
}

/// A selector of objects as they are kept.
pub(crate) fn selector(resource: &Resource, fields: FieldSelector) -> FieldSelector {
    if !is_shared(resource) {
        return fields;
    }
    fields.renamed(|field| {
        let (first, rest) = field.split_once('.').unwrap_or((field, ""));
        let old = NAMES.iter().find(|(_, new)| *new == first)?.0;
        Some(match rest {
            "" => old.to_owned(),
            rest => format!("{old}.{rest}"),
        })
    })
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::resources;
    use serde_json::json;

    fn new_events() -> Resource {
        let mut all = resources().into_iter();
        all.find(|resource| resource.group == "events.k8s.io")
            .unwrap()
    }

    #[test]
    fn an_event_comes_back_from_the_old_group() {
        let sent = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "ConfigMap"}, "note": "text", "reason": "Tested",
            "reportingController": "suite", "eventTime": "2026-01-02T03:04:05.000000Z",
            "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null,
        });
        let mut event = Object::new(sent.clone()).unwrap();
        to_kept(&new_events(), &mut event);
        let expected = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "ConfigMap"}, "message": "text", "reason": "Tested",
            "reportingComponent": "suite", "eventTime": "2026-01-02T03:04:05.000000Z",
            "source": {}, "firstTimestamp": null, "lastTimestamp": null, "reportingInstance": "",
        });
        assert_eq!(*event.as_value(), expected);
        from_kept(&new_events(), &mut event);
        event
            .fields_mut()
            .insert("apiVersion".into(), "events.k8s.io/v1".into());
        assert_eq!(*event.as_value(), sent);
    }

    #[test]
    fn selectors_name_fields_as_they_are_kept() {
        let wanted: FieldSelector = "regarding.name=a,reason!=b".parse().unwrap();
        let expected: FieldSelector = "involvedObject.name=a,reason!=b".parse().unwrap();
        assert_eq!(selector(&new_events(), wanted), expected);
    }
}
