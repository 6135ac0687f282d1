//! The authorized endpoint: whom a cluster knows while this server is away, and where its API servers are.
//!
//! As long as the Cluster says that it has one, the cluster gets the tokens that are good for it, as hashes,
//! and the users whose they are, seen as through this server ([`wanted`]). They go when they end, and all of
//! them when the Cluster no longer says so; the condition remembers that something is to be taken away.
//!
//! Both sides are followed as [`keeper`](super::keeper) follows them.

mod addresses;
mod kinds;
mod wanted;
mod withdraw;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Error as WatchError, Event, watcher};
use lariat_api::ConditionStatus::{False, True, Unknown};
use lariat_api::downstream::{ClusterAuthToken, ClusterUserAttribute};
use lariat_api::{Cluster, ClusterId, condition, set_condition};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Kept;
use super::apply::{self, Failure, Hand, Report, is_refused};
use super::client::client;
use super::mirror::{Mirror, TooMany};
use super::object::{Kept as _, Seen};
use super::pace::{GATHER, retry, sooner};
use super::plan::Plan;
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
    let client = client(cluster, tunnel);
    let mut changes = changes(app, cluster);
    loop {
        if has_endpoint(app, cluster) {
            let feeding = async {
                let mut keeper = Keeper::new(app, cluster, kept, client.clone());
                Box::pin(keeper.run()).await;
            };
            tokio::select! {
                () = feeding => return,
                () = until(&mut changes, || !has_endpoint(app, cluster)) => {}
            }
        } else {
            let withdrawing = async {
                Box::pin(withdraw::withdraw(app, cluster, &client)).await;
                pending::<()>().await;
            };
            tokio::select! {
                () = withdrawing => {}
                () = until(&mut changes, || has_endpoint(app, cluster)) => {}
            }
        }
    }
}

fn changes(app: &App, cluster: &ClusterId) -> watch::Receiver<()> {
    let cluster = cluster.as_str();
    app.directory.access(|access| access.changes_in(cluster))
}

fn has_endpoint(app: &App, cluster: &ClusterId) -> bool {
    let cluster = app.directory.cluster(cluster);
    cluster.is_some_and(|cluster| cluster.endpoint().is_some())
}

/// Waits until something holds that a change may make true.
async fn until(changes: &mut watch::Receiver<()>, holds: impl Fn() -> bool) {
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
    client: kube::Client,
    tokens: Mirror<Seen>,
    users: Mirror<Seen>,
    slice: Option<EndpointSlice>,
    /// As they were last looked up; `None` when they may have changed.
    addresses: Option<Addresses>,
    /// The reason that was told of what cannot be looked at.
    told: Option<&'static str>,
    /// What was last said in the log.
    logged: String,
}

/// All that the watches of a cluster tell.
type Watches = SelectAll<BoxStream<'static, Result<News, WatchError>>>;

/// What a watch tells.
enum News {
    Token(Event<ClusterAuthToken>),
    User(Event<ClusterUserAttribute>),
    Servers(Event<EndpointSlice>),
}

fn follow(client: &kube::Client) -> Watches {
    let ours = |label: &str| Config::default().labels(label);
    let tokens = ClusterAuthToken::everywhere(client);
    let tokens = watcher(tokens, ours(ClusterAuthToken::LABEL)).default_backoff();
    let users = ClusterUserAttribute::everywhere(client);
    let users = watcher(users, ours(ClusterUserAttribute::LABEL)).default_backoff();
    let (namespace, name) = API_SERVICE;
    let servers: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let only = Config::default().fields(&format!("metadata.name={name}"));
    let servers = watcher(servers, only).default_backoff();
    futures::stream::select_all([
        tokens.map_ok(News::Token).boxed(),
        users.map_ok(News::User).boxed(),
        servers.map_ok(News::Servers).boxed(),
    ])
}

impl<'a> Keeper<'a> {
    fn new(
        app: &'a Arc<App>,
        cluster: &'a ClusterId,
        kept: &'a Arc<Kept>,
        client: kube::Client,
    ) -> Self {
        Self {
            app,
            cluster,
            kept,
            client,
            tokens: Mirror::default(),
            users: Mirror::default(),
            slice: None,
            addresses: None,
            told: None,
            logged: String::new(),
        }
    }

    async fn run(&mut self) {
        self.remember().await;
        let mut news = follow(&self.client);
        let mut changes = changes(self.app, self.cluster);
        let mut due: Option<Instant> = None;
        let mut failed = 0;
        loop {
            let ready = self.is_complete();
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
                    let report = Box::pin(self.pass()).await;
                    failed = if report.failures.is_empty() { 0 } else { failed + 1 };
                    let wait = if failed > 0 { retry(failed) } else { LOOK };
                    due = Some(Instant::now() + wait);
                    self.told = None;
                    Box::pin(self.tell(&report)).await;
                    continue;
                }
            };
            let Some(told) = told else { return };
            let taken = match told {
                Ok(news) => self.take(news).map_err(Failure::from),
                // A watch that breaks is begun again by itself; what cannot be listed is told.
                Err(error) if self.is_complete() && !is_refused(&error) => {
                    let cluster = self.cluster;
                    debug!(%cluster, %error, "a watch is begun again");
                    Ok(false)
                }
                Err(error) => Err(Failure::of_watch(&error)),
            };
            match taken {
                Ok(true) => due = Some(sooner(due, GATHER)),
                Ok(false) => {}
                // Each kind is tried again and again, and has a message of its own: one of them will do.
                Err(failure) if self.told == Some(failure.reason) => self.kept.counts.failed(),
                Err(failure) => {
                    self.told = Some(failure.reason);
                    let failures = vec![failure];
                    let report = Report {
                        failures,
                        ..Report::default()
                    };
                    Box::pin(self.tell(&report)).await;
                }
            }
        }
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

    /// Compares what the cluster knows with what it shall know, and makes right what differs.
    async fn pass(&mut self) -> Report {
        let wanted = Wanted::new(self.app, self.cluster);
        let mut tokens = Plan::new(wanted.tokens, &self.tokens);
        let mut users = Plan::new(wanted.users, &self.users);
        let mut hand = Hand {
            client: &self.client,
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
            match addresses::look_up(&self.client, self.slice.as_ref()).await {
                Ok(found) => self.addresses = Some(found),
                Err(failure) => report.failures.push(failure),
            }
        }
        report
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
