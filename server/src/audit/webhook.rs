//! The webhook: events in batches, as kube-apiserver sends them, to an address in a kubeconfig file.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt as _;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc as queue;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt as _};
use tunnel_proto::backoff::{self, Backoff};

use super::sink::Traffic;

/// How many events may wait: kube-apiserver's number. More are dropped and counted.
const QUEUE: usize = 10_000;

/// Most events of a batch: kube-apiserver's number.
const BATCH: usize = 400;

/// A batch that is as long as this, in bytes, has no room for more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long an event waits for others.
const TOGETHER: Duration = Duration::from_secs(1);

/// How long it may take until a batch is taken.
const ANSWER: Duration = Duration::from_secs(10);

/// How long an unused connection stays open.
const IDLE: Duration = Duration::from_secs(60);

/// How often it is said that the webhook does not take events, or that some were dropped.
const SAID: Duration = Duration::from_secs(10);

/// How long [`Webhook::flush`] waits.
const FLUSH: Duration = Duration::from_secs(1);

/// Takes events for the webhook. Clones share the queue.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    events: queue::Sender<Item>,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
enum Item {
    Event(Bytes),
    /// Answered when everything before it is sent.
    Flush(mpsc::SyncSender<()>),
}

impl Webhook {
    /// Reads the kubeconfig file, and starts the task that sends. It does not connect: the server
    /// starts whether somebody is there or not.
    pub(super) async fn start(file: &Path) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(file)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let receiver = Receiver::new(&config)?;
        let traffic = Arc::<Traffic>::default();
        let (events, waiting) = queue::channel(QUEUE);
        let sender = Sender {
            receiver,
            traffic: Arc::clone(&traffic),
            backoff: Backoff::new(backoff::Config::default()),
            rng: StdRng::seed_from_u64(crate::random::bits()),
            said: None,
            told: 0,
        };
        tokio::spawn(sender.run(waiting));
        Ok(Self { events, traffic })
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn send(&self, event: Bytes) {
        let length = event.len();
        if !self.traffic.admit(length) {
            return self.traffic.lose(1);
        }
        if self.events.try_send(Item::Event(event)).is_ok() {
            self.traffic.took();
        } else {
            self.traffic.leave(length);
            self.traffic.lose(1);
        }
    }

    pub(super) fn flush(&self) {
        let (done, sent) = mpsc::sync_channel(1);
        if self.events.try_send(Item::Flush(done)).is_ok() {
            // Whoever does not take events in time loses them when the server stops.
            let _ = sent.recv_timeout(FLUSH);
        }
    }
}

/// Who gets the events.
struct Receiver {
    uri: Uri,
    client: BoxCloneSyncService<Request<Full<Bytes>>, http::Response<Incoming>, BoxError>,
}

impl Receiver {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let connector = config
            .rustls_https_connector()
            .context("cannot set up TLS")?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector)
            .map_err(BoxError::from);
        let auth = config.auth_layer().context("cannot use the credentials")?;
        let client = tower::ServiceBuilder::new()
            .option_layer(auth)
            .service(client);
        Ok(Self {
            uri: config.cluster_url.clone(),
            client: BoxCloneSyncService::new(client.map_err(BoxError::from)),
        })
    }

    async fn give(&self, batch: Bytes) -> Result<StatusCode, BoxError> {
        let mut request = Request::post(self.uri.clone()).body(Full::new(batch))?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let exchange = async {
            let answer = self.client.clone().oneshot(request).await?;
            let status = answer.status();
            // So that the connection can be used again. What is said is of no use.
            let mut body = answer.into_body();
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame?.data_ref().map_or(0, Bytes::len);
                if read > BATCH_BYTES {
                    break;
                }
            }
            Ok(status)
        };
        timeout(ANSWER, exchange).await?
    }
}

/// The one task that sends.
struct Sender {
    receiver: Receiver,
    traffic: Arc<Traffic>,
    backoff: Backoff,
    rng: StdRng,
    /// When it was last said that something is wrong.
    said: Option<Instant>,
    /// How many dropped events were told of.
    told: usize,
}

impl Sender {
    async fn run(mut self, mut waiting: queue::Receiver<Item>) {
        while let Some(first) = waiting.recv().await {
            let mut batch = Batch::default();
            let mut asked = None;
            let mut next = Some(first);
            let full = tokio::time::sleep(TOGETHER);
            tokio::pin!(full);
            while let Some(item) = next {
                match item {
                    Item::Event(event) => batch.add(event),
                    Item::Flush(done) => asked = Some(done),
                }
                if asked.is_some() || batch.is_full() {
                    break;
                }
                next = tokio::select! {
                    item = waiting.recv() => item,
                    () = &mut full => None,
                };
            }
            if !batch.events.is_empty() {
                self.deliver(&batch).await;
            }
            if let Some(done) = asked {
                // The one who asked may have gone.
                let _ = done.send(());
            }
            self.tell_of_dropped();
        }
    }

    /// Sends a batch until it is taken, or refused for good.
    async fn deliver(&mut self, batch: &Batch) {
        let body = batch.list();
        loop {
            let why = match self.receiver.give(body.clone()).await {
                Ok(status) if status.is_success() => {
                    self.backoff = Backoff::new(backoff::Config::default());
                    break;
                }
                Ok(status) if is_final(status) => {
                    let events = batch.events.len();
                    self.traffic.lose(events);
                    self.told += events;
                    tracing::error!(%status, events, "the audit webhook refuses events; they are lost");
                    break;
                }
                Ok(status) => format!("it answers {status}"),
                Err(error) => error.to_string(),
            };
            if self.may_say() {
                tracing::warn!(
                    why,
                    "the audit webhook does not take events; they are sent again"
                );
            }
            self.tell_of_dropped();
            let wait = self.backoff.next(Instant::now(), None, &mut self.rng);
            tokio::time::sleep(wait).await;
        }
        self.traffic.leave(batch.bytes);
    }

    fn tell_of_dropped(&mut self) {
        let dropped = self.traffic.dropped();
        if dropped > self.told && self.may_say() {
            let lost = dropped - self.told;
            self.told = dropped;
            tracing::error!(lost, "events are lost: the audit webhook does not keep up");
        }
    }

    fn may_say(&mut self) -> bool {
        let may = self.said.is_none_or(|when| when.elapsed() >= SAID);
        if may {
            self.said = Some(Instant::now());
        }
        may
    }
}

/// Whether the same would be answered again. What concerns credentials may be mended meanwhile.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

#[derive(Default)]
struct Batch {
    events: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, event: Bytes) {
        self.bytes += event.len();
        self.events.push(event);
    }

    fn is_full(&self) -> bool {
        self.events.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// An `EventList` of `audit.k8s.io/v1`. The events are JSON already.
    fn list(&self) -> Bytes {
        let head = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;
        let mut list = Vec::with_capacity(head.len() + self.bytes + self.events.len() + 2);
        list.extend_from_slice(head);
        for (at, event) in self.events.iter().enumerate() {
            if at > 0 {
                list.push(b',');
            }
            list.extend_from_slice(event);
        }
        list.extend_from_slice(b"]}");
        list.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_list_of_events() {
        let mut batch = Batch::default();
        batch.add(Bytes::from_static(br#"{"auditID":"1"}"#));
        batch.add(Bytes::from_static(br#"{"auditID":"2"}"#));
        let list: serde_json::Value = serde_json::from_slice(&batch.list()).unwrap();
        assert_eq!(list["kind"], "EventList");
        assert_eq!(list["items"][1]["auditID"], "2");
        assert!(!batch.is_full());
        batch.add(vec![b' '; BATCH_BYTES].into());
        assert!(batch.is_full());
    }

    #[test]
    fn only_what_would_be_answered_again_is_final() {
        for (status, expected) in [
            (400, true),
            (413, true),
            (403, false),
            (429, false),
            (500, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_final(status), expected, "{status}");
        }
    }
}
