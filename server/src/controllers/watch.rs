//! The objects of a kind in a cluster, and what changes: list, watch from there on, and again when that ends. It tells
//! what kube's watcher tells. That one keeps 11 KiB for each quiet watch, and its client 10 more for each cluster; with four
//! watches of each of thousands of clusters these were most of the server's memory. Here a quiet watch is a stream of the
//! tunnel and a few hundred bytes, and one that waits for its turn not much more.

use std::time::Duration;

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

use super::client::MAX_ANSWER;
use super::pace::Patience;
use crate::edge::{self, BoxError};
use crate::lines::Lines;

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
    lines: Lines<edge::Body>,
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
            lines: Lines::new(body, MAX_ANSWER),
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
        let Ok(line) = timeout_at(until, self.lines.next()).await else {
            return Ok(None);
        };
        let line = line.map_err(kube::Error::Service)?;
        let event = line.map(|line| serde_json::from_slice(&line));
        event.transpose().map_err(kube::Error::SerdeError)
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
mod tests;
