//! What an API server counts, under the names that kube-apiserver gives it.
//!
//! Label values come from what is served, never from what a client made up.

use crate::cache::Cache;
use crate::flow::{Flow, Level, Refused};
use crate::request::Verb;
use measured::Measured;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

mod measured;

/// The component that all these requests go to.
const COMPONENT: &str = "apiserver";

/// Bounds of `apiserver_request_duration_seconds`.
const DURATIONS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Bounds of `apiserver_flowcontrol_request_wait_duration_seconds`.
const WAITS: [f64; 10] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0];

/// What a request is, as metrics tell requests apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    /// In capitals: `GET`, `LIST`, `APPLY` …
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// `resource`, `namespace` or `cluster`; empty for paths that are no resources.
    pub(crate) scope: &'static str,
    pub(crate) component: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    #[prometheus(flatten)]
    request: Request,
    dry_run: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    timed: Timed,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    group: String,
    version: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Flowing {
    priority_level: &'static str,
    flow_schema: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    #[prometheus(flatten)]
    flow: Flowing,
    execute: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    #[prometheus(flatten)]
    flow: Flowing,
    reason: &'static str,
}

/// The counters of a server. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Answered, Counter>,
    durations: Family<Timed, Histogram, fn() -> Histogram>,
    sizes: Family<Request, Histogram, fn() -> Histogram>,
    inflight: Family<Kind, Gauge>,
    long_running: Family<Request, Gauge>,
    events: Family<Watched, Counter>,
    event_sizes: Family<Watched, Histogram, fn() -> Histogram>,
    dispatched: Family<Flowing, Counter>,
    rejected: Family<Rejected, Counter>,
    waits: Family<Waited, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            sizes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1000.0, 10.0, 7))
            }),
            inflight: Family::default(),
            long_running: Family::default(),
            events: Family::default(),
            event_sizes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1024.0, 2.0, 8))
            }),
            dispatched: Family::default(),
            rejected: Family::default(),
            waits: Family::new_with_constructor(|| Histogram::new(WAITS)),
        }
    }
}

impl Metrics {
    /// Puts them into a registry, which must give names no prefix.
    pub(crate) fn register(&self, registry: &mut Registry, cache: &Arc<Cache>, flow: &Flow) {
        registry.register(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component",
            self.durations.clone(),
        );
        registry.register(
            "apiserver_response_sizes",
            "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component",
            self.sizes.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are worked on now, per request kind",
            self.inflight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component",
            self.long_running.clone(),
        );
        registry.register(
            "apiserver_watch_events",
            "Number of events sent in watch clients",
            self.events.clone(),
        );
        registry.register(
            "apiserver_watch_events_sizes",
            "Watch event size distribution in bytes",
            self.event_sizes.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_dispatched_requests",
            "Number of requests executed by API Priority and Fairness subsystem",
            self.dispatched.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_rejected_requests",
            "Number of requests rejected by API Priority and Fairness subsystem",
            self.rejected.clone(),
        );
        registry.register(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue",
            self.waits.clone(),
        );
        registry.register_collector(Box::new(Measured {
            cache: Arc::clone(cache),
            flow: flow.clone(),
        }));
    }

    /// A request was answered.
    pub(crate) fn answered(&self, request: &Request, dry_run: bool, code: u16, took: Duration) {
        let timed = Timed {
            request: request.clone(),
            dry_run: if dry_run { "All" } else { "" },
        };
        self.durations
            .get_or_create(&timed)
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { timed, code }).inc();
    }

    /// An answer to a reading request was sent.
    pub(crate) fn sent(&self, request: &Request, bytes: u64) {
        self.sizes.get_or_create(request).observe(bytes as f64);
    }

    /// A request is worked on until the guard is dropped.
    pub(crate) fn begun(&self, verb: Verb) -> Count {
        let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        let request_kind = if reads { "readOnly" } else { "mutating" };
        Count::up(self.inflight.get_or_create_owned(&Kind { request_kind }))
    }

    /// A watch is open until the guard is dropped.
    pub(crate) fn watching(&self, request: &Request) -> (Count, Watching) {
        let watched = Watched {
            group: request.group.clone(),
            version: request.version.clone(),
            resource: request.resource.clone(),
        };
        let watching = Watching {
            events: self.events.get_or_create_owned(&watched),
            sizes: self.event_sizes.get_or_create_owned(&watched),
        };
        let open = self.long_running.get_or_create_owned(request);
        (Count::up(open), watching)
    }

    /// A request had its turn after a while.
    pub(crate) fn dispatched(&self, level: &'static str, waited: Duration) {
        let flow = flowing(level);
        self.dispatched.get_or_create(&flow).inc();
        let execute = "true";
        let waits = self.waits.get_or_create_owned(&Waited { flow, execute });
        waits.observe(waited.as_secs_f64());
    }

    /// A request was turned away.
    pub(crate) fn rejected(&self, level: Level, why: Refused) {
        let flow = flowing(level.as_str());
        let reason = why.as_str();
        self.rejected
            .get_or_create(&Rejected { flow, reason })
            .inc();
    }
}

fn flowing(level: &'static str) -> Flowing {
    Flowing {
        priority_level: level,
        flow_schema: level,
    }
}

impl Request {
    /// A request for a path that is no resource. Only what is known to be served is named.
    pub(crate) fn for_path(method: &http::Method, path: &str) -> Self {
        let first = path.split('/').find(|segment| !segment.is_empty());
        let subresource = match first {
            Some(first @ ("api" | "apis" | "openapi")) => format!("/{first}"),
            _ => String::new(),
        };
        Self {
            verb: method_name(method),
            subresource,
            component: COMPONENT,
            ..Self::default()
        }
    }

    /// A request for a resource.
    pub(crate) fn for_resource(verb: &'static str, scope: &'static str) -> Self {
        Self {
            verb,
            scope,
            component: COMPONENT,
            ..Self::default()
        }
    }
}

fn method_name(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Counts as one until it is dropped.
#[derive(Debug)]
pub(crate) struct Count(Gauge);

impl Count {
    fn up(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The counters of one watch.
#[derive(Debug)]
pub(crate) struct Watching {
    events: Counter,
    sizes: Histogram,
}

impl Watching {
    /// A line was sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.events.inc();
        self.sizes.observe(bytes as f64);
    }
}
