//! How both sides of a cluster are followed, the management API and the cluster itself: after every change of
//! either, they are compared again.

use std::future::pending;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use lariat_api::ClusterId;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use tracing::debug;

use super::apply::{Failure, Report, is_refused};
use super::metrics::Counts;
use super::mirror::TooMany;
use super::pace::{GATHER, retry, sooner};

/// All that the watches of a cluster tell.
pub(super) type Watches<News> = SelectAll<BoxStream<'static, kube::Result<News>>>;

/// One who keeps something in a cluster as the management API says.
pub(super) trait Keeper {
    /// What a watch tells.
    type News: Send + 'static;

    /// How long after a good pass the two sides are compared although nothing has changed; `None`: never.
    const LOOK: Option<Duration>;

    /// The cluster.
    fn cluster(&self) -> &ClusterId;

    /// Where failures are counted.
    fn counts(&self) -> &Counts;

    /// Whether all that is there was seen.
    fn is_complete(&self) -> bool;

    /// Takes in what a watch tells; whether the sides may differ now.
    fn take(&mut self, news: Self::News) -> Result<bool, TooMany>;

    /// Compares the two sides, and makes right what differs. May add watches.
    fn pass(&mut self, news: &mut Watches<Self::News>) -> impl Future<Output = Report> + Send;

    /// Says how it went.
    fn tell(&mut self, report: &Report) -> impl Future<Output = ()> + Send;
}

/// Keeps a cluster until nothing more is told of it.
pub(super) async fn run<K: Keeper + Send>(
    keeper: &mut K,
    mut changes: Receiver<()>,
    mut news: Watches<K::News>,
) {
    let mut due: Option<Instant> = None;
    let mut failed = 0;
    // The reason that was told of what cannot be looked at.
    let mut said: Option<&'static str> = None;
    loop {
        let ready = keeper.is_complete();
        let pass = async move {
            match due {
                Some(at) if ready => tokio::time::sleep_until(at).await,
                _ => pending().await,
            }
        };
        let told = tokio::select! {
            told = news.next() => told,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                due = Some(sooner(due, GATHER));
                continue;
            }
            () = pass => {
                let report = Box::pin(keeper.pass(&mut news)).await;
                failed = if report.failures.is_empty() { 0 } else { failed + 1 };
                let wait = if failed > 0 { Some(retry(failed)) } else { K::LOOK };
                due = wait.map(|wait| Instant::now() + wait);
                said = None;
                Box::pin(keeper.tell(&report)).await;
                continue;
            }
        };
        let Some(told) = told else { return };
        let taken = match told {
            Ok(news) => keeper.take(news).map_err(Failure::from),
            // A watch that breaks is begun again by itself; what cannot be listed is told.
            Err(error) if keeper.is_complete() && !is_refused(&error) => {
                debug!(cluster = %keeper.cluster(), %error, "a watch is begun again");
                Ok(false)
            }
            Err(error) => Err(Failure::of_watch(&error)),
        };
        match taken {
            Ok(true) => due = Some(sooner(due, GATHER)),
            Ok(false) => {}
            // Each kind is tried again and again, and has a message of its own: one of them will do.
            Err(failure) if said == Some(failure.reason) => keeper.counts().failed(),
            Err(failure) => {
                said = Some(failure.reason);
                let failures = vec![failure];
                let report = Report {
                    failures,
                    ..Report::default()
                };
                Box::pin(keeper.tell(&report)).await;
            }
        }
    }
}
