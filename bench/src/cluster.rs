//! A cluster that is nothing but its objects, in memory: as much of an API server as controllers need who list,
//! follow, make, change and delete them. It decides nothing and allows everything. There may be a thousand in
//! one process.

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Plural, namespace and name.
type Key = (String, String, String);

/// The objects of one cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// All that has happened, in order: the version of an event is its place, from 1.
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    what: &'static str,
    plural: String,
    object: Value,
}

impl Cluster {
    /// A cluster with these namespaces.
    #[must_use]
    pub fn with_namespaces(names: &[&str]) -> Arc<Self> {
        let cluster = Self::default();
        for name in names {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            cluster.put("namespaces", object);
        }
        Arc::new(cluster)
    }

    /// Watches that somebody has open.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.version.receiver_count()
    }

    /// Makes an object, or puts it in the place of another.
    pub fn put(&self, plural: &str, mut object: Value) -> Value {
        let mut state = self.lock();
        let name = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let key = (plural.to_owned(), name("namespace"), name("name"));
        let version = state.events.len() + 1;
        let known = state.objects.get(&key);
        let uid = known.map_or_else(
            || json!(format!("uid-{version}")),
            |known| known["metadata"]["uid"].clone(),
        );
        let what = if known.is_some() { "MODIFIED" } else { "ADDED" };
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.objects.insert(key, object.clone());
        self.tell(&mut state, what, plural, object.clone());
        object
    }

    /// Deletes an object. Returns whether there was one.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.lock();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.remove(&key) else {
            return false;
        };
        object["metadata"]["resourceVersion"] = json!((state.events.len() + 1).to_string());
        self.tell(&mut state, "DELETED", plural, object);
        true
    }

    /// Looks at the objects of a kind.
    pub fn look<T>(&self, plural: &str, look: impl FnOnce(&[&Value]) -> T) -> T {
        let state = self.lock();
        let found = state.objects.iter().filter(|((of, ..), _)| of == plural);
        let found: Vec<&Value> = found.map(|(_, object)| object).collect();
        look(&found)
    }

    /// Waits until something holds, which is looked at again whenever something has changed.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut version = self.version.subscribe();
        while !holds(self) {
            // The sender is the cluster itself.
            let _ = version.changed().await;
        }
    }

    fn tell(&self, state: &mut State, what: &'static str, plural: &str, object: Value) {
        let plural = plural.to_owned();
        state.events.push(Event {
            what,
            plural,
            object,
        });
        self.version.send_replace(state.events.len() as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request to the API server.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let query: BTreeMap<String, String> = form(parts.uri.query().unwrap_or_default());
        let Some(place) = Place::of(parts.uri.path()) else {
            return status(StatusCode::NOT_FOUND, "NotFound");
        };
        // What breaks off is answered to nobody.
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        match parts.method {
            Method::GET
                if query
                    .get("watch")
                    .is_some_and(|watch| watch == "true" || watch == "1") =>
            {
                self.watch(place, &query)
            }
            Method::GET if place.name.is_empty() => self.list(&place, &query),
            Method::GET => match self.get(&place) {
                Some(object) => json_answer(StatusCode::OK, &object),
                None => status(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::POST if place.plural.ends_with("reviews") => {
                let mut reviewed = body;
                reviewed["status"] = json!({"allowed": true});
                json_answer(StatusCode::CREATED, &reviewed)
            }
            Method::POST => {
                let name = body["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if self
                    .get(&Place {
                        name,
                        ..place.clone()
                    })
                    .is_some()
                {
                    return status(StatusCode::CONFLICT, "AlreadyExists");
                }
                json_answer(StatusCode::CREATED, &self.put(&place.plural, body))
            }
            Method::PATCH if query.contains_key("force") => {
                json_answer(StatusCode::OK, &self.put(&place.plural, body))
            }
            Method::PATCH => {
                let Some(mut object) = self.get(&place) else {
                    return status(StatusCode::NOT_FOUND, "NotFound");
                };
                merge(&mut object, &body);
                json_answer(StatusCode::OK, &self.put(&place.plural, object))
            }
            Method::DELETE if self.delete(&place.plural, &place.namespace, &place.name) => {
                json_answer(
                    StatusCode::OK,
                    &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
                )
            }
            Method::DELETE => status(StatusCode::NOT_FOUND, "NotFound"),
            _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn get(&self, place: &Place) -> Option<Value> {
        let key = (
            place.plural.clone(),
            place.namespace.clone(),
            place.name.clone(),
        );
        self.lock().objects.get(&key).cloned()
    }

    fn list(&self, place: &Place, query: &BTreeMap<String, String>) -> Answer {
        let state = self.lock();
        let items = state
            .objects
            .iter()
            .filter(|((plural, namespace, _), object)| {
                *plural == place.plural && place.covers(namespace) && is_selected(object, query)
            });
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        let version = state.events.len().to_string();
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items});
        json_answer(StatusCode::OK, &list)
    }

    fn watch(self: &Arc<Self>, place: Place, query: &BTreeMap<String, String>) -> Answer {
        let since = query
            .get("resourceVersion")
            .and_then(|version| version.parse().ok());
        let lines = follow(
            Arc::clone(self),
            since.unwrap_or(0),
            move |event, namespace| event.plural == place.plural && place.covers(namespace),
        );
        // A label that an object loses is nothing that controllers do to their own.
        let lines = lines.map(|line| Ok(Frame::data(line)));
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

/// What happens after a version, a line each, without end.
fn follow(
    cluster: Arc<Cluster>,
    since: usize,
    counts: impl Fn(&Event, &str) -> bool + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let version = cluster.version.subscribe();
    stream::unfold(
        (cluster, version, since, counts),
        |(cluster, mut version, mut at, counts)| async move {
            loop {
                let line = {
                    let state = cluster.lock();
                    let mut after = state.events.iter().enumerate().skip(at);
                    let next = after.find(|(_, event)| {
                        let namespace = event.object["metadata"]["namespace"]
                            .as_str()
                            .unwrap_or_default();
                        counts(event, namespace)
                    });
                    at = next.map_or(state.events.len(), |(place, _)| place + 1);
                    next.map(|(_, event)| {
                        format!("{}\n", json!({"type": event.what, "object": event.object}))
                    })
                };
                if let Some(line) = line {
                    return Some((Bytes::from(line), (cluster, version, at, counts)));
                }
                version
                    .wait_for(|version| *version > at as u64)
                    .await
                    .ok()?;
            }
        },
    )
}

/// What a path names.
#[derive(Clone, Debug)]
struct Place {
    plural: String,
    namespace: String,
    name: String,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let mut words = path.trim_matches('/').split('/');
        let skipped = match words.next()? {
            "api" => 1,
            "apis" => 2,
            _ => return None,
        };
        let words: Vec<&str> = words.skip(skipped).collect();
        let (plural, namespace, name) = match *words.as_slice() {
            [plural] => (plural, "", ""),
            ["namespaces", namespace, plural] => (plural, namespace, ""),
            ["namespaces", namespace, plural, name] => (plural, namespace, name),
            [plural, name] => (plural, "", name),
            _ => return None,
        };
        let [plural, namespace, name] = [plural, namespace, name].map(str::to_owned);
        Some(Self {
            plural,
            namespace,
            name,
        })
    }

    fn covers(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace == namespace
    }
}

/// Whether an object has the one label that a list asks for.
fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("labelSelector") else {
        return true;
    };
    let labels = &object["metadata"]["labels"];
    match selector.split_once('=') {
        Some((label, value)) => labels[label] == value,
        None => !labels[selector.as_str()].is_null(),
    }
}

fn form(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// A merge patch (RFC 7396).
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, field) in fields {
        match field {
            Value::Null => {
                if let Some(object) = object.as_object_mut() {
                    object.remove(name);
                }
            }
            field => merge(&mut object[name.as_str()], field),
        }
    }
}

fn json_answer(code: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *answer.status_mut() = code;
    let kind = http::HeaderValue::from_static("application/json");
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A failure, as API servers tell it.
pub(crate) fn status(code: StatusCode, reason: &str) -> Answer {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": reason, "code": code.as_u16()});
    json_answer(code, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, label: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {"team": label}}})
    }

    #[tokio::test]
    async fn what_happens_after_a_version_is_told_in_order() {
        let cluster = Cluster::with_namespaces(&["a"]);
        cluster.put("clusterroles", named("r", "x"));
        let told = follow(Arc::clone(&cluster), 1, |event, _| {
            event.plural == "clusterroles"
        });
        cluster.put("clusterroles", named("r", "y"));
        cluster.delete("clusterroles", "", "r");
        let told: Vec<Bytes> = told.take(3).collect().await;
        let told = told
            .iter()
            .map(|line| serde_json::from_slice::<Value>(line).unwrap());
        let told: Vec<_> = told.map(|event| event["type"].clone()).collect();
        assert_eq!(told, ["ADDED", "MODIFIED", "DELETED"]);
    }

    #[test]
    fn an_object_keeps_its_uid_and_a_new_one_of_its_name_gets_another() {
        let cluster = Cluster::default();
        let uid = |object: Value| object["metadata"]["uid"].clone();
        let first = uid(cluster.put("clusterroles", named("r", "x")));
        assert_eq!(uid(cluster.put("clusterroles", named("r", "y"))), first);
        assert!(cluster.delete("clusterroles", "", "r"));
        assert_ne!(uid(cluster.put("clusterroles", named("r", "x"))), first);
    }

    #[test]
    fn paths_name_kinds_namespaces_and_objects() {
        let read = |path: &str| {
            Place::of(path).map(|it| format!("{} {} {}", it.plural, it.namespace, it.name))
        };
        let group = "/apis/rbac.authorization.k8s.io/v1";
        assert_eq!(read("/api/v1/namespaces").unwrap(), "namespaces  ");
        assert_eq!(read("/api/v1/namespaces/a").unwrap(), "namespaces  a");
        assert_eq!(
            read(&format!("{group}/rolebindings")).unwrap(),
            "rolebindings  "
        );
        let path = format!("{group}/namespaces/a/rolebindings/b");
        assert_eq!(read(&path).unwrap(), "rolebindings a b");
        assert_eq!(read("/readyz"), None);
    }

    #[test]
    fn a_merge_patch_takes_away_what_is_null() {
        let mut object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        merge(
            &mut object,
            &json!({"metadata": {"labels": {"a": null, "c": "3"}, "annotations": {"d": "4"}}}),
        );
        let expected =
            json!({"metadata": {"labels": {"b": "2", "c": "3"}, "annotations": {"d": "4"}}});
        assert_eq!(object, expected);
    }
}
