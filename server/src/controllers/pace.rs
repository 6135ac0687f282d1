//! When something is done that was asked for.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::time::Instant;

/// How long changes are gathered before they are carried out together.
pub(super) const GATHER: Duration = Duration::from_millis(20);

/// How soon a failure is tried again, and how late after many.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// After some time, if it is not due before.
pub(super) fn sooner(due: Option<Instant>, wait: Duration) -> Instant {
    let at = Instant::now() + wait;
    due.map_or(at, |due| due.min(at))
}

/// How long to wait after so many failures.
pub(super) fn retry(failed: u32) -> Duration {
    let (first, last) = RETRY;
    let doubled = first.saturating_mul(1 << (failed.saturating_sub(1)).min(10));
    doubled.min(last)
}

/// How long a watch that fails waits before its next attempt: longer after each, up to a minute, and briefly again
/// when none has failed for two. Kube's own begins anew with every attempt, as it counts as a success that one begins.
#[derive(Default)]
pub(super) struct Patience(DefaultBackoff);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| 2 * wait)
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::watch::watch;
    use crate::edge::full;
    use futures::StreamExt as _;
    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Namespace;
    use kube::api::ListParams;
    use kube::client::Body;
    use kube::runtime::watcher::Event;

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_forbids_a_watch_is_asked_more_and_more_seldom() {
        let forbids = async |_: Request<Body>| {
            let status = serde_json::json!({"kind": "Status", "status": "Failure", "code": 403});
            let answer = Response::builder().status(403);
            Ok(answer.body(full(status.to_string())).unwrap())
        };
        let events = watch(
            forbids,
            None,
            ListParams::default(),
            |event: Event<Namespace>| event,
        );
        let mut refused = events.filter(|event| std::future::ready(event.is_err()));
        let begun = Instant::now();
        let mut asked = 0;
        while begun.elapsed() < Duration::from_secs(600) {
            refused.next().await;
            asked += 1;
        }
        assert!((10..22).contains(&asked), "{asked} times in ten minutes");
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let waits: Vec<_> = (1..8).map(|failed| retry(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(retry(u32::MAX).as_secs(), 30);
    }
}
