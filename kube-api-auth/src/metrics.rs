//! What it counts.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::known::{Known, Refusal, User};

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ResultLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// How much is known, when somebody asks.
#[derive(Debug)]
struct Sizes(Arc<Known>);

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let size = self.0.size();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("tokens", "Tokens that are known", number(size.tokens)),
            ("users", "Users that are known", number(size.users)),
            (
                "ready",
                "Whether everything was read once",
                i64::from(self.0.is_ready()),
            ),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(encoder)?;
        }
        let help = "How often there was no room for a token or a user";
        let encoder = encoder.encode_descriptor("left_out", help, None, MetricType::Counter)?;
        ConstCounter::new(size.left_out).encode(encoder)
    }
}

impl Metrics {
    /// Metrics of what is known.
    pub fn new(known: Arc<Known>) -> Self {
        let mut registry = Registry::with_prefix("kube_api_auth");
        let reviews = Family::default();
        let help = "Answered TokenReviews by what came of them";
        registry.register("reviews", help, reviews.clone());
        registry.register_collector(Box::new(Sizes(known)));
        Self { registry, reviews }
    }

    /// A question was answered.
    pub fn answered(&self, found: &Result<User, Refusal>) {
        let result = match found {
            Ok(_) => "authenticated",
            Err(Refusal::NotOurs) => "not_ours",
            Err(Refusal::NotReady) => "not_ready",
            Err(Refusal::Unknown) => "unknown",
            Err(Refusal::Expired) => "expired",
            Err(Refusal::Disabled) => "disabled",
            Err(Refusal::Denied(_)) => "denied",
        };
        self.reviews.get_or_create(&ResultLabel { result }).inc();
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
