//! What the server counts.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::edge::{AuditSink, ConnectionLimits};

/// The server's metrics.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<StatusLabel, Counter>,
    connections: Gauge,
    audit_dropped: Gauge,
    limits: ConnectionLimits,
    audit: AuditSink,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    code: u16,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics")
    }
}

impl Metrics {
    /// Metrics of a server with these limits and this audit log.
    #[must_use]
    pub fn new(limits: ConnectionLimits, audit: AuditSink) -> Self {
        let mut registry = Registry::with_prefix("lariat");
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
        let audit_dropped = Gauge::default();
        let help = "Audit lines dropped because the disk was too slow";
        registry.register("audit_dropped", help, audit_dropped.clone());
        Self {
            registry: Mutex::new(registry),
            requests,
            connections,
            audit_dropped,
            limits,
            audit,
        }
    }

    /// Lets a part of the server add metrics of its own. Their names get the prefix `lariat_`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
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
        self.audit_dropped.set(gauge(self.audit.dropped()));
        let mut page = String::new();
        encode(
            &mut page,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(page)
    }
}
