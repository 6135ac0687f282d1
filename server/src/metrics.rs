//! What the server counts.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use apiserver::serve::ApiServer;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::audit::AuditSink;
use crate::edge::ConnectionLimits;

/// What names of metrics of this server alone begin with.
const PREFIX: &str = "lariat";

/// The server's metrics.
pub struct Metrics {
    /// Everything, with whole names.
    registry: Mutex<Registry>,
    requests: Family<StatusLabel, Counter>,
    connections: Gauge,
    limits: ConnectionLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    code: u16,
}

/// What kube-apiserver tells of its audit log.
#[derive(Debug)]
struct Audited(AuditSink);

impl Collector for Audited {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let counts = self.0.counts();
        let taken = counts
            .iter()
            .map(|counts| number(counts.taken))
            .sum::<u64>();
        let kind = MetricType::Counter;
        let help = "Counter of audit events generated and sent to the audit backend";
        let events = encoder.encode_descriptor("apiserver_audit_event", help, None, kind)?;
        ConstCounter::new(taken).encode(events)?;
        let help = "Counter of audit events that failed to be audited properly";
        let mut errors = encoder.encode_descriptor("apiserver_audit_error", help, None, kind)?;
        for counts in counts {
            let label = [("plugin", counts.plugin)];
            let errors = errors.encode_family(&label)?;
            ConstCounter::new(number(counts.dropped)).encode(errors)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics of a server with these limits, this audit log and this API.
    #[must_use]
    pub fn new(limits: ConnectionLimits, audit: AuditSink, api: &ApiServer) -> Self {
        let mut whole = Registry::default();
        api.register_metrics(&mut whole);
        whole.register_collector(Box::new(Audited(audit)));
        let registry = whole.sub_registry_with_prefix(PREFIX);
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Answered requests by status code",
            requests.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "client_connections",
            "Open connections",
            connections.clone(),
        );
        Self {
            registry: Mutex::new(whole),
            requests,
            connections,
            limits,
        }
    }

    /// Lets a part of the server add metrics of its own. Their names get the prefix `lariat_`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        let mut whole = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        register(whole.sub_registry_with_prefix(PREFIX));
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        let label = StatusLabel {
            code: status.as_u16(),
        };
        self.requests.get_or_create(&label).inc();
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.connections.set(gauge(self.limits.open()));
        let mut page = String::new();
        encode(
            &mut page,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(page)
    }
}
