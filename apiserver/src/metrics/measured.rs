//! What is not counted but looked up when somebody asks.

use crate::cache::{Cache, KindLoad};
use crate::flow::{Flow, Level, Load};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// The state of a server.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) cache: Arc<Cache>,
    pub(super) flow: Flow,
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_kinds(&mut encoder, &self.cache.load())?;
        encode_levels(&mut encoder, &self.flow.load())
    }
}

/// How much the server holds of each kind.
fn encode_kinds(encoder: &mut DescriptorEncoder<'_>, kinds: &[KindLoad]) -> fmt::Result {
    gauges(
        encoder,
        "apiserver_storage_objects",
        "Number of stored objects split by kind",
        kinds
            .iter()
            .map(|kind| ([("resource", qualified(kind))], kind.objects)),
    )?;
    gauges(
        encoder,
        "apiserver_resource_objects",
        "Number of stored objects split by kind",
        kinds.iter().map(|kind| (names(kind), kind.objects)),
    )?;
    gauges(
        encoder,
        "apiserver_watch_cache_capacity",
        "Number of changes that are kept for watches from the past",
        kinds.iter().map(|kind| (names(kind), kind.capacity)),
    )?;
    gauges(
        encoder,
        "apiserver_watch_cache_resource_version",
        "Current resource version of watch cache broken by resource type",
        kinds.iter().map(|kind| (names(kind), kind.revision)),
    )?;
    counters(
        encoder,
        "apiserver_watch_cache_initializations",
        "Counter of watch cache initializations broken by resource type",
        kinds.iter().map(|kind| (names(kind), kind.loads)),
    )?;
    counters(
        encoder,
        "apiserver_watch_cache_events_received",
        "Counter of events received in watch cache broken by resource type",
        kinds.iter().map(|kind| (names(kind), kind.received)),
    )?;
    counters(
        encoder,
        "apiserver_watch_cache_events_dispatched",
        "Counter of events dispatched in watch cache broken by resource type",
        kinds.iter().map(|kind| (names(kind), kind.dispatched)),
    )?;
    counters(
        encoder,
        "apiserver_terminated_watchers",
        "Counter of watchers closed due to unresponsiveness broken by resource type",
        kinds.iter().map(|kind| (names(kind), kind.cut)),
    )
}

/// How busy the levels of priority are.
fn encode_levels(encoder: &mut DescriptorEncoder<'_>, levels: &[Load]) -> fmt::Result {
    let by_level = |level: Level| [("priority_level", level.as_str())];
    let by_flow = |level: Level| {
        let name = level.as_str();
        [("priority_level", name), ("flow_schema", name)]
    };
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    gauges(
        encoder,
        "apiserver_flowcontrol_nominal_limit_seats",
        "Nominal number of execution seats configured for each priority level",
        levels
            .iter()
            .map(|load| (by_level(load.level), number(load.seats))),
    )?;
    gauges(
        encoder,
        "apiserver_flowcontrol_current_executing_requests",
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
        levels
            .iter()
            .map(|load| (by_flow(load.level), number(load.executing))),
    )?;
    gauges(
        encoder,
        "apiserver_flowcontrol_current_inqueue_requests",
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        levels
            .iter()
            .map(|load| (by_flow(load.level), number(load.waiting))),
    )
}

fn names(kind: &KindLoad) -> [(&'static str, String); 2] {
    [
        ("group", kind.group.clone()),
        ("resource", kind.resource.clone()),
    ]
}

fn qualified(kind: &KindLoad) -> String {
    match kind.group.as_str() {
        "" => kind.resource.clone(),
        group => format!("{}.{group}", kind.resource),
    }
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family: MetricEncoder<'_> =
        encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
