//! Traces of requests: which requests have one, what is said of them, and what is counted.

use std::borrow::Cow;
use std::fmt;

use anyhow::Context as _;
use http::{Method, Request};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use telemetry::{Counts, Exporter, Settings, Span, Traces};

use crate::edge::Route;
use crate::metrics::Metrics;

/// What begins traces, and what exports them if they are to be exported.
///
/// # Errors
/// When the CA of the collector cannot be used.
pub(crate) fn start(
    settings: Option<&Settings>,
    metrics: &Metrics,
) -> anyhow::Result<(Traces, Option<Exporter>)> {
    let Some(settings) = settings else {
        return Ok((Traces::off(), None));
    };
    let started = Traces::start(settings);
    let (traces, exporter) = started.context("cannot export traces")?;
    let counted = Box::new(Exported(exporter.counts()));
    metrics.register(|registry| registry.register_collector(counted));
    tracing::info!(collector = %settings.url(), "requests are traced");
    Ok((traces, Some(exporter)))
}

/// Begins the trace of a request, or goes on with the one that it came with. Its address must be without
/// secrets.
pub(crate) fn begin<B>(
    traces: &Traces,
    request: &Request<B>,
    route: &Route<'_>,
    id: &str,
    address: &str,
) -> Span {
    let Some(template) = template(route) else {
        return Span::none();
    };
    let method = request.method();
    let span = traces.request(request.headers(), || match standard(method) {
        Some(method) => format!("{method} {template}").into(),
        None => Cow::from(format!("HTTP {template}")),
    });
    if span.is_recorded() {
        span.set("http.request.method", standard(method).unwrap_or("_OTHER"));
        span.set("http.route", template);
        let path = address.split('?').next().unwrap_or_default();
        span.set("url.path", path);
        span.set("url.scheme", "https");
        span.set("lariat.request_id", id);
        if let Route::Cluster { id, .. } = route {
            span.set("lariat.cluster", id.as_str());
        }
    }
    span
}

/// The places whose requests are traced, as OpenTelemetry writes them. Probes come all the time and tell
/// nothing; the tunnel of an agent is no request.
fn template(route: &Route<'_>) -> Option<&'static str> {
    Some(match route {
        Route::Cluster { .. } => "/k8s/clusters/{cluster}/{path}",
        Route::Management => "/apis/{path}",
        Route::Norman { public: false, .. } => "/v3/{path}",
        Route::Norman { public: true, .. } => "/v3-public/{path}",
        Route::Import { .. } => "/v3/import/{file}",
        Route::Page(_) => "/{page}",
        Route::Ping
        | Route::Probe { .. }
        | Route::Metrics
        | Route::CaCertificates
        | Route::Version
        | Route::Connect
        | Route::ApiPage { .. }
        | Route::NotFound => return None,
    })
}

/// The method, if it is one of RFC 9110 or `PATCH`. Others are whatever somebody likes to send.
fn standard(method: &Method) -> Option<&str> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    known.contains(method).then(|| method.as_str())
}

/// What came of the spans, for the metrics.
#[derive(Debug)]
struct Exported(Counts);

impl Collector for Exported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Spans of traces: taken by the collector, not taken, or dropped because too many waited";
        let mut spans =
            encoder.encode_descriptor("trace_spans", help, None, MetricType::Counter)?;
        for (outcome, count) in [
            ("exported", self.0.exported()),
            ("failed", self.0.failed()),
            ("dropped", self.0.dropped()),
        ] {
            let labels = [("outcome", outcome)];
            let spans = spans.encode_family(&labels)?;
            ConstCounter::new(count).encode(spans)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_traced_and_probes_are_not() {
        for (path, expected) in [
            (
                "/k8s/clusters/c-1/api/v1/pods?x=1",
                Some("/k8s/clusters/{cluster}/{path}"),
            ),
            ("/apis/apps/v1", Some("/apis/{path}")),
            ("/v3/clusters", Some("/v3/{path}")),
            ("/v3-public/localProviders/local", Some("/v3-public/{path}")),
            ("/v3/import/TOKEN.yaml", Some("/v3/import/{file}")),
            ("/v3/connect", None),
            ("/ping", None),
            ("/livez/ping", None),
            ("/metrics", None),
            ("/nowhere", None),
        ] {
            let route = Route::parse(path, None).unwrap();
            assert_eq!(template(&route), expected, "{path}");
        }
    }

    #[test]
    fn methods_of_their_own_make_names() {
        assert_eq!(standard(&Method::PATCH), Some("PATCH"));
        assert_eq!(standard(&"BREW".parse().unwrap()), None);
    }
}
