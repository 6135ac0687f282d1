//! The way of spans to the collector: a bounded queue, batches, a few attempts. No request waits for it;
//! what it cannot keep up with is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::collector::{Collector, Failure, TlsError};
use crate::settings::Settings;

/// Most spans that wait, and most of a batch: the specification's numbers. A span is about 1 KiB.
const QUEUE: usize = 2048;
const BATCH: usize = 512;

/// How long a span waits for others.
const TOGETHER: Duration = Duration::from_secs(1);

/// How often a batch is sent, and the wait before it is sent again, which doubles.
const ATTEMPTS: u32 = 4;
const WAIT: Duration = Duration::from_secs(1);

/// How long there is for what waits when the program ends, and before that for what is under way.
const FLUSH: Duration = Duration::from_secs(3);

/// How often it is said that spans are lost.
const SAID: Duration = Duration::from_secs(60);

/// What came of the spans. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// How many spans the collector has taken.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.0.exported.load(Ordering::Relaxed)
    }

    /// How many it has not, although they were sent.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// How many were not sent, because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn lost(&self) -> u64 {
        self.failed() + self.dropped()
    }
}

/// Who the spans are from.
pub(crate) fn resource(settings: &Settings) -> Resource {
    let given = settings.resource.iter();
    let given = given.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(given)
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", settings.service_version))
        .build()
}

/// The two ends of the queue.
pub(crate) fn queue(
    settings: &Settings,
    resource: &Resource,
) -> Result<(Queue, Exporter), TlsError> {
    let (sender, waiting) = mpsc::channel(QUEUE);
    let counts = Counts::default();
    let exporter = Exporter {
        waiting,
        collector: Collector::new(settings)?,
        resource: resource.into(),
        counts: counts.clone(),
        said: None,
        told: 0,
    };
    let queue = Queue {
        spans: sender,
        counts,
    };
    Ok((queue, exporter))
}

/// Where spans go when they end.
#[derive(Debug)]
pub(crate) struct Queue {
    spans: mpsc::Sender<SpanData>,
    counts: Counts,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counts.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends spans to the collector.
#[derive(Debug)]
pub struct Exporter {
    waiting: mpsc::Receiver<SpanData>,
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    counts: Counts,
    /// When it was last said that spans are lost, and how many had been by then.
    said: Option<Instant>,
    told: u64,
}

impl Exporter {
    /// What comes of the spans.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Sends spans until told to stop, and then those that wait, within six seconds. Spans that end
    /// later are dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let batch = self.gather(&stop).await;
            if batch.is_empty() {
                break;
            }
            self.deliver(batch, &stop).await;
        }
        self.waiting.close();
        let rest = async {
            loop {
                let batch = self.take(BATCH).await;
                if batch.is_empty() {
                    break;
                }
                self.deliver(batch, &stop).await;
            }
        };
        if timeout(FLUSH, rest).await.is_err() {
            warn!("the last spans were not exported: the collector does not take them in time");
        }
    }

    /// Waits for a span, and a little for others. None at the end.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<SpanData> {
        let mut batch = tokio::select! {
            biased;
            () = stop.cancelled() => return Vec::new(),
            batch = self.take(BATCH) => batch,
        };
        let full = sleep(TOGETHER);
        tokio::pin!(full);
        while batch.len() < BATCH {
            tokio::select! {
                more = self.take(BATCH - batch.len()) => match more.is_empty() {
                    true => break,
                    false => batch.extend(more),
                },
                () = &mut full => break,
                () = stop.cancelled() => break,
            }
        }
        batch
    }

    /// Some spans, or none if there will be no more. Cancellation-safe.
    async fn take(&mut self, most: usize) -> Vec<SpanData> {
        let mut taken = Vec::new();
        self.waiting.recv_many(&mut taken, most).await;
        taken
    }

    /// Sends a batch until it is taken, is refused, or was sent often enough.
    async fn deliver(&mut self, batch: Vec<SpanData>, stop: &CancellationToken) {
        let spans = batch.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let body = Bytes::from(request.encode_to_vec());
        let mut wait = WAIT;
        let mut attempt = 1;
        let (refused, why) = loop {
            let sent = tokio::select! {
                sent = self.collector.send(body.clone()) => sent,
                late = too_late(stop) => Err(late),
            };
            let (why, asked) = match sent {
                Ok(None) => break (0, String::new()),
                Ok(Some(refused)) => break refused,
                Err(Failure::Never(why)) => break (spans, why),
                Err(Failure::Later(why, asked)) => (why, asked),
            };
            if attempt == ATTEMPTS || stop.is_cancelled() {
                break (spans, why);
            }
            attempt += 1;
            tokio::select! {
                () = sleep(asked.unwrap_or(wait)) => {}
                // There is time for one attempt more.
                () = stop.cancelled() => {}
            }
            wait *= 2;
        };
        let refused = refused.min(spans);
        let counters = &self.counts.0;
        counters
            .exported
            .fetch_add(spans - refused, Ordering::Relaxed);
        counters.failed.fetch_add(refused, Ordering::Relaxed);
        self.tell(&why);
    }

    /// Says now and then how many spans are lost.
    fn tell(&mut self, why: &str) {
        let lost = self.counts.lost();
        let may = self.said.is_none_or(|when| when.elapsed() >= SAID);
        if lost == self.told || !may {
            return;
        }
        let (spans, collector) = (lost - self.told, self.collector.to_string());
        let why = if why.is_empty() {
            "too many at once"
        } else {
            why
        };
        warn!(spans, collector, why, "spans of traces are lost");
        self.said = Some(Instant::now());
        self.told = lost;
    }
}

/// A while after the program was told to stop.
async fn too_late(stop: &CancellationToken) -> Failure {
    stop.cancelled().await;
    sleep(FLUSH).await;
    Failure::Later("it did not answer before the end".to_owned(), None)
}

#[cfg(test)]
mod tests;
