//! The objects of a kind in a cluster, and what changes: list, watch from there on, and again when that ends. It tells
//! what kube's watcher tells. That one keeps 11 KiB for each quiet watch, and its client 10 more for each cluster; with four
//! watches of each of thousands of clusters these were most of the server's memory. Here a quiet watch is a stream of the
//! tunnel and a few hundred bytes, and one that waits for its turn not much more.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::client::Body;
use kube::core::{ObjectList, Request, Status};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::pace::Patience;
use crate::edge::{self, BoxError};

type Answer = Response<edge::Body>;

/// Objects in one answer to a list.
const PAGE: u32 = 500;

/// After how many seconds an API server ends a watch.
const LASTS: u32 = 290;

/// How much later than that it counts as lost.
const GRACE: Duration = Duration::from_secs(5);

/// A watch that ends sooner, without having told anything, is begun again as one that has failed.
const BRIEF: Duration = Duration::from_secs(1);

/// What a watch of objects tells, of all of a kind or of those in a namespace. One that fails is tried again, later and
/// later.
pub(super) fn watch<K, News, Sent>(
    send: impl Fn(http::Request<Body>) -> Sent + Send + 'static,
    namespace: Option<&str>,
    selected: ListParams,
    news: impl Fn(Event<K>) -> News + Send + 'static,
) -> BoxStream<'static, kube::Result<News>>
where
    K: kube::Resource<DynamicType: Default> + Clone + DeserializeOwned + Send + 'static,
    Sent: Future<Output = Result<Answer, BoxError>> + Send + 'static,
{
    let path = K::url_path(&K::DynamicType::default(), namespace);
    let watching = Watching {
        send,
        path,
        selected: selected.limit(PAGE),
        state: State::Unknown,
        patience: Patience::default(),
        failed: false,
    };
    let events = stream::unfold(watching, |mut watching| async {
        let event = watching.next().await;
        Some((event, watching))
    });
    events.map_ok(news).boxed()
}

struct Watching<K, Send> {
    send: Send,
    path: String,
    selected: ListParams,
    state: State<K>,
    patience: Patience,
    /// Whether the last attempt did.
    failed: bool,
}

enum State<K> {
    /// What there is has to be listed.
    Unknown,
    /// A page has come; `next` is where another one begins.
    Listed {
        objects: std::vec::IntoIter<K>,
        next: Option<String>,
        version: String,
    },
    /// What there was at a version is known.
    Known(String),
    /// What happens is told.
    Told(Told),
}

/// The answer to a watch.
struct Told {
    body: edge::Body,
    /// The beginning of an event whose end has not come.
    rest: BytesMut,
    /// The last version that is known.
    version: String,
    since: Instant,
    /// Whether it has told anything.
    anything: bool,
}

impl<K, Send, Sent> Watching<K, Send>
where
    K: kube::Resource + Clone + DeserializeOwned,
    Send: Fn(http::Request<Body>) -> Sent,
    Sent: Future<Output = Result<Answer, BoxError>>,
{
    async fn next(&mut self) -> kube::Result<Event<K>> {
        loop {
            if std::mem::take(&mut self.failed) {
                sleep(self.patience.next().unwrap_or(GRACE)).await;
            }
            let event = self.step().await;
            self.failed |= event.is_err();
            if let Some(event) = event.transpose() {
                return event;
            }
        }
    }

    /// One step further, of which there may be nothing to tell.
    async fn step(&mut self) -> kube::Result<Option<Event<K>>> {
        match &mut self.state {
            State::Unknown => {
                self.state = Box::pin(self.list(None)).await?;
                Ok(Some(Event::Init))
            }
            State::Listed {
                objects,
                next,
                version,
            } => {
                if let Some(object) = objects.next() {
                    return Ok(Some(Event::InitApply(object)));
                }
                if let Some(next) = next.take() {
                    // A page that does not come begins the list anew: the first ones may be too old by then.
                    self.state = match Box::pin(self.list(Some(next))).await {
                        Ok(page) => page,
                        Err(error) => {
                            self.state = State::Unknown;
                            return Err(error);
                        }
                    };
                    return Ok(None);
                }
                self.state = State::Known(std::mem::take(version));
                Ok(Some(Event::InitDone))
            }
            State::Known(version) => {
                let version = version.clone();
                match Box::pin(self.begin(version)).await {
                    Ok(told) => {
                        self.state = State::Told(told);
                        Ok(None)
                    }
                    Err(error) => {
                        self.reconsider(&error);
                        Err(error)
                    }
                }
            }
            State::Told(told) => match told.event().await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => {
                    self.failed = !told.anything && told.since.elapsed() < BRIEF;
                    self.state = State::Known(std::mem::take(&mut told.version));
                    Ok(None)
                }
                // The next event may be one that can be read.
                Err(error @ kube::Error::SerdeError(_)) => Err(error),
                Err(error) => {
                    self.state = State::Known(std::mem::take(&mut told.version));
                    Err(error)
                }
            },
        }
    }

    async fn list(&mut self, next: Option<String>) -> kube::Result<State<K>> {
        let page = ListParams {
            continue_token: next,
            ..self.selected.clone()
        };
        let body = self.ask(Request::new(&self.path).list(&page)).await?;
        let body = body.collect().await.map_err(kube::Error::Service)?;
        let list: ObjectList<K> =
            serde_json::from_slice(&body.to_bytes()).map_err(kube::Error::SerdeError)?;
        let next = list.metadata.continue_.filter(|next| !next.is_empty());
        let version = list.metadata.resource_version.unwrap_or_default();
        if version.is_empty() && next.is_none() {
            return Err(no_version());
        }
        Ok(State::Listed {
            objects: list.items.into_iter(),
            next,
            version,
        })
    }

    async fn begin(&mut self, version: String) -> kube::Result<Told> {
        let params = WatchParams {
            label_selector: self.selected.label_selector.clone(),
            field_selector: self.selected.field_selector.clone(),
            timeout: Some(LASTS),
            ..WatchParams::default()
        };
        let request = Request::new(&self.path).watch(&params, &version);
        let body = self.ask(request).await?;
        Ok(Told {
            body,
            rest: BytesMut::new(),
            version,
            since: Instant::now(),
            anything: false,
        })
    }

    /// The body of the answer to a request.
    async fn ask(
        &mut self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> kube::Result<edge::Body> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        let answer = (self.send)(request.map(Body::from)).await;
        let answer = answer.map_err(kube::Error::Service)?;
        let status = answer.status();
        let body = answer.into_body();
        if status.is_success() {
            return Ok(body);
        }
        let told = body.collect().await.map_err(kube::Error::Service)?;
        Err(refusal(status, &told.to_bytes()))
    }

    fn take(&mut self, event: WatchEvent<K>) -> kube::Result<Option<Event<K>>> {
        let State::Told(told) = &mut self.state else {
            return Ok(None);
        };
        told.anything = true;
        let event = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Event::Apply(object),
            WatchEvent::Deleted(object) => Event::Delete(object),
            WatchEvent::Bookmark(bookmark) => {
                told.version = bookmark.metadata.resource_version;
                return Ok(None);
            }
            WatchEvent::Error(status) => {
                let version = std::mem::take(&mut told.version);
                let error = kube::Error::Api(status);
                self.state = State::Known(version);
                self.reconsider(&error);
                return Err(error);
            }
        };
        let (Event::Apply(object) | Event::Delete(object)) = &event else {
            return Ok(None);
        };
        match object
            .resource_version()
            .filter(|version| !version.is_empty())
        {
            Some(version) => told.version = version,
            None => {
                self.state = State::Unknown;
                return Err(no_version());
            }
        }
        Ok(Some(event))
    }

    /// What is too old to go on from is listed again.
    fn reconsider(&mut self, error: &kube::Error) {
        let gone = StatusCode::GONE.as_u16();
        if matches!(error, kube::Error::Api(status) if status.code == gone) {
            self.state = State::Unknown;
        }
    }
}

impl Told {
    /// The next event; `None` at the end.
    async fn event<K: DeserializeOwned>(&mut self) -> kube::Result<Option<WatchEvent<K>>> {
        let until = self.since + Duration::from_secs(LASTS.into()) + GRACE;
        let mut searched = 0;
        loop {
            let found = self.rest[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let line = self.rest.split_to(searched + at);
                self.rest.advance(1);
                if self.rest.is_empty() {
                    // Nothing is kept while nothing comes.
                    self.rest = BytesMut::new();
                }
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(kube::Error::SerdeError);
            }
            searched = self.rest.len();
            let Ok(Some(frame)) = timeout_at(until, self.body.frame()).await else {
                return Ok(None);
            };
            let frame = frame.map_err(kube::Error::Service)?;
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> kube::Error {
    let told = serde_json::from_slice::<Status>(body).ok();
    let told = told.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), "").with_code(status.as_u16())
    });
    kube::Error::Api(Box::new(told))
}

fn no_version() -> kube::Error {
    kube::Error::Service("an answer of the API server has no resource version".into())
}

#[cfg(test)]
mod tests {
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

    async fn next(
        events: &mut BoxStream<'static, kube::Result<String>>,
        count: usize,
    ) -> Vec<String> {
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
        let gone =
            json!({"kind": "Status", "status": "Failure", "code": 410, "message": "too old"});
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
}
