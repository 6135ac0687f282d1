use super::*;
use http::Request;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// A status, and the pieces of a body.
type Piecewise = (u16, Vec<String>);

/// Answers of an API server. After the last one it answers nothing.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Piecewise>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Piecewise>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self {
            answers,
            ..Self::default()
        }
    }

    fn events(&self) -> BoxStream<'static, kube::Result<String>> {
        let script = self.clone();
        let send = move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            script.asked.lock().unwrap().push(query);
            let answer = script.answers.lock().unwrap().pop_front();
            async move {
                let Some((status, pieces)) = answer else {
                    return std::future::pending().await;
                };
                let frame = |piece| Ok(Frame::data(Bytes::from(piece)));
                let body = StreamBody::new(stream::iter(pieces.into_iter().map(frame)));
                let answer = Response::builder().status(status);
                Ok(answer.body(body.boxed_unsync()).unwrap())
            }
        };
        watch(send, None, ListParams::default().labels("ours"), said)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn said(event: Event<Namespace>) -> String {
    let name = |what: &str, namespace: &Namespace| format!("{what} {}", namespace.name_any());
    match event {
        Event::Init => "begins".into(),
        Event::InitApply(namespace) => name("has", &namespace),
        Event::InitDone => "complete".into(),
        Event::Apply(namespace) => name("put", &namespace),
        Event::Delete(namespace) => name("deleted", &namespace),
    }
}

fn namespace(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "resourceVersion": version}})
}

fn page(version: &str, next: &str, names: &[&str]) -> Piecewise {
    let items: Vec<Value> = names.iter().map(|name| namespace(name, "1")).collect();
    let list = json!({
        "apiVersion": "v1", "kind": "NamespaceList",
        "metadata": {"resourceVersion": version, "continue": next}, "items": items,
    });
    (200, vec![list.to_string()])
}

fn event(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}

async fn next(events: &mut BoxStream<'static, kube::Result<String>>, count: usize) -> Vec<String> {
    let events = events.take(count);
    let told = events.map(|event| event.unwrap_or_else(|error| format!("{error}")));
    told.collect().await
}

#[tokio::test(start_paused = true)]
async fn pages_are_listed_and_changes_told_from_there_on_however_they_are_cut() {
    let told = event("ADDED", &namespace("c", "8")) + &event("DELETED", &namespace("a", "9"));
    let (before, after) = told.split_at(30);
    let script = Script::of([
        page("7", "more", &["a"]),
        page("7", "", &["b"]),
        (200, vec![before.into(), after.into()]),
    ]);
    let mut events = script.events();
    let told = next(&mut events, 6).await;
    let wanted = ["begins", "has a", "has b", "complete", "put c", "deleted a"];
    assert_eq!(told, wanted);
    let asked = script.asked();
    assert!(asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("watch=true"), "{asked:?}");
    assert!(asked[2].contains("resourceVersion=7"), "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|query| query.contains("labelSelector=ours")),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let bookmark =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"resourceVersion": "12"}});
    let script = Script::of([
        page("7", "", &[]),
        (
            200,
            vec![
                event("MODIFIED", &namespace("a", "9")),
                event("BOOKMARK", &bookmark),
            ],
        ),
        (200, vec![event("MODIFIED", &namespace("b", "14"))]),
    ]);
    let mut events = script.events();
    assert_eq!(
        next(&mut events, 4).await,
        ["begins", "complete", "put a", "put b"]
    );
    assert!(
        script.asked()[2].contains("resourceVersion=12"),
        "{:?}",
        script.asked()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_listed_again() {
    let gone = json!({"kind": "Status", "status": "Failure", "code": 410, "message": "too old"});
    let script = Script::of([
        page("7", "", &["a"]),
        (200, vec![event("ERROR", &gone)]),
        page("20", "", &["b"]),
        (410, vec![gone.to_string()]),
        page("30", "", &["c"]),
    ]);
    let mut events = script.events();
    let told = next(&mut events, 11).await;
    let failed: Vec<usize> = (0..told.len())
        .filter(|at| told[*at].contains("too old"))
        .collect();
    assert_eq!(failed, [3, 7], "{told:?}");
    assert_eq!(told[8..], ["begins", "has c", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_ends_each_watch_at_once_is_asked_more_and_more_seldom() {
    let nothing = std::iter::repeat_n((200, vec![]), 1000);
    let script = Script::of([page("7", "", &[])].into_iter().chain(nothing));
    let mut events = script.events();
    assert_eq!(next(&mut events, 2).await, ["begins", "complete"]);
    let waited = tokio::time::timeout(Duration::from_secs(600), events.next()).await;
    assert!(waited.is_err());
    let asked = script.asked().len();
    assert!((10..30).contains(&asked), "{asked} times in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_version_is_an_error() {
    let script = Script::of([page("", "", &[]), page("7", "", &[])]);
    let told = next(&mut script.events(), 3).await;
    assert!(told[0].contains("resource version"), "{told:?}");
    assert_eq!(told[1..], ["begins", "complete"]);
}
