//! Objects as this face shows them.

use jiff::Timestamp;
use lariat_api::{Cluster, ClusterId, Token};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::action;
use super::caller::Caller;
use super::field::{Described, Field, referring_to};
use super::kinds::{Home, Type};
use super::place::Scope;
use super::state::State;
use super::{namespaces, nodes};

/// The annotation of who made an object. It decides nothing.
pub(super) const CREATOR: &str = "field.cattle.io/creatorId";

/// What all objects of a type in one answer have in common.
pub(super) struct View<'a> {
    pub(super) caller: &'a Caller,
    pub(super) of: &'a Type,
    pub(super) described: &'a Described,
    pub(super) scope: &'a Scope,
    /// The types whose objects may belong to one of this type.
    children: Vec<Child>,
}

/// Objects that may belong to an object.
struct Child {
    plural: String,
    /// The field that says so; `None`: they are below it.
    field: Option<&'static str>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        caller: &'a Caller,
        of: &'a Type,
        described: &'a Described,
        scope: &'a Scope,
    ) -> Self {
        Self {
            children: children(caller, of),
            caller,
            of,
            described,
            scope,
        }
    }

    /// The fields of an object, without links and actions.
    pub(super) fn values(&self, object: &Value) -> Map<String, Value> {
        let mut shown = Map::new();
        for (name, field) in &self.described.fields {
            if field.write_only {
                continue;
            }
            match field.value(object) {
                Some(value) => drop(shown.insert(name.clone(), value.into_owned())),
                None if field.kind == "boolean" => drop(shown.insert(name.clone(), json!(false))),
                None => {}
            }
        }
        let own = object.get("type").and_then(Value::as_str);
        shown.insert("type".into(), json!(own.unwrap_or(&self.of.id)));
        shown.insert("baseType".into(), json!(self.of.id));
        shown.insert("id".into(), json!(self.id(object)));
        if let Some(created) = milliseconds(&shown, "created") {
            shown.insert("createdTS".into(), json!(created));
        }
        shown.entry("creatorId").or_insert(Value::Null);
        self.hide_annotations(&mut shown);
        self.compute(object, &mut shown);
        shown
    }

    /// An object.
    pub(super) fn resource(&self, object: &Value) -> Value {
        self.linked(self.values(object))
    }

    /// Adds what can be done with an object.
    pub(super) fn linked(&self, mut shown: Map<String, Value>) -> Value {
        let id = shown["id"].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = self.place_of(&id);
        let itself = self.caller.links.object(self.of, self.scope, &id);
        let mut links = json!({"self": itself});
        if self.of.home != Home::InsideOf {
            for (link, verb) in [("update", "update"), ("remove", "delete")] {
                if self.caller.may(verb, self.of, &namespace, &name) {
                    links[link] = json!(itself);
                }
            }
        }
        for child in &self.children {
            links[&child.plural] = match child.field {
                Some(field) => {
                    let plural = child.plural.to_lowercase();
                    json!(format!(
                        "{}/{plural}?{field}={id}",
                        self.caller.links.root()
                    ))
                }
                None => {
                    let parent = self.of.plural.to_lowercase();
                    json!(self.caller.links.below(&parent, &id, &child.plural))
                }
            };
        }
        shown.insert("links".into(), links);
        let mut actions = Map::new();
        for action in action::of_objects(&self.of.id) {
            if (action.is_offered)(self.caller, &namespace, &name) {
                actions.insert(
                    action.name.into(),
                    json!(format!("{itself}?action={}", action.name)),
                );
            }
        }
        shown.insert("actions".into(), actions.into());
        shown.into()
    }

    /// The id of an object.
    fn id(&self, object: &Value) -> String {
        let meta = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        match self.of.home {
            Home::Server | Home::Own | Home::Inside => meta("name").to_owned(),
            Home::Cluster | Home::Project => format!("{}:{}", meta("namespace"), meta("name")),
            Home::InsideOf => format!("{}:{}", self.scope, meta("name")),
        }
    }

    /// Namespace and name of the object of an id, which may be shorter in a scope.
    pub(super) fn place_of(&self, id: &str) -> (String, String) {
        let split = |scoped: &str| match id.split_once(':') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => (scoped.to_owned(), id.to_owned()),
        };
        match (self.of.home, self.scope) {
            (Home::Server | Home::Inside, _) => (String::new(), id.to_owned()),
            (Home::Own, _) => (self.caller.who.user.to_string(), id.to_owned()),
            (Home::InsideOf, _) => (String::new(), split("").1),
            (Home::Cluster, scope) => split(scope.cluster().map_or("", ClusterId::as_str)),
            (Home::Project, Scope::Project(_, project)) => split(project.as_str()),
            (Home::Project, _) => split(""),
        }
    }

    /// Annotations that are fields are no annotations here.
    fn hide_annotations(&self, shown: &mut Map<String, Value>) {
        let Some(Value::Object(annotations)) = shown.get_mut("annotations") else {
            return;
        };
        for name in self.annotations_as_fields() {
            annotations.remove(name);
        }
    }

    /// The annotations that are fields of this type.
    pub(super) fn annotations_as_fields(&self) -> impl Iterator<Item = &'a str> {
        let described: &'a Described = self.described;
        described.fields.values().filter_map(|field| {
            match field
                .path
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice()
            {
                ["metadata", "annotations", name] => Some(*name),
                _ => None,
            }
        })
    }

    /// Adds what is made of several fields.
    fn compute(&self, object: &Value, shown: &mut Map<String, Value>) {
        let state = match self.of.id.as_str() {
            "cluster" => cluster(object, shown),
            "namespace" => namespaces::state(object),
            "node" => nodes::compute(object, self.scope, shown),
            _ => None,
        };
        let state = state.unwrap_or_else(|| State::of(object));
        match self.of.id.as_str() {
            "token" => self.token(object, shown),
            "user" => drop(shown.insert(
                "me".into(),
                json!(shown["id"] == self.caller.who.user.as_str()),
            )),
            // What counts is the value that applies.
            "setting" if shown.get("value").is_none_or(|value| value == "") => {
                let default = shown.get("default").cloned();
                shown.insert("value".into(), default.unwrap_or_default());
            }
            _ => {}
        }
        state.show(shown);
    }

    fn token(&self, object: &Value, shown: &mut Map<String, Value>) {
        let now = self.caller.app.clock.now();
        let ended = milliseconds(shown, "expiresAt");
        let expired = ended.is_some_and(|ended| ended <= now.as_millisecond());
        shown.insert("expired".into(), json!(expired));
        let current = shown["id"] == self.caller.who.token.as_str();
        shown.insert("current".into(), json!(current));
        let Ok(token) = Token::deserialize(object) else {
            return;
        };
        let user: Result<lariat_api::UserId, _> = token.user_id.parse();
        if let Ok(user) = user {
            shown
                .entry("userPrincipal")
                .or_insert(json!(user.local_principal()));
        }
    }
}

/// Fields of types of this server that are made of several others.
pub(super) fn computed(id: &str) -> Vec<(String, Field)> {
    let read = |kind: &str, description: &str| Field::shown_only(kind, &[], description);
    let fields = match id {
        "cluster" => vec![(
            "version",
            read("map[string]", "Version of the cluster's API server"),
        )],
        "token" => vec![
            (
                "expired",
                read("boolean", "Whether the token is too old to be accepted"),
            ),
            (
                "current",
                read("boolean", "Whether the request was made with this token"),
            ),
            (
                "userPrincipal",
                read(
                    "reference[principal]",
                    "The user as the login provider knows it",
                ),
            ),
        ],
        "user" => vec![("me", read("boolean", "Whether it is the user who asks"))],
        _ => Vec::new(),
    };
    let fields = fields.into_iter();
    fields
        .map(|(name, field)| (name.to_owned(), field))
        .collect()
}

/// The types whose objects belong to those of another.
fn children(caller: &Caller, of: &Type) -> Vec<Child> {
    let below = |homes: &'static [Home]| {
        let all = Type::all(&caller.app.api.registry()).into_iter();
        let own = all.filter(move |one| homes.contains(&one.home) && one.id != of.id);
        own.map(|one| Child {
            plural: one.plural,
            field: None,
        })
        .collect::<Vec<_>>()
    };
    match of.id.as_str() {
        "cluster" => {
            let mut children = below(&[Home::Cluster, Home::Project, Home::Inside, Home::InsideOf]);
            children.push(Child {
                plural: "schemas".to_owned(),
                field: None,
            });
            children
        }
        "project" => below(&[Home::Project, Home::Inside]),
        "user" | "roleTemplate" | "globalRole" => {
            let all = Type::all(&caller.app.api.registry());
            let referring = all.into_iter().filter_map(|one| {
                let mut fields = referring_to(&of.id);
                let (_, field) = fields.find(|(own, _)| one.has(own))?;
                Some(Child {
                    plural: one.plural,
                    field: Some(field),
                })
            });
            referring.collect()
        }
        _ => Vec::new(),
    }
}

/// The state of a cluster. Adds the version in the form that clients know.
fn cluster(object: &Value, shown: &mut Map<String, Value>) -> Option<State> {
    if object["metadata"].get("deletionTimestamp").is_some() {
        return None;
    }
    let cluster = Cluster::deserialize(object).ok()?;
    let version = cluster.status.as_ref()?.info.as_ref();
    if let Some(info) = version.filter(|info| !info.kubernetes_version.is_empty()) {
        shown.insert(
            "version".into(),
            json!({"gitVersion": info.kubernetes_version}),
        );
    }
    let said = |type_: &str| {
        let found = super::state::condition(object, type_);
        found
            .and_then(|found| found["message"].as_str())
            .unwrap_or_default()
    };
    use super::state::Change;
    Some(match cluster.state() {
        "Ready" => State::active(),
        "Pending" => State::new("pending", Change::Yes, "waiting for an agent to register"),
        "NotReady" => State::new("unavailable", Change::Error, said("Ready")),
        _ => State::new("unavailable", Change::Error, said("Connected")),
    })
}

/// A time in milliseconds since 1970.
fn milliseconds(shown: &Map<String, Value>, field: &str) -> Option<i64> {
    let time: Timestamp = shown.get(field)?.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}
