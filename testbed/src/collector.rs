//! A collector of traces: takes OTLP over HTTP (protobuf) and over gRPC without TLS, on one port of this
//! process, and keeps the spans. Both are written by us after their specifications; of gRPC there is what
//! one unary call without compression needs.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Full, Limited, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span as Sent,
};
use prost::Message as _;
use tokio::sync::oneshot;

use crate::{Result, error::Step as _, wait};

const HTTP_PATH: &str = "/v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The longest request, and most spans that are kept.
const LONGEST: usize = 64 * 1024 * 1024;
const MOST: usize = 500_000;

/// How often the spans are looked through.
const EVERY: Duration = Duration::from_millis(100);

/// A span that has arrived. Ids are in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of who has sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty for the first of a trace.
    pub parent: String,
    /// Its kind, by the number of the protocol: 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// Whether it says that it failed.
    pub failed: bool,
    /// Begin and end, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// What is said of it, as text.
    pub attributes: BTreeMap<String, String>,
    /// Traces and spans that it is linked to.
    pub links: Vec<(String, String)>,
}

impl Span {
    /// What is said of it by that name; empty if nothing is.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// What has arrived.
#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Span>,
    /// What could not be read, or was too much.
    faults: Vec<String>,
}

/// A running collector; ended when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Starts one at a free port of `address`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(address: Ipv4Addr) -> Result<Self> {
        let step = || "start a collector of traces".to_owned();
        let listener = TcpListener::bind((address, 0)).step(step)?;
        listener.set_nonblocking(true).step(step)?;
        let address = listener.local_addr().step(step)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .step(step)?;
        let (stop, stopped) = oneshot::channel();
        let kept = Arc::<Mutex<Kept>>::default();
        let keeps = Arc::clone(&kept);
        let thread = std::thread::Builder::new()
            .name("collector".into())
            .spawn(move || {
                // Connections are tasks of the runtime, and end with it.
                runtime.block_on(async {
                    tokio::select! {
                        result = accept(listener, &keeps) => {
                            let Err(error) = result;
                            tracing::error!(%error, "the collector of traces cannot go on");
                        }
                        _ = stopped => {}
                    }
                });
            })
            .step(step)?;
        Ok(Self {
            address,
            kept,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it takes gRPC, as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it takes HTTP, without the path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.kept).spans.clone()
    }

    /// What came and could not be read.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        lock(&self.kept).faults.clone()
    }

    /// Waits until the spans are such that `look` finds something in them.
    ///
    /// # Errors
    /// When it does not within `limit`; holds what it said last.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&[Span]) -> std::result::Result<T, String>,
    ) -> Result<T> {
        wait::until(what, limit, EVERY, || Ok(look(&lock(&self.kept).spans)))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, kept: &Arc<Mutex<Kept>>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let kept = Arc::clone(kept);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let kept = Arc::clone(&kept);
                async move { Ok::<_, Infallible>(answer(&kept, request).await) }
            });
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the collector of traces ended");
            }
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(kept: &Mutex<Kept>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, LONGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return refuse(kept, error.to_string()),
    };
    match head.uri.path() {
        HTTP_PATH => match keep(kept, body) {
            Ok(()) => said("application/x-protobuf", Full::default().boxed()),
            Err(why) => refuse(kept, why),
        },
        GRPC_PATH => {
            let kept_it = message(body).and_then(|message| keep(kept, message));
            let code = match kept_it {
                Ok(()) => "0",
                Err(why) => {
                    lock(kept).faults.push(why);
                    // INVALID_ARGUMENT
                    "3"
                }
            };
            let mut trailers = HeaderMap::new();
            let name = HeaderName::from_static("grpc-status");
            trailers.insert(name, HeaderValue::from_static(code));
            // An empty message, which is that all was taken.
            let empty = Full::new(Bytes::from_static(&[0; 5]));
            let body = empty.with_trailers(async move { Some(Ok(trailers)) });
            said("application/grpc", body.boxed())
        }
        path => refuse(kept, format!("nothing is at {path}")),
    }
}

fn said(media_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    let media_type = HeaderValue::from_static(media_type);
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    answer
}

fn refuse(kept: &Mutex<Kept>, why: String) -> Response<Body> {
    lock(kept).faults.push(why);
    let mut answer = said("text/plain", Full::default().boxed());
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// The one message of a gRPC request: a byte that says whether it is compressed, its length, itself.
fn message(mut body: Bytes) -> Result<Bytes, String> {
    if body.len() < 5 {
        return Err("a gRPC request without a message".to_owned());
    }
    if body.get_u8() != 0 {
        return Err("a compressed gRPC message".to_owned());
    }
    let length = body.get_u32() as usize;
    match body.len() == length {
        true => Ok(body),
        false => Err("a gRPC message of another length than it says".to_owned()),
    }
}

fn keep(kept: &Mutex<Kept>, body: Bytes) -> Result<(), String> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let mut arrived = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let service = texts(&resource.attributes)
            .remove("service.name")
            .unwrap_or_default();
        let sent = of_resource.scope_spans.into_iter();
        let sent = sent.flat_map(|scope| scope.spans);
        arrived.extend(sent.map(|sent| read(&service, sent)));
    }
    let mut kept = lock(kept);
    if kept.spans.len() + arrived.len() > MOST {
        return Err(format!("more than {MOST} spans"));
    }
    kept.spans.extend(arrived);
    Ok(())
}

fn read(service: &str, sent: Sent) -> Span {
    let links = sent.links.iter();
    Span {
        service: service.to_owned(),
        name: sent.name,
        trace: hex::encode(sent.trace_id),
        id: hex::encode(sent.span_id),
        parent: hex::encode(sent.parent_span_id),
        kind: sent.kind,
        // STATUS_CODE_ERROR
        failed: sent.status.is_some_and(|status| status.code == 2),
        times: (sent.start_time_unix_nano, sent.end_time_unix_nano),
        attributes: texts(&sent.attributes),
        links: links
            .map(|link| (hex::encode(&link.trace_id), hex::encode(&link.span_id)))
            .collect(),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = attributes.iter();
    pairs
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref())))
        .collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_message_is_as_long_as_it_says() {
        let of = |bytes: &'static [u8]| message(Bytes::from_static(bytes));
        assert_eq!(of(&[0, 0, 0, 0, 2, 7, 8]).unwrap(), [7, 8].as_slice());
        assert_eq!(of(&[0, 0, 0, 0, 0]).unwrap(), b"".as_slice());
        for wrong in [
            &[0, 0, 0, 0, 2, 7][..],
            &[0, 0, 0, 0, 0, 7],
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 0],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn spans_that_are_sent_over_http_are_there() {
        use opentelemetry_proto::tonic::{
            common::v1::AnyValue,
            resource::v1::Resource,
            trace::v1::{ResourceSpans, ScopeSpans},
        };
        use std::io::{Read as _, Write as _};
        let collector = Collector::start(Ipv4Addr::LOCALHOST).unwrap();
        let pair = |key: &str, value: Value| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        };
        let sent = Sent {
            name: "a".to_owned(),
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            attributes: vec![pair("n", Value::IntValue(7))],
            ..Sent::default()
        };
        let resource = Resource {
            attributes: vec![pair("service.name", Value::StringValue("s".to_owned()))],
            ..Resource::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![ScopeSpans {
                    spans: vec![sent],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let body = request.encode_to_vec();
        let mut stream = std::net::TcpStream::connect(collector.address()).unwrap();
        let length = body.len();
        let head = format!(
            "POST {HTTP_PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let spans = collector.spans();
        let [span] = spans.as_slice() else {
            panic!("{spans:?}");
        };
        assert_eq!((span.service.as_str(), span.name.as_str()), ("s", "a"));
        assert_eq!((&span.id, span.attribute("n")), (&"02".repeat(8), "7"));
        assert_eq!(
            (span.trace.as_str(), span.parent.as_str()),
            (&*"01".repeat(16), "")
        );
    }

    #[test]
    fn what_is_no_request_is_a_fault_and_kept_by_nobody() {
        let kept = Mutex::default();
        assert!(keep(&kept, Bytes::from_static(b"\xff\xff")).is_err());
        assert!(lock(&kept).spans.is_empty());
    }
}
