//! Which traces are recorded, and how often others may decide that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use opentelemetry::trace::{
    Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

use crate::settings::Sampling;

/// Decides for a trace where it enters the program; what is inside of it follows.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    sampling: Sampling,
    /// How many traces others may have recorded; without it, as many as they like.
    allowance: Option<Arc<Mutex<Allowance>>>,
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling, per_second: Option<u32>) -> Self {
        let allowance = per_second.map(|rate| Arc::new(Mutex::new(Allowance::new(rate))));
        Self {
            sampling,
            allowance,
        }
    }

    /// Whether a trace is recorded that enters here; `flag` is what the request says of it that it came
    /// with, if it did, and `chance` a random number below 1.
    fn decide(&self, flag: Option<bool>, trace: TraceId, now: Instant, chance: f64) -> bool {
        let ratio = self.sampling.ratio;
        // The shares of the last few ids are rounded up to 1.
        let by_id = || ratio >= 1.0 || share_of(trace) < ratio;
        let Some(flag) = flag else {
            return by_id();
        };
        let wanted = match self.sampling.parent_based {
            true => flag,
            // The same traces as in other programs with this sampler.
            false => by_id(),
        };
        let Some(allowance) = &self.allowance else {
            return wanted;
        };
        if !wanted || ratio >= 1.0 {
            return wanted;
        }
        // Who sends the request has chosen flag and id, and may not have everything recorded by it.
        let mut allowance = allowance.lock().unwrap_or_else(PoisonError::into_inner);
        allowance.take(now) || chance < ratio
    }
}

/// A place of a trace between 0 and 1, the same for everybody who computes it: its last 63 bits.
fn share_of(trace: TraceId) -> f64 {
    let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    number as f64 / (1_u64 << 63) as f64
}

impl ShouldSample for Sampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent.filter(|parent| parent.has_active_span());
        let parent = parent.map(|parent| parent.span().span_context().clone());
        let sampled = match &parent {
            Some(parent) if !parent.is_remote() => parent.is_sampled(),
            other => {
                let flag = other.as_ref().map(SpanContext::is_sampled);
                self.decide(flag, trace_id, Instant::now(), rand::random())
            }
        };
        SamplingResult {
            decision: match sampled {
                true => SamplingDecision::RecordAndSample,
                false => SamplingDecision::Drop,
            },
            attributes: Vec::new(),
            trace_state: parent.map_or(TraceState::NONE, |parent| parent.trace_state().clone()),
        }
    }
}

/// So many in a second, and so many at once.
#[derive(Debug)]
struct Allowance {
    rate: f64,
    left: f64,
    at: Option<Instant>,
}

impl Allowance {
    fn new(per_second: u32) -> Self {
        let rate = per_second.into();
        Self {
            rate,
            left: rate,
            at: None,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.left = (self.left + self.rate * passed).min(self.rate);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SAMPLED: Option<bool> = Some(true);
    const UNSAMPLED: Option<bool> = Some(false);

    fn sampler(parent_based: bool, ratio: f64, per_second: Option<u32>) -> Sampler {
        let sampling = Sampling {
            parent_based,
            ratio,
        };
        Sampler::new(sampling, per_second)
    }

    #[test]
    fn who_asks_decides_if_the_sampler_says_so() {
        let (now, trace) = (Instant::now(), TraceId::from(u128::MAX));
        let follows = sampler(true, 0.0, None);
        assert!(follows.decide(SAMPLED, trace, now, 0.5));
        assert!(!follows.decide(UNSAMPLED, trace, now, 0.5));
        assert!(!follows.decide(None, trace, now, 0.5));
        let all = sampler(true, 1.0, Some(0));
        assert!(all.decide(SAMPLED, trace, now, 0.5));
        assert!(!all.decide(UNSAMPLED, trace, now, 0.5));
        assert!(all.decide(None, trace, now, 0.5));
        let alone = sampler(false, 1.0, Some(0));
        assert!(alone.decide(UNSAMPLED, trace, now, 0.5));
        let never = sampler(false, 0.0, None);
        assert!(!never.decide(SAMPLED, TraceId::from(1), now, 0.5));
    }

    #[test]
    fn the_share_of_a_trace_is_that_of_its_id() {
        let half = sampler(false, 0.5, None);
        let now = Instant::now();
        for (low, expected) in [(1_u128, true), (0x7fff << 48, true), (0x8000 << 48, false)] {
            let trace = TraceId::from(1 << 100 | low);
            assert_eq!(half.decide(None, trace, now, 0.9), expected, "{low:x}");
            assert_eq!(half.decide(SAMPLED, trace, now, 0.9), expected, "{low:x}");
        }
    }

    /// Neither by the flag nor by an id of its own choice.
    #[test]
    fn nobody_has_more_recorded_than_the_allowance() {
        let low = TraceId::from(1);
        for parent_based in [true, false] {
            let sampler = sampler(parent_based, 0.1, Some(2));
            let now = Instant::now();
            let forced = |now, count| {
                let decided = (0..count).map(|_| sampler.decide(SAMPLED, low, now, 0.5));
                decided.filter(|recorded| *recorded).count()
            };
            assert_eq!(forced(now, 100), 2);
            assert_eq!(forced(now + Duration::from_millis(500), 100), 1);
            assert_eq!(forced(now + Duration::from_secs(60), 100), 2);
            // The rest has the chance of all others.
            assert!(sampler.decide(SAMPLED, low, now, 0.05));
        }
        assert!(!sampler(true, 0.1, Some(0)).decide(SAMPLED, low, Instant::now(), 0.5));
    }
}
