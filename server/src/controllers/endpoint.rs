//! The authorized endpoint: whom a cluster knows while this server is away, and where its API servers are.
//!
//! As long as the Cluster says that it has one, the cluster gets the tokens that are good for it, as hashes,
//! and the users whose they are, seen as through this server ([`wanted`]). They go when they end, and all of
//! them when the Cluster no longer says so; the condition remembers that something is to be taken away.
//!
//! Both sides are followed as [`follow`] does it.

mod addresses;
mod kinds;
mod wanted;
mod withdraw;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use lariat_api::ConditionStatus::{False, True, Unknown};
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute, NAMESPACE};
use lariat_api::{Cluster, ClusterId, condition, set_condition};
use tokio::sync::watch::Receiver;
use tracing::{info, warn};

use super::Kept;
use super::apply::{self, Failure, Hand, Report};
use super::client::Remote;
use super::follow::{self, Watches};
use super::metrics::Counts;
use super::mirror::{Mirror, TooMany};
use super::object::{Kept as _, Seen};
use super::plan::Plan;
use super::watch::watch;
use crate::state::App;
use crate::tunnels::{self, Tunnel};
use addresses::Addresses;
use wanted::Wanted;

/// How often it is looked who may still come: roles of Kubernetes' own kinds change without a word.
const LOOK: Duration = Duration::from_secs(60);

/// Longest message of the condition, in characters.
const MAX_MESSAGE: usize = 500;

/// The Service of the API servers, which is the name of its EndpointSlice as well.
const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// Keeps a cluster until dropped.
pub(super) async fn keep(
    app: &Arc<App>,
    cluster: &ClusterId,
    tunnel: &Arc<Tunnel>,
    kept: &Arc<Kept>,
) {
    let mut changed = changes(app, cluster);
    loop {
        if has_endpoint(app, cluster) {
            // Boxed, as few clusters have one.
            let feeding = Box::pin(async {
                let remote = Remote::new(app, cluster, tunnel);
                let news = watches(&remote);
                let mut keeper = Keeper::new(app, cluster, kept, remote);
                keeper.remember().await;
                let changes = changes(app, cluster);
                follow::run(&mut keeper, changes, news).await;
            });
            tokio::select! {
                () = feeding => return,
                () = until(&mut changed, || !has_endpoint(app, cluster)) => {}
            }
        } else {
            let withdrawing = async {
                Box::pin(withdraw::withdraw(app, cluster, tunnel)).await;
                pending::<()>().await;
            };
            tokio::select! {
                () = withdrawing => {}
                () = until(&mut changed, || has_endpoint(app, cluster)) => {}
            }
        }
    }
}

fn changes(app: &App, cluster: &ClusterId) -> Receiver<()> {
    let cluster = cluster.as_str();
    app.directory.access(|access| access.changes_in(cluster))
}

fn has_endpoint(app: &App, cluster: &ClusterId) -> bool {
    let cluster = app.directory.cluster(cluster);
    cluster.is_some_and(|cluster| cluster.endpoint().is_some())
}

/// Waits until something holds that a change may make true.
async fn until(changes: &mut Receiver<()>, holds: impl Fn() -> bool) {
    while !holds() {
        if changes.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// One who keeps a cluster that has an endpoint.
struct Keeper<'a> {
    app: &'a Arc<App>,
    cluster: &'a ClusterId,
    kept: &'a Arc<Kept>,
    remote: Remote,
    tokens: Mirror<Seen>,
    users: Mirror<Seen>,
    slice: Option<EndpointSlice>,
    /// As they were last looked up; `None` when they may have changed.
    addresses: Option<Addresses>,
    /// What was last said in the log.
    logged: String,
}

/// What a watch tells.
enum News {
    Token(Event<ClusterAuthToken>),
    User(Event<ClusterUserAttribute>),
    Servers(Event<EndpointSlice>),
}

fn watches(remote: &Remote) -> Watches<News> {
    let ours = |label: &str| ListParams::default().labels(label);
    let (namespace, name) = API_SERVICE;
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    futures::stream::select_all([
        watch(
            remote.sender(),
            Some(NAMESPACE),
            ours(ClusterAuthToken::LABEL),
            News::Token,
        ),
        watch(
            remote.sender(),
            Some(NAMESPACE),
            ours(ClusterUserAttribute::LABEL),
            News::User,
        ),
        watch(remote.sender(), Some(namespace), only, News::Servers),
    ])
}

impl<'a> Keeper<'a> {
    fn new(app: &'a Arc<App>, cluster: &'a ClusterId, kept: &'a Arc<Kept>, remote: Remote) -> Self {
        Self {
            app,
            cluster,
            kept,
            remote,
            tokens: Mirror::default(),
            users: Mirror::default(),
            slice: None,
            addresses: None,
            logged: String::new(),
        }
    }

    /// Before anything is made, the Cluster says that there may be something to take away again.
    async fn remember(&self) {
        let now = self.app.clock.now();
        let written = tunnels::record(self.app, self.cluster, |status| {
            let name = Cluster::AUTHORIZED_ENDPOINT;
            condition(&status.conditions, name).is_none()
                && set_condition(&mut status.conditions, name, Unknown, "Feeding", "", now)
        });
        written.await;
    }
}

impl follow::Keeper for Keeper<'_> {
    type News = News;

    const LOOK: Option<Duration> = Some(LOOK);

    fn cluster(&self) -> &ClusterId {
        self.cluster
    }

    fn counts(&self) -> &Counts {
        &self.kept.counts
    }

    fn is_complete(&self) -> bool {
        self.tokens.is_complete() && self.users.is_complete()
    }

    fn take(&mut self, news: News) -> Result<bool, TooMany> {
        match news {
            News::Token(event) => self.tokens.take(event, ClusterAuthToken::seen),
            News::User(event) => self.users.take(event, ClusterUserAttribute::seen),
            News::Servers(event) => {
                let slice = match event {
                    Event::InitApply(slice) | Event::Apply(slice) => Some(slice),
                    Event::Delete(_) => None,
                    Event::Init | Event::InitDone => return Ok(false),
                };
                (self.slice, self.addresses) = (slice, None);
                Ok(true)
            }
        }
    }

    async fn pass(&mut self, _: &mut Watches<News>) -> Report {
        let client = self.remote.client();
        let wanted = Wanted::new(self.app, self.cluster);
        let mut tokens = Plan::new(wanted.tokens, &self.tokens);
        let mut users = Plan::new(wanted.users, &self.users);
        let mut hand = Hand {
            client: &client,
            counts: &self.kept.counts,
            report: Report::default(),
        };
        // Who may no longer come goes first, and nobody comes before it is known who that is.
        hand.delete(&mut tokens, &mut self.tokens).await;
        hand.write(&mut users, &mut self.users).await;
        hand.write(&mut tokens, &mut self.tokens).await;
        hand.delete(&mut users, &mut self.users).await;
        let mut report = hand.report;
        if self.addresses.is_none() {
            match addresses::look_up(&client, self.slice.as_ref()).await {
                Ok(found) => self.addresses = Some(found),
                Err(failure) => report.failures.push(failure),
            }
        }
        report
    }

    /// Says in the log and on the Cluster how it went.
    async fn tell(&mut self, report: &Report) {
        let (cluster, changes) = (self.cluster, report.changes);
        let now = self.app.clock.now();
        let (status, reason, message) = match report.failures.as_slice() {
            [] => {
                if changes > 0 {
                    info!(%cluster, changes, "the cluster knows the tokens that are good for it");
                }
                (True, "Fed", String::new())
            }
            [first, others @ ..] => {
                self.kept.counts.failed();
                let message = said(first, others.len());
                // It is tried again and again.
                if self.logged != message {
                    warn!(%cluster, changes, "the authorized endpoint is not right: {message}");
                }
                (False, first.reason, message)
            }
        };
        self.logged.clone_from(&message);
        let written = tunnels::record(self.app, cluster, |found| {
            let conditions = &mut found.conditions;
            let name = Cluster::AUTHORIZED_ENDPOINT;
            let mut changed = set_condition(conditions, name, status, reason, &message, now);
            if let Some(addresses) = &self.addresses {
                changed |= addresses.put(found);
            }
            changed
        });
        written.await;
    }
}

/// The first failure, what to do about it, and how many more there are.
fn said(first: &Failure, others: usize) -> String {
    let mut message: String = first.message.chars().take(MAX_MESSAGE).collect();
    if [apply::FORBIDDEN, apply::NOT_FOUND].contains(&first.reason) {
        message.push_str(
            "; apply the cluster's import manifest again: it has what the authorized endpoint needs",
        );
    }
    if others > 0 {
        message.push_str(&format!(" (and {others} more)"));
    }
    message
}
