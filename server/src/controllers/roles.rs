//! Roles and bindings: what the management API says of who may do what in a cluster, as roles and bindings
//! of Kubernetes in that cluster. See [`wanted`] for which.
//!
//! Both sides are followed, the management API in memory, the cluster by one watch for each kind. Whatever
//! changes on either, the two are compared again, and what differs is made right. Only what has the
//! label [`names::MANAGED`] is ever changed or deleted.

mod apply;
mod mirror;
mod names;
mod object;
mod plan;
mod probe;
mod wanted;

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Error as WatchError, Event, watcher};
use lariat_api::ConditionStatus::{False, True};
use lariat_api::{Cluster, ClusterId, Project, set_condition};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Kept, client::client};
use crate::authz::Rights;
use crate::state::App;
use crate::tunnels::{self, Tunnel};
use apply::{Failure, Hand, Report};
use mirror::{Key, Mirror};
use object::{Kept as _, Seen};
use plan::Plan;
use wanted::Wanted;

/// How long changes are gathered before they are carried out together.
const GATHER: Duration = Duration::from_millis(20);

/// How soon a failure is tried again, and how late after many.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Longest message of the condition, in characters.
const MAX_MESSAGE: usize = 500;

/// Keeps a cluster until dropped.
pub(super) async fn keep(
    app: &Arc<App>,
    cluster: &ClusterId,
    tunnel: &Arc<Tunnel>,
    kept: &Arc<Kept>,
) {
    let client = client(cluster, tunnel);
    let mut keeper = Keeper {
        app,
        cluster,
        kept,
        client,
        roles: Mirror::default(),
        cluster_bindings: Mirror::default(),
        bindings: Mirror::default(),
        namespaces: Mirror::default(),
        taken: BTreeSet::new(),
        confirmed: None,
        told: None,
        logged: String::new(),
    };
    keeper.run().await;
}

/// One who keeps the roles of a cluster.
struct Keeper<'a> {
    app: &'a Arc<App>,
    cluster: &'a ClusterId,
    kept: &'a Arc<Kept>,
    client: kube::Client,
    roles: Mirror<Seen>,
    cluster_bindings: Mirror<Seen>,
    bindings: Mirror<Seen>,
    /// With their projects.
    namespaces: Mirror<String>,
    /// Names of ClusterRoles that belong to somebody else.
    taken: BTreeSet<String>,
    /// By what the agent could ask in the name of groups when that was last found out.
    confirmed: Option<[Option<Seen>; 2]>,
    /// The reason that was told of what cannot be looked at.
    told: Option<&'static str>,
    /// What was last said in the log.
    logged: String,
}

/// What a watch tells.
enum News {
    Role(Event<ClusterRole>),
    ClusterBinding(Event<ClusterRoleBinding>),
    Binding(Event<RoleBinding>),
    Namespace(Event<PartialObjectMeta<Namespace>>),
}

impl Keeper<'_> {
    async fn run(&mut self) {
        let cluster = self.cluster.as_str();
        let mut changes = self
            .app
            .directory
            .access(|access| access.changes_in(cluster));
        let mut news = follow(&self.client);
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
                    due = (failed > 0).then(|| Instant::now() + retry(failed));
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
                    debug!(cluster, %error, "a watch is begun again");
                    Ok(false)
                }
                Err(error) => Err(of_watch(&error)),
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
        self.roles.is_complete()
            && self.cluster_bindings.is_complete()
            && self.bindings.is_complete()
            && self.namespaces.is_complete()
    }

    fn take(&mut self, news: News) -> Result<bool, mirror::TooMany> {
        match news {
            News::Role(event) => self.roles.take(event, ClusterRole::seen),
            News::ClusterBinding(event) => {
                let seen = ClusterRoleBinding::seen;
                self.cluster_bindings.take(event, seen)
            }
            News::Binding(event) => self.bindings.take(event, RoleBinding::seen),
            News::Namespace(event) => {
                let cluster = self.cluster.as_str();
                self.namespaces.take(event, |it| project_of(it, cluster))
            }
        }
    }

    /// Compares the two sides, and makes right what differs.
    async fn pass(&mut self) -> Report {
        let cluster = self.cluster.as_str();
        let rights = self.app.directory.access(|access| access.rights(cluster));
        let mut plans = self.compare(&rights);
        self.narrow_groups(&plans);
        let mut hand = Hand {
            client: &self.client,
            counts: &self.kept.counts,
            report: Report::default(),
        };
        // What somebody may no longer do goes first.
        hand.delete(&mut plans.roles, &mut self.roles).await;
        hand.delete(&mut plans.whole, &mut self.cluster_bindings)
            .await;
        hand.delete(&mut plans.within, &mut self.bindings).await;
        hand.write(&mut plans.roles, &mut self.roles).await;
        if hand.report.taken != self.taken {
            self.taken.clone_from(&hand.report.taken);
            plans = self.compare(&rights);
            hand.delete(&mut plans.whole, &mut self.cluster_bindings)
                .await;
            hand.delete(&mut plans.within, &mut self.bindings).await;
        }
        hand.write(&mut plans.whole, &mut self.cluster_bindings)
            .await;
        hand.write(&mut plans.within, &mut self.bindings).await;
        let mut report = hand.report;
        self.widen_groups(plans.groups, &mut report).await;
        report
    }

    fn compare(&self, rights: &Rights) -> Plans {
        let namespaces = self.namespaces.by_project();
        let wanted = Wanted::new(rights, &namespaces, &self.taken);
        Plans {
            roles: Plan::new(wanted.roles, &self.roles),
            whole: Plan::new(wanted.cluster_bindings, &self.cluster_bindings),
            within: Plan::new(wanted.bindings, &self.bindings),
            groups: wanted.groups,
        }
    }

    /// Nobody comes any more in the name of groups in which the agent will not be able to ask, or in which
    /// it has to be found out again, as somebody has changed by what it can.
    fn narrow_groups(&self, plans: &Plans) {
        let intact = match &self.confirmed {
            Some(confirmed) => *confirmed == self.by_what(),
            None => {
                let key = Key::whole(names::GROUPS);
                plans.roles.leaves(&key) && plans.whole.leaves(&key)
            }
        };
        let known = self.kept.groups.load();
        let still = known.iter();
        let still = still.filter(|group| intact && plans.groups.contains(*group));
        let still: BTreeSet<String> = still.cloned().collect();
        if still != **known {
            self.kept.groups.store(Arc::new(still));
        }
    }

    /// Lets people come in the name of their groups as soon as the agent can ask in it: a request that
    /// names one too early would be refused altogether.
    async fn widen_groups(&mut self, wanted: BTreeSet<String>, report: &mut Report) {
        let known = self.kept.groups.load_full();
        if !wanted.is_subset(&known) {
            let (usable, failures) = probe::usable(&self.client, wanted).await;
            report.failures.extend(failures);
            self.kept.groups.store(Arc::new(usable));
        }
        self.confirmed = Some(self.by_what());
    }

    /// The role and the binding by which the agent can ask in the name of groups, as they are.
    fn by_what(&self) -> [Option<Seen>; 2] {
        let key = Key::whole(names::GROUPS);
        [self.roles.get(&key), self.cluster_bindings.get(&key)].map(Option::<&Seen>::cloned)
    }

    /// Says in the log, in the metrics and on the Cluster how it went.
    async fn tell(&mut self, report: &Report) {
        let (cluster, changes) = (self.cluster, report.changes);
        let now = self.app.clock.now();
        let (status, reason, message) = match report.failures.as_slice() {
            [] => {
                let objects = self.roles.len() + self.cluster_bindings.len() + self.bindings.len();
                self.kept.counts.synced(objects, now);
                if changes > 0 {
                    info!(%cluster, changes, "roles and bindings in the cluster are right");
                }
                (True, "Materialised", String::new())
            }
            [first, others @ ..] => {
                self.kept.counts.failed();
                let message = said(first, others.len());
                // It is tried again and again.
                if self.logged != message {
                    warn!(%cluster, changes, "roles in the cluster are not right: {message}");
                }
                (False, first.reason, message)
            }
        };
        self.logged.clone_from(&message);
        let written = tunnels::record(self.app, cluster, |found| {
            let conditions = &mut found.conditions;
            let condition = Cluster::ROLES_MATERIALISED;
            set_condition(conditions, condition, status, reason, &message, now)
        });
        written.await;
    }
}

/// What has to be done.
struct Plans {
    roles: Plan<ClusterRole>,
    whole: Plan<ClusterRoleBinding>,
    within: Plan<RoleBinding>,
    /// Groups in whose name the agent has to ask.
    groups: BTreeSet<String>,
}

/// All that the watches of a cluster tell.
fn follow(client: &kube::Client) -> SelectAll<BoxStream<'static, Result<News, WatchError>>> {
    let ours = Config::default().labels(names::MANAGED);
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let roles = watcher(roles, ours.clone()).default_backoff();
    let whole: Api<ClusterRoleBinding> = Api::all(client.clone());
    let whole = watcher(whole, ours.clone()).default_backoff();
    let within: Api<RoleBinding> = Api::all(client.clone());
    let within = watcher(within, ours).default_backoff();
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let namespaces = watcher(namespaces, Config::default()).default_backoff();
    futures::stream::select_all([
        roles.map_ok(News::Role).boxed(),
        whole.map_ok(News::ClusterBinding).boxed(),
        within.map_ok(News::Binding).boxed(),
        namespaces.map_ok(News::Namespace).boxed(),
    ])
}

/// The project of a namespace of this cluster.
fn project_of(namespace: &PartialObjectMeta<Namespace>, cluster: &str) -> Option<String> {
    let meta = &namespace.metadata;
    // Nothing can be made in one that is going.
    if meta.deletion_timestamp.is_some() {
        return None;
    }
    let named = meta.annotations.as_ref()?.get(Project::ID_ANNOTATION)?;
    let (of, project) = named.split_once(':')?;
    (of == cluster).then(|| project.to_owned())
}

fn sooner(due: Option<Instant>, wait: Duration) -> Instant {
    let at = Instant::now() + wait;
    due.map_or(at, |due| due.min(at))
}

fn retry(failed: u32) -> Duration {
    let (first, last) = RETRY;
    let doubled = first.saturating_mul(1 << (failed.saturating_sub(1)).min(10));
    doubled.min(last)
}

fn is_refused(error: &WatchError) -> bool {
    of_api(error)
        .is_some_and(|error| matches!(error, kube::Error::Api(status) if status.code == 403))
}

fn of_api(error: &WatchError) -> Option<&kube::Error> {
    match error {
        WatchError::InitialListFailed(error)
        | WatchError::WatchStartFailed(error)
        | WatchError::WatchFailed(error) => Some(error),
        WatchError::WatchError(_) | WatchError::NoResourceVersion => None,
    }
}

fn of_watch(error: &WatchError) -> Failure {
    let what = "the cluster cannot be looked at";
    match of_api(error) {
        Some(error) => Failure::new(what, error),
        None => Failure::other(format!("{what}: {error}")),
    }
}

/// The first failure, and how many more there are.
fn said(first: &Failure, others: usize) -> String {
    let mut message: String = first.message.chars().take(MAX_MESSAGE).collect();
    if first.reason == apply::FORBIDDEN {
        message.push_str(
            "; apply the cluster's import manifest again: it grants what this server needs",
        );
    }
    if others > 0 {
        message.push_str(&format!(" (and {others} more)"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let waits: Vec<_> = (1..8).map(|failed| retry(failed).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(retry(u32::MAX).as_secs(), 30);
    }

    #[test]
    fn a_namespace_is_in_a_project_of_its_own_cluster_alone() {
        let namespace = |named: &str| {
            let mut namespace = PartialObjectMeta::<Namespace>::default();
            let annotation = (Project::ID_ANNOTATION.to_owned(), named.to_owned());
            namespace.metadata.annotations = Some([annotation].into());
            namespace
        };
        let found = |named: &str| project_of(&namespace(named), "c-1");
        assert_eq!(found("c-1:p-1").as_deref(), Some("p-1"));
        assert_eq!(found("c-2:p-1"), None);
        assert_eq!(found("p-1"), None);
        let unnamed = PartialObjectMeta::<Namespace>::default();
        assert_eq!(project_of(&unnamed, "c-1"), None);
    }
}
