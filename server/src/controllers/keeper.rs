//! Roles and bindings, and what projects say of namespaces: what the management API says, as objects of
//! Kubernetes in the cluster. See [`wanted`] for roles, [`namespaces`] and [`limits`] for projects.
//!
//! Both sides are followed, the management API in memory, the cluster by one watch for each kind. Whatever
//! changes on either, the two are compared again, and what differs is made right. Only what has the
//! label [`names::MANAGED`] is ever changed or deleted.

mod kinds;
mod limits;
mod names;
mod namespaces;
mod probe;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use lariat_api::ConditionStatus::{False, True};
use lariat_api::{Cluster, ClusterId, Project, ResourceQuotaLimit, Setting, set_condition};
use serde_json::json;
use tracing::{info, warn};

use super::client::Remote;
use super::follow::Watches;
use super::metrics::Counts;
use super::watch::watch;
use super::{Kept, apply, follow, mirror, object, plan};
use crate::authz::Rights;
use crate::management::answered;
use crate::state::App;
use crate::tunnels::{self, Tunnel};
use apply::{Failure, Hand, Report};
use limits::Limits;
use mirror::{Key, Mirror, TooMany};
use namespaces::Space;
use object::{Kept as _, Seen};
use plan::Plan;
use wanted::Wanted;

/// Longest message of the condition, in characters.
const MAX_MESSAGE: usize = 500;

/// Keeps a cluster until dropped.
pub(super) async fn keep(
    app: &Arc<App>,
    cluster: &ClusterId,
    tunnel: &Arc<Tunnel>,
    kept: &Arc<Kept>,
) {
    let mut keeper = Keeper {
        app,
        cluster,
        kept,
        remote: Remote::new(app, cluster, tunnel),
        roles: Mirror::default(),
        cluster_bindings: Mirror::default(),
        bindings: Mirror::default(),
        namespaces: Mirror::default(),
        limits: None,
        nothing_left: false,
        checked: false,
        taken: BTreeSet::new(),
        confirmed: None,
        logged: String::new(),
    };
    let id = cluster.as_str();
    let changes = app.directory.access(|access| access.changes_in(id));
    let news = watches(&keeper.remote);
    follow::run(&mut keeper, changes, news).await;
}

/// One who keeps the roles of a cluster.
struct Keeper<'a> {
    app: &'a Arc<App>,
    cluster: &'a ClusterId,
    kept: &'a Arc<Kept>,
    remote: Remote,
    roles: Mirror<Seen>,
    cluster_bindings: Mirror<Seen>,
    bindings: Mirror<Seen>,
    namespaces: Mirror<Space>,
    /// Where something is limited.
    limits: Option<Limits>,
    /// Whether it is known that nothing is limited that nobody says any more.
    nothing_left: bool,
    /// Whether the cluster checks in which project somebody makes a namespace.
    checked: bool,
    /// Names of ClusterRoles that belong to somebody else.
    taken: BTreeSet<String>,
    /// By what the agent could ask in the name of groups when that was last found out.
    confirmed: Option<[Option<Seen>; 2]>,
    /// What was last said in the log.
    logged: String,
}

/// What a watch tells.
enum News {
    Role(Event<ClusterRole>),
    ClusterBinding(Event<ClusterRoleBinding>),
    Binding(Event<RoleBinding>),
    Namespace(Event<PartialObjectMeta<Namespace>>),
    Limit(limits::News),
}

impl follow::Keeper for Keeper<'_> {
    type News = News;

    const LOOK: Option<Duration> = None;

    fn cluster(&self) -> &ClusterId {
        self.cluster
    }

    fn counts(&self) -> &Counts {
        &self.kept.counts
    }

    fn is_complete(&self) -> bool {
        self.roles.is_complete()
            && self.cluster_bindings.is_complete()
            && self.bindings.is_complete()
            && self.namespaces.is_complete()
    }

    fn take(&mut self, news: News) -> Result<bool, TooMany> {
        match news {
            News::Role(event) => self.roles.take(event, ClusterRole::seen),
            News::ClusterBinding(event) => {
                let seen = ClusterRoleBinding::seen;
                self.cluster_bindings.take(event, seen)
            }
            News::Binding(event) => self.bindings.take(event, RoleBinding::seen),
            News::Namespace(event) => self.namespaces.take(event, Space::read),
            News::Limit(news) => match &mut self.limits {
                Some(limits) => limits.take(news),
                None => Ok(false),
            },
        }
    }

    async fn pass(&mut self, news: &mut Watches<News>) -> Report {
        let client = &self.remote.client();
        let cluster = self.cluster.as_str();
        let rights = self.app.directory.access(|access| access.rights(cluster));
        let mut settled = Report::default();
        self.settle(client, &rights, &mut settled).await;
        self.note_projects();
        self.checked = self.checks_projects(client, &rights, &mut settled).await;
        let mut plans = self.compare(&rights);
        self.narrow_groups(&plans);
        let mut hand = Hand {
            client,
            counts: &self.kept.counts,
            report: settled,
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
        self.widen_groups(client, plans.groups, &mut report).await;
        self.limit(client, &rights, news, &mut report).await;
        report
    }

    /// Says in the log, in the metrics and on the Cluster how it went.
    async fn tell(&mut self, report: &Report) {
        let (cluster, changes) = (self.cluster, report.changes);
        let now = self.app.clock.now();
        let (status, reason, message) = match report.failures.as_slice() {
            [] => {
                let limits = self.limits.as_ref().map_or(0, Limits::len);
                let bindings = self.cluster_bindings.len() + self.bindings.len();
                let objects = self.roles.len() + bindings + limits;
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

impl Keeper<'_> {
    /// Sees to it that namespaces are in the projects in which they belong.
    async fn settle(&mut self, client: &kube::Client, rights: &Rights, report: &mut Report) {
        let system = self.app.directory.setting(Setting::SYSTEM_NAMESPACES);
        let system: BTreeSet<&str> = system.split(',').map(str::trim).collect();
        let cluster = self.cluster.as_str();
        let moves = namespaces::moves(&self.namespaces, cluster, &rights.projects, &system);
        namespaces::carry_out(moves, client, &mut self.namespaces, report).await;
    }

    /// Lets others know in which project each namespace is.
    fn note_projects(&self) {
        let projects = namespaces::by_project(&self.namespaces, self.cluster.as_str());
        let of = projects.into_iter().flat_map(|(project, namespaces)| {
            let namespaces = namespaces.into_iter();
            namespaces.map(move |namespace| (namespace, project.clone()))
        });
        let of: HashMap<String, String> = of.collect();
        if of != **self.kept.projects.load() {
            self.kept.projects.store(Arc::new(of));
        }
    }

    /// Whether the cluster checks in which project somebody makes a namespace. Only asked where that counts.
    async fn checks_projects(
        &self,
        client: &kube::Client,
        rights: &Rights,
        report: &mut Report,
    ) -> bool {
        if rights.bound.iter().all(|right| right.project.is_none()) {
            return false;
        }
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
        let found = async {
            let policy = policies.get_metadata_opt(names::POLICY).await?;
            let binding = bindings.get_metadata_opt(names::POLICY).await?;
            Ok(policy.is_some() && binding.is_some())
        };
        found.await.unwrap_or_else(|error| {
            let what = "the policy of projects cannot be looked at";
            report.failures.push(Failure::new(what, &error));
            false
        })
    }

    /// Limits namespaces, if anything says so.
    async fn limit(
        &mut self,
        client: &kube::Client,
        rights: &Rights,
        news: &mut Watches<News>,
        report: &mut Report,
    ) {
        if self.limits.is_none() {
            if !limits::are_said(rights) && !self.nothing_left {
                match limits::are_left(client).await {
                    Ok(left) => self.nothing_left = !left,
                    Err(error) => {
                        let what = "limits of namespaces cannot be looked at";
                        return report.failures.push(Failure::new(what, &error));
                    }
                }
            }
            if !limits::are_said(rights) && self.nothing_left {
                return;
            }
            for watch in limits::follow(&self.remote) {
                news.push(watch.map_ok(News::Limit).boxed());
            }
        }
        let limits = self.limits.get_or_insert_default();
        // The last of the lists is news.
        if !limits.is_complete() {
            return;
        }
        let cluster = self.cluster.as_str();
        let mut hand = Hand {
            client,
            counts: &self.kept.counts,
            report: std::mem::take(report),
        };
        let outcome = limits
            .pass(rights, cluster, &self.namespaces, &mut hand)
            .await;
        *report = hand.report;
        let spaces = &mut self.namespaces;
        namespaces::tell(outcome.told, client, spaces, report).await;
        for (project, used) in outcome.used {
            self.write_used(&project, &used, report).await;
        }
    }

    /// Writes on a Project how much of its quota is given.
    async fn write_used(&self, project: &str, used: &ResourceQuotaLimit, report: &mut Report) {
        let projects: Api<Project> = Api::namespaced(self.app.own.clone(), self.cluster.as_str());
        let patch = Patch::Merge(json!({"spec": {"resourceQuota": {"usedLimit": used}}}));
        let params = PatchParams::default();
        let written = projects.patch(project, &params, &patch).await;
        if !answered(&written, StatusCode::NOT_FOUND)
            && let Err(error) = written
        {
            let what = format!("Project {project}");
            report.failures.push(Failure::new(what, &error));
        }
    }

    fn compare(&self, rights: &Rights) -> Plans {
        let namespaces = namespaces::by_project(&self.namespaces, self.cluster.as_str());
        let wanted = Wanted::new(rights, &namespaces, &self.taken, self.checked);
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
            self.set_groups(still);
        }
    }

    /// Lets people come in the name of their groups as soon as the agent can ask in it: a request that
    /// names one too early would be refused altogether.
    async fn widen_groups(
        &mut self,
        client: &kube::Client,
        wanted: BTreeSet<String>,
        report: &mut Report,
    ) {
        let known = self.kept.groups.load_full();
        if !wanted.is_subset(&known) {
            let (usable, failures) = probe::usable(client, wanted).await;
            report.failures.extend(failures);
            self.set_groups(usable);
        }
        self.confirmed = Some(self.by_what());
    }

    /// The role and the binding by which the agent can ask in the name of groups, as they are.
    fn by_what(&self) -> [Option<Seen>; 2] {
        let key = Key::whole(names::GROUPS);
        [self.roles.get(&key), self.cluster_bindings.get(&key)].map(Option::<&Seen>::cloned)
    }

    fn set_groups(&self, groups: BTreeSet<String>) {
        self.kept.groups.store(Arc::new(groups));
        // The cluster may know people by them.
        let cluster = self.cluster.as_str();
        (self.app.directory).access(|access| access.changed_in(cluster));
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

fn watches(remote: &Remote) -> Watches<News> {
    let ours = || ListParams::default().labels(names::MANAGED);
    futures::stream::select_all([
        watch(remote.sender(), None, ours(), News::Role),
        watch(remote.sender(), None, ours(), News::ClusterBinding),
        watch(remote.sender(), None, ours(), News::Binding),
        watch(
            remote.sender(),
            None,
            ListParams::default(),
            News::Namespace,
        ),
    ])
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
