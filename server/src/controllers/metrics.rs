//! What controllers count, by cluster.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Controllers;

/// What is counted of one cluster.
#[derive(Debug, Default)]
pub(super) struct Counts {
    objects: AtomicU64,
    changes: [AtomicU64; 3],
    failures: AtomicU64,
    /// In seconds since 1970; 0: never.
    last_sync: AtomicI64,
}

/// What was done with an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Created,
    Changed,
    Deleted,
}

impl Change {
    const ALL: [Self; 3] = [Self::Created, Self::Changed, Self::Deleted];

    fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }
}

impl Counts {
    pub(super) fn changed(&self, what: Change) {
        self.changes[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Something could not be done.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The cluster is as it shall be, with that many objects.
    pub(super) fn synced(&self, objects: usize, now: jiff::Timestamp) {
        let objects = u64::try_from(objects).unwrap_or(u64::MAX);
        self.objects.store(objects, Ordering::Relaxed);
        self.last_sync.store(now.as_second(), Ordering::Relaxed);
    }
}

impl Collector for Controllers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kept: Vec<_> = {
            let clusters = self.lock();
            let clusters = clusters.iter();
            let kept = clusters.map(|(id, kept)| (id.to_string(), kept.clone()));
            kept.collect()
        };
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let help = "Roles and bindings that are kept in a connected cluster";
        let mut family =
            encoder.encode_descriptor("downstream_objects", help, None, MetricType::Gauge)?;
        for (id, kept) in &kept {
            let labels = [("cluster", id.as_str())];
            let objects = i64::try_from(read(&kept.counts.objects)).unwrap_or(i64::MAX);
            ConstGauge::new(objects).encode(family.encode_family(&labels)?)?;
        }
        let help = "Objects that were created, changed and deleted in a connected cluster";
        let mut family =
            encoder.encode_descriptor("downstream_changes", help, None, MetricType::Counter)?;
        for (id, kept) in &kept {
            for change in Change::ALL {
                let labels = [("cluster", id.as_str()), ("change", change.name())];
                let count = read(&kept.counts.changes[change as usize]);
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Times that a connected cluster could not be brought right";
        let mut family =
            encoder.encode_descriptor("downstream_failures", help, None, MetricType::Counter)?;
        for (id, kept) in &kept {
            let labels = [("cluster", id.as_str())];
            let count = read(&kept.counts.failures);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let help = "When a connected cluster was last found right, in seconds since 1970; 0 before";
        let name = "downstream_last_sync_timestamp_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (id, kept) in &kept {
            let labels = [("cluster", id.as_str())];
            let at = kept.counts.last_sync.load(Ordering::Relaxed);
            ConstGauge::new(at).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
