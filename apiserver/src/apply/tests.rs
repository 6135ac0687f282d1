use serde_json::json;

use super::*;
use crate::schema::{Kind, ListType, Ownership};

fn of(kind: Kind) -> Schema {
    Schema {
        kind,
        ..Schema::default()
    }
}

fn object_of(properties: &[(&str, Schema)], additional: Option<Schema>) -> Schema {
    let properties = properties.iter().cloned();
    of(Kind::Object {
        properties: properties.map(|(name, s)| (name.to_owned(), s)).collect(),
        additional: additional.map(Box::new),
        required: vec![],
        ownership: Ownership::Granular,
    })
}

fn list_of(items: Schema, list: ListType) -> Schema {
    of(Kind::List {
        items: Box::new(items),
        list,
    })
}

/// As much of a Deployment as the documentation's examples need.
fn deployment() -> Schema {
    let by_name = ListType::Map(vec!["name".to_owned()]);
    let container = object_of(
        &[("name", of(Kind::String)), ("image", of(Kind::String))],
        None,
    );
    let spec = object_of(
        &[
            ("replicas", of(Kind::Integer)),
            ("paused", of(Kind::Boolean)),
            ("containers", list_of(container, by_name)),
            ("tags", list_of(of(Kind::String), ListType::Set)),
        ],
        None,
    );
    let data = object_of(&[], Some(of(Kind::String)));
    object_of(&[("spec", spec), ("data", data)], None)
}

/// The object of a test and those who write to it.
struct Desk {
    schema: Schema,
    live: Option<Value>,
    reset: FieldSet,
    minutes: i64,
}

impl Desk {
    fn new() -> Self {
        Self {
            schema: deployment(),
            live: None,
            reset: FieldSet::default(),
            minutes: 0,
        }
    }

    fn by<'a>(&'a self, manager: &'a str) -> Writer<'a> {
        Writer {
            manager,
            schema: &self.schema,
            api_version: "apps/v1",
            kind: "Deployment",
            subresource: "",
            reset: &self.reset,
            now: Timestamp::from_second(self.minutes * 60).unwrap(),
        }
    }

    fn full(body: Value) -> Value {
        let mut full = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"},
        });
        let Value::Object(fields) = body else {
            panic!("{body} is no object");
        };
        for (name, value) in fields {
            full[name] = value;
        }
        full
    }

    fn apply(&mut self, manager: &str, force: bool, body: Value) -> Result<(), Error> {
        self.minutes += 1;
        let config = Self::full(body);
        let object = apply(self.live.as_ref(), &config, &self.by(manager), force)?;
        self.live = Some(object);
        Ok(())
    }

    fn update(&mut self, manager: &str, body: Value) {
        self.minutes += 1;
        let new = Self::full(body);
        let mut object = try_update(self.live.as_ref(), new, &self.by(manager)).unwrap();
        object["metadata"]["uid"] = json!("u");
        self.live = Some(object);
    }

    fn get(&self, pointer: &str) -> Option<&Value> {
        self.live.as_ref().unwrap().pointer(pointer)
    }

    /// What each manager owns, printed: `name: .path .path`.
    fn owners(&self) -> Vec<String> {
        let managers = Managers::of(self.live.as_ref().unwrap()).unwrap();
        let print = |(id, owned, _): (&ManagerId, &Owned, _)| {
            let paths: Vec<_> = owned.fields.paths().iter().map(Path::to_string).collect();
            format!("{}: {}", id.name, paths.join(" "))
        };
        managers.iter().map(print).collect()
    }
}

#[test]
fn a_field_that_another_manager_set_is_a_conflict() {
    let mut desk = Desk::new();
    desk.update(
        "kubectl-client-side-apply",
        json!({"spec": {"replicas": 1}}),
    );
    let refused = desk.apply("me", false, json!({"spec": {"replicas": 2}}));
    let message = "Apply failed with 1 conflict: \
                   conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas";
    assert_eq!(refused.unwrap_err().to_string(), message);

    desk.apply("me", true, json!({"spec": {"replicas": 2}}))
        .unwrap();
    assert_eq!(desk.get("/spec/replicas"), Some(&json!(2)));
    assert_eq!(
        desk.owners(),
        ["kubectl-client-side-apply: .spec", "me: .spec.replicas"]
    );
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let mut desk = Desk::new();
    desk.apply("b", false, json!({"spec": {"replicas": 1}}))
        .unwrap();
    desk.update(
        "a",
        json!({"spec": {"replicas": 1, "containers": [{"name": "c", "image": "1"}]}}),
    );
    let body = json!({"spec": {"replicas": 2, "containers": [{"name": "c", "image": "2"}]}});
    let refused = desk.apply("me", false, body).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"a\" using apps/v1:\n\
         - .spec.containers[name=\"c\"].image\n\
         conflicts with \"b\":\n\
         - .spec.replicas"
    );
    let Error::Conflicts(Conflicts(conflicts)) = refused else {
        panic!("conflicts are expected");
    };
    assert_eq!(conflicts[0].message(), "conflict with \"a\" using apps/v1");
    assert_eq!(conflicts[1].path, Path::of_fields(&["spec", "replicas"]));
}

#[test]
fn the_same_value_is_owned_together() {
    let mut desk = Desk::new();
    desk.apply("a", false, json!({"spec": {"replicas": 1}}))
        .unwrap();
    desk.apply("b", false, json!({"spec": {"replicas": 1}}))
        .unwrap();
    assert_eq!(desk.owners(), ["a: .spec.replicas", "b: .spec.replicas"]);
}

#[test]
fn ownership_is_handed_over_by_ceasing_to_state_a_field() {
    // As the documentation hands replicas over to an autoscaler.
    let mut desk = Desk::new();
    let both = json!({"spec": {"replicas": 3, "paused": false}});
    desk.apply("user", false, both).unwrap();
    desk.apply("autoscaler", false, json!({"spec": {"replicas": 3}}))
        .unwrap();
    desk.apply("user", false, json!({"spec": {"paused": false}}))
        .unwrap();
    assert_eq!(desk.get("/spec/replicas"), Some(&json!(3)));
    desk.apply("autoscaler", false, json!({"spec": {"replicas": 5}}))
        .unwrap();
    assert_eq!(
        desk.owners(),
        ["autoscaler: .spec.replicas", "user: .spec.paused"]
    );
}

#[test]
fn what_is_no_longer_stated_and_nobody_else_owns_is_removed() {
    let mut desk = Desk::new();
    let containers = json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]);
    desk.apply(
        "me",
        false,
        json!({"spec": {"replicas": 1, "containers": containers, "tags": ["x", "y"]}}),
    )
    .unwrap();
    desk.apply(
        "me",
        false,
        json!({"spec": {"containers": [{"name": "b", "image": "1"}], "tags": ["y"]}}),
    )
    .unwrap();
    let spec = json!({"containers": [{"name": "b", "image": "1"}], "tags": ["y"]});
    assert_eq!(desk.get("/spec"), Some(&spec));
}

#[test]
fn lists_are_merged_in_the_order_of_upstream() {
    for (live, config, merged) in [
        (vec!["a", "b"], vec!["c"], vec!["a", "b", "c"]),
        (vec!["a", "b", "c"], vec!["c", "a"], vec!["b", "c", "a"]),
        (
            vec!["a", "x", "b"],
            vec!["b", "y"],
            vec!["a", "x", "b", "y"],
        ),
        (vec!["a"], vec!["y", "a"], vec!["y", "a"]),
    ] {
        let mut desk = Desk::new();
        desk.update("other", json!({"spec": {"tags": live}}));
        desk.apply("me", true, json!({"spec": {"tags": config}}))
            .unwrap();
        assert_eq!(
            desk.get("/spec/tags"),
            Some(&json!(merged)),
            "{live:?} {config:?}"
        );
    }
}

#[test]
fn an_update_takes_what_it_changes_and_empty_entries_vanish() {
    let mut desk = Desk::new();
    desk.apply("a", false, json!({"data": {"k": "1"}})).unwrap();
    desk.update("b", json!({"data": {"k": "2"}}));
    assert_eq!(desk.owners(), ["b: .data.k"]);
    desk.update("c", json!({}));
    assert!(desk.owners().is_empty());
    assert_eq!(desk.get("/metadata/managedFields"), None);
}

#[test]
fn an_apply_that_changes_nothing_leaves_the_object_as_it_is() {
    let mut desk = Desk::new();
    let body = json!({"spec": {"replicas": 1}, "data": {"k": "1"}});
    desk.apply("me", false, body.clone()).unwrap();
    let before = desk.live.clone();
    desk.apply("me", false, body).unwrap();
    assert_eq!(desk.live, before);
}

#[test]
fn managers_can_be_reset_and_stay_so() {
    for reset in [json!([]), json!([{}])] {
        let mut desk = Desk::new();
        desk.update("a", json!({"data": {"k": "1"}}));
        let metadata = json!({"name": "web", "managedFields": reset});
        desk.update("b", json!({"data": {"k": "2"}, "metadata": metadata}));
        assert!(desk.owners().is_empty());
        desk.update("b", json!({"data": {"k": "3"}}));
        assert!(desk.owners().is_empty());
        desk.apply("me", false, json!({"data": {"k": "3"}}))
            .unwrap();
        assert_eq!(
            desk.owners(),
            ["before-first-apply: .data .data.k", "me: .data.k"]
        );
    }
}

#[test]
fn the_oldest_managers_of_updates_are_put_together() {
    let mut desk = Desk::new();
    let mut data = json!({});
    for number in 0..12 {
        data[format!("k{number}")] = json!("1");
        desk.update(&format!("m{number:02}"), json!({"data": data}));
    }
    let owners = desk.owners();
    assert_eq!(owners.len(), cap::MAX_UPDATE_MANAGERS);
    assert_eq!(
        owners[0],
        "ancient-changes: .data .data.k0 .data.k1 .data.k2"
    );
    assert_eq!(owners[1], "m03: .data.k3");
}

#[test]
fn a_request_cannot_own_what_it_cannot_write() {
    let mut desk = Desk::new();
    desk.reset.insert(Path::of_fields(&["data"]));
    desk.apply(
        "me",
        false,
        json!({"data": {"k": "1"}, "spec": {"replicas": 1}}),
    )
    .unwrap();
    assert_eq!(desk.owners(), ["me: .spec.replicas"]);
}

#[test]
fn what_is_applied_says_neither_its_managers_nor_an_item_twice() {
    let mut desk = Desk::new();
    let metadata = json!({"name": "web", "managedFields": []});
    let refused = desk.apply("me", false, json!({"metadata": metadata}));
    assert_eq!(refused, Err(Error::ManagedFields));

    let refused = desk.apply("me", false, json!({"spec": {"tags": ["a", "a"]}}));
    let message = "failed to create typed patch object \
                   (default/web; apps/v1, Kind=Deployment): \
                   .spec.tags: duplicate entries for key [=\"a\"]";
    assert_eq!(refused.unwrap_err().to_string(), message);

    let refused = desk.apply("me", false, json!({"kind": "Other"}));
    let message = "invalid object type: apps/v1, Kind=Other";
    assert_eq!(refused.unwrap_err().to_string(), message);
}

#[test]
fn an_object_that_does_not_fit_its_schema_has_no_managers() {
    let desk = Desk::new();
    let new = Desk::full(json!({"other": 1, "metadata": {"name": "x", "managedFields": []}}));
    let updated = update(None, new, &desk.by("me"));
    assert_eq!(
        updated,
        Desk::full(json!({"other": 1, "metadata": {"name": "x"}}))
    );
}

#[test]
fn kubectl_moves_from_client_side_apply_without_conflict() {
    let mut desk = Desk::new();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let last = Desk::full(json!({"spec": {"replicas": 1}})).to_string();
    let metadata = json!({"name": "web", "annotations": {annotation: last}});
    desk.update(
        "kubectl-client-side-apply",
        json!({"spec": {"replicas": 1}, "metadata": metadata}),
    );
    let two = json!({"spec": {"replicas": 2}});
    assert!(desk.apply("other", false, two.clone()).is_err());
    desk.apply("kubectl", false, two.clone()).unwrap();
    let kept = desk.get("/metadata/annotations").unwrap()[annotation].as_str();
    let kept: Value = serde_json::from_str(kept.unwrap()).unwrap();
    assert_eq!(kept, Desk::full(two));
}

#[test]
fn what_a_manager_applied_can_be_read_back() {
    let mut desk = Desk::new();
    desk.update("other", json!({"spec": {"paused": true}}));
    let spec = json!({"replicas": 1, "containers": [{"name": "c", "image": "1"}]});
    desk.apply("me", false, json!({"spec": spec})).unwrap();
    let read = applied_by(desk.live.as_ref().unwrap(), &desk.by("me"));
    assert_eq!(read, Ok(Some(json!({"spec": spec}))));
    let none = applied_by(desk.live.as_ref().unwrap(), &desk.by("nobody"));
    assert_eq!(none, Ok(None));
}
