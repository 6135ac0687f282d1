//! What is counted of login providers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics;

/// What is counted of login providers.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    up: Family<Provider, Gauge>,
    refreshes: Family<Refreshed, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refreshed {
    provider: &'static str,
    result: &'static str,
}

impl Metrics {
    pub(super) fn new(all: &metrics::Metrics) -> Self {
        let metrics = Self::default();
        all.register(|registry| {
            let help = "Whether a login provider answers and takes its settings";
            registry.register("login_provider_up", help, metrics.up.clone());
            let help = "How often a login provider was asked again about a user";
            registry.register("login_provider_refreshes", help, metrics.refreshes.clone());
        });
        metrics
    }

    pub(super) fn reachable(&self, provider: &'static str, is_up: bool) {
        let up = self.up.get_or_create(&Provider { provider });
        up.set(i64::from(is_up));
    }

    /// The provider is not enabled.
    pub(super) fn forget(&self, provider: &'static str) {
        self.up.remove(&Provider { provider });
    }

    pub(super) fn refreshed(&self, provider: &'static str, is_good: bool) {
        let result = if is_good { "success" } else { "error" };
        let count = self
            .refreshes
            .get_or_create(&Refreshed { provider, result });
        count.inc();
    }
}
