//! What arrives at a collector, and what does not.

use super::*;
use crate::settings::{endpoint, headers, sampler};
use crate::{Span, Traces};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::trace::v1::{Span as Exported, span::SpanKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::convert::Infallible;
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A collector that answers as it is told to, each answer once and the last for ever.
struct Peer {
    address: String,
    seen: Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>,
}

impl Peer {
    async fn start(answers: Vec<Response<Full<Bytes>>>) -> Self {
        Self::start_with(answers, None).await
    }

    async fn start_with(answers: Vec<Response<Full<Bytes>>>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (sees, answers) = (Arc::clone(&seen), Arc::new(Mutex::new(answers)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (sees, answers) = (Arc::clone(&sees), Arc::clone(&answers));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (sees, answers) = (Arc::clone(&sees), Arc::clone(&answers));
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let request = ExportTraceServiceRequest::decode(body).unwrap();
                        sees.lock().unwrap().push((parts.headers, request));
                        let mut answers = answers.lock().unwrap();
                        let answer = match answers.len() {
                            1 => answers[0].clone(),
                            _ => answers.remove(0),
                        };
                        Ok::<_, Infallible>(answer)
                    }
                });
                let (tls, connection) = (tls.clone(), http1::Builder::new());
                tokio::spawn(async move {
                    match tls {
                        None => drop(
                            connection
                                .serve_connection(TokioIo::new(tcp), service)
                                .await,
                        ),
                        Some(tls) => {
                            // Who does not trust the certificate hangs up.
                            if let Ok(stream) = tls.accept(tcp).await {
                                let stream = TokioIo::new(stream);
                                drop(connection.serve_connection(stream, service).await);
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn settings(&self) -> Settings {
        settings(&self.address)
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn spans(&self) -> Vec<Exported> {
        let seen = self.seen.lock().unwrap();
        let resources = seen.iter().flat_map(|(_, request)| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn settings(address: &str) -> Settings {
    Settings {
        endpoint: endpoint(&format!("http://{address}")).unwrap(),
        headers: headers("api-key=secret").unwrap(),
        certificate: None,
        sampling: sampler("parentbased_always_on").unwrap().with(1.0),
        foreign_per_second: None,
        service_name: "a-service".to_owned(),
        service_version: "1.2.3",
        resource: vec![("deployment.environment".to_owned(), "test".to_owned())],
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("retry-after", 0);
    answer.body(Full::default()).unwrap()
}

fn request(traces: &Traces) -> Span {
    traces.request(&HeaderMap::new(), || "GET /x".into())
}

/// Runs the exporter to its end; what has ended before must be out then.
async fn end(exporter: Exporter) -> Counts {
    let counts = exporter.counts();
    let stop = CancellationToken::new();
    stop.cancel();
    exporter.run(stop).await;
    counts
}

#[tokio::test]
async fn spans_arrive_with_their_parents_and_who_they_are_from() {
    let peer = Peer::start(vec![answer(200)]).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    let mut came = HeaderMap::new();
    let (trace, client) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    came.insert(
        "traceparent",
        format!("00-{trace}-{client}-01").parse().unwrap(),
    );
    came.insert("tracestate", "congo=t61".parse().unwrap());
    let root = traces.request(&came, || "GET /x".into());
    let holder = root.clone();
    let child = root.child("authorize");
    let asked = root.client("tunnel request");
    asked.set_status(StatusCode::NOT_FOUND);
    let mut goes = came.clone();
    asked.inject(&mut goes);
    root.set_status(StatusCode::NOT_FOUND);
    root.set("url.path", "ü".repeat(1000).as_str());
    assert_eq!(root.trace_id().unwrap().to_string(), trace);
    drop((child, asked, root));
    let counts = exporter.counts();
    drop(holder);
    end(exporter).await;
    let spans = peer.spans();
    let [authorize, asked, root] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    assert_eq!(authorize.name, "authorize");
    assert_eq!(
        root.parent_span_id,
        u64::from_str_radix(client, 16).unwrap().to_be_bytes()
    );
    assert_eq!(
        (root.kind, asked.kind),
        (SpanKind::Server as i32, SpanKind::Client as i32)
    );
    for child in [authorize, asked] {
        assert_eq!(child.parent_span_id, root.span_id);
        assert_eq!(child.trace_id, root.trace_id);
        assert_eq!(child.trace_state, "congo=t61");
    }
    // 404 is a fault of who asked, and of nobody else.
    let code = |span: &Exported| span.status.clone().unwrap_or_default().code;
    assert_eq!((code(root), code(asked)), (0, 2));
    let attributes = &root.attributes;
    let path = attributes
        .iter()
        .find(|pair| pair.key == "url.path")
        .unwrap();
    assert_eq!(format!("{path:?}").matches('ü').count(), 512);
    let parent = goes["traceparent"].to_str().unwrap();
    let id = u64::from_be_bytes(asked.span_id.clone().try_into().unwrap());
    assert_eq!(parent, format!("00-{trace}-{id:016x}-01"));
    assert_eq!(goes["tracestate"], "congo=t61");
    let seen = peer.seen.lock().unwrap();
    let (headers, request) = &seen[0];
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["api-key"], "secret");
    let resource = format!("{:?}", request.resource_spans[0].resource);
    for part in [
        "service.name",
        "a-service",
        "1.2.3",
        "deployment.environment",
    ] {
        assert!(resource.contains(part), "{part}: {resource}");
    }
    assert_eq!(
        (counts.exported(), counts.failed(), counts.dropped()),
        (3, 0, 0)
    );
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_goes_on_as_such() {
    let peer = Peer::start(vec![answer(200)]).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    let mut came = HeaderMap::new();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    came.insert(
        "traceparent",
        format!("00-{trace}-b7ad6b7169203331-00").parse().unwrap(),
    );
    let root = traces.request(&came, || "GET /x".into());
    assert!(!root.is_recorded());
    let asked = root.client("tunnel request");
    asked.set("a", "b");
    asked.inject(&mut came);
    let parent = came["traceparent"].to_str().unwrap();
    assert!(
        parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-00"),
        "{parent}"
    );
    drop((root, asked));
    assert_eq!(end(exporter).await.exported(), 0);
    assert_eq!(peer.requests(), 0);
}

#[test]
fn nothing_is_done_without_a_collector() {
    let traces = Traces::off();
    let mut came = HeaderMap::new();
    came.insert("traceparent", "anything".parse().unwrap());
    let root = traces.request(&came, || unreachable!("nobody needs the name"));
    let child = root.client("tunnel request");
    child.inject(&mut came);
    child.set_status(StatusCode::OK);
    child.fail("x");
    assert_eq!(came["traceparent"], "anything");
    assert!(root.trace_id().is_none() && !child.is_recorded());
}

/// A new authority (PEM), and TLS with a certificate of it.
fn certificates() -> (String, TlsAcceptor) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_collector_is_trusted_by_its_authority_and_by_no_other() {
    let ((own, tls), (other, _)) = (certificates(), certificates());
    let peer = Peer::start_with(vec![answer(200)], Some(tls)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    for (authority, expected) in [(other, (0, 1)), (own, (1, 0))] {
        std::fs::write(&file, authority).unwrap();
        let settings = Settings {
            endpoint: endpoint(&format!("https://{}", peer.address)).unwrap(),
            certificate: Some(file.clone()),
            ..peer.settings()
        };
        let (traces, exporter) = Traces::start(&settings).unwrap();
        drop(request(&traces));
        let counts = end(exporter).await;
        assert_eq!((counts.exported(), counts.failed()), expected);
    }
    assert_eq!(peer.requests(), 1);
}

#[tokio::test]
async fn a_batch_is_sent_again_where_that_may_help() {
    let answers = vec![answer(503), answer(429), answer(200)];
    let peer = Peer::start(answers).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    let (counts, stop) = (exporter.counts(), CancellationToken::new());
    let running = tokio::spawn(exporter.run(stop.clone()));
    drop(request(&traces));
    let arrived = async {
        while counts.exported() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), arrived).await.unwrap();
    assert_eq!((peer.requests(), counts.failed()), (3, 0));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_counted_and_not_sent_again() {
    let peer = Peer::start(vec![answer(400)]).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    drop(request(&traces));
    let counts = end(exporter).await;
    assert_eq!(
        (peer.requests(), counts.exported(), counts.failed()),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn more_than_the_queue_holds_is_dropped_and_counted() {
    let peer = Peer::start(vec![answer(200)]).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    (0..QUEUE + 7).for_each(|_| drop(request(&traces)));
    let counts = end(exporter).await;
    assert_eq!((counts.exported(), counts.dropped()), (QUEUE as u64, 7));
    assert_eq!(peer.spans().len(), QUEUE);
    assert_eq!(peer.requests(), QUEUE / BATCH);
}

/// The clock stands still but for waits, so that this takes no time.
#[tokio::test(start_paused = true)]
async fn a_collector_that_never_answers_does_not_hold_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (traces, exporter) = Traces::start(&settings(&address)).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(exporter.run(stop.clone()));
    drop(request(&traces));
    sleep(Duration::from_secs(5)).await;
    drop(request(&traces));
    let told = Instant::now();
    stop.cancel();
    running.await.unwrap();
    assert!(told.elapsed() <= 2 * FLUSH, "{:?}", told.elapsed());
}

#[tokio::test]
async fn the_exporter_ends_when_nobody_can_begin_a_span_any_more() {
    let peer = Peer::start(vec![answer(200)]).await;
    let (traces, exporter) = Traces::start(&peer.settings()).unwrap();
    drop(request(&traces));
    drop(traces);
    let counts = exporter.counts();
    exporter.run(CancellationToken::new()).await;
    assert_eq!(counts.exported(), 1);
}
