//! Many clusters that one server manages, the people in them, and what each cluster must have for that.

use crate::{
    cluster::Cluster,
    simulator::{self, Agent},
};
use anyhow::Context as _;
use e2e::lariat::Api;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::task::TaskTracker;
use tunnel::dial::Dialer;

/// Requests to the management API at the same time.
const AT_ONCE: usize = 32;

/// The role that is changed.
const WATCHER: &str = "fleet-watcher";

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Clusters.
    pub clusters: usize,
    /// People.
    pub people: usize,
    /// Bindings of them, in clusters and in projects.
    pub bindings: usize,
}

/// The clusters of one server.
pub struct Fleet<'a> {
    /// The server, as its administrator.
    pub api: &'a Api,
    /// How agents reach it.
    pub dialer: &'a Dialer,
    /// What the agents do.
    pub tasks: TaskTracker,
    /// A cluster each.
    pub members: Vec<Member>,
    people: Vec<String>,
}

/// One cluster.
pub struct Member {
    /// Its agent.
    pub agent: Agent,
    /// What it has.
    pub cluster: Arc<Cluster>,
    /// Name of its Default project.
    project: String,
    given: Vec<Given>,
    taken_away: Vec<Given>,
}

/// A binding in the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    role: &'static str,
    person: String,
    /// In the project, and not in the whole cluster.
    in_project: bool,
    name: String,
}

impl<'a> Fleet<'a> {
    /// Makes people and clusters, and connects these.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(api: &'a Api, dialer: &'a Dialer, size: Size) -> anyhow::Result<Self> {
        let people = (0..size.people).map(|number| async move {
            make(
                api,
                "users",
                "",
                "User",
                json!({"username": format!("person-{number}")}),
            )
            .await
        });
        let people = futures::stream::iter(people).buffer_unordered(AT_ONCE);
        let people: Vec<String> = people.try_collect().await?;
        let tasks = TaskTracker::new();
        let agents = (0..size.clusters).map(|number| {
            let tasks = &tasks;
            async move {
                let id = api.create_cluster(&format!("simulated-{number}")).await?;
                let token = api.import(&id).await?.token;
                let cluster = Cluster::with_namespaces(&["default", "kube-system"]);
                let agent =
                    simulator::connect(dialer, &token, Some(Arc::clone(&cluster)), tasks).await?;
                anyhow::Ok((agent, cluster))
            }
        });
        let agents = futures::stream::iter(agents).buffer_unordered(AT_ONCE);
        let agents: Vec<(Agent, Arc<Cluster>)> = agents.try_collect().await?;
        let mut projects = default_projects(api, agents.len()).await?;
        let members = agents.into_iter().map(|(agent, cluster)| {
            let project = projects.remove(&agent.id);
            let project = project.with_context(|| format!("no project in cluster {}", agent.id))?;
            Ok(Member {
                agent,
                cluster,
                project,
                given: Vec::new(),
                taken_away: Vec::new(),
            })
        });
        let members = members.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            api,
            dialer,
            tasks,
            members,
            people,
        })
    }

    /// Gives people roles, the same number in each cluster.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn give_roles(&mut self, size: Size) -> anyhow::Result<()> {
        let api = self.api;
        make(api, "roletemplates", "", "RoleTemplate", watcher(0)).await?;
        let roles = [
            (WATCHER, false),
            ("cluster-member", false),
            ("project-member", true),
            ("read-only", true),
        ];
        let each = size.bindings / size.clusters;
        let people = &self.people;
        let given = self
            .members
            .iter_mut()
            .enumerate()
            .flat_map(|(place, member)| {
                let Member {
                    agent,
                    project,
                    given,
                    ..
                } = member;
                let (cluster, project) = (agent.id.as_str(), project.as_str());
                *given = (0..each)
                    .map(|number| {
                        let (role, in_project) = roles[number % roles.len()];
                        let person = people[(place * each + number) % people.len()].clone();
                        Given {
                            role,
                            person,
                            in_project,
                            name: String::new(),
                        }
                    })
                    .collect();
                given.iter_mut().map(move |given| async move {
                    given.name = give(api, cluster, project, given).await?;
                    anyhow::Ok(())
                })
            });
        let given: Vec<_> = given.collect();
        futures::stream::iter(given)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Waits until every cluster has what it must have. Returns how long each took.
    ///
    /// # Errors
    /// When one does not within `limit`.
    pub async fn all_right(&self, limit: Duration) -> anyhow::Result<Vec<Duration>> {
        let all: Vec<usize> = (0..self.members.len()).collect();
        self.until(&all, limit, Member::is_right).await
    }

    /// Changes a role that is given in every cluster. Returns how long each took until it had the change.
    ///
    /// # Errors
    /// When the server refuses, or a cluster does not get it within `limit`.
    pub async fn change_role(
        &self,
        number: usize,
        limit: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let path = format!("/apis/management.cattle.io/v3/roletemplates/{WATCHER}");
        let mut template = self.api.call(Method::GET, &path, None).await?;
        let wanted = watcher(number)["rules"].clone();
        template["rules"].clone_from(&wanted);
        self.api.call(Method::PUT, &path, Some(&template)).await?;
        let all: Vec<usize> = (0..self.members.len()).collect();
        let has = move |member: &Member| {
            member.cluster.look("clusterroles", |roles| {
                roles
                    .iter()
                    .any(|role| role["metadata"]["name"] == WATCHER && role["rules"] == wanted)
            })
        };
        self.until(&all, limit, has).await
    }

    /// Disconnects some clusters for a while, in which bindings come and go, and people meddle with the clusters
    /// themselves. Returns how long each took, from the call of its agent, until it was right again.
    ///
    /// # Errors
    /// When the server refuses, or one is not right within `limit`.
    pub async fn send_away(
        &mut self,
        count: usize,
        away: Duration,
        limit: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let api = self.api;
        for member in &mut self.members[..count] {
            member
                .agent
                .session
                .close(tunnel_proto::frame::CloseCode::Normal, "away");
        }
        for (place, member) in self.members[..count].iter_mut().enumerate() {
            let person = self.people[place % self.people.len()].clone();
            member.change(api, person).await?;
        }
        tokio::time::sleep(away).await;
        let mut took = Vec::new();
        let (dialer, tasks) = (self.dialer, &self.tasks);
        let back = self.members[..count].iter_mut().map(|member| async move {
            let begun = Instant::now();
            member.agent.connect_again(dialer, tasks).await?;
            let right = member.cluster.until(|_| member.is_right());
            tokio::time::timeout(limit, right)
                .await
                .with_context(|| format!("cluster {} is not right", member.agent.id))?;
            anyhow::Ok(begun.elapsed())
        });
        let mut back = futures::stream::iter(back).buffer_unordered(count);
        while let Some(one) = back.try_next().await? {
            took.push(one);
        }
        Ok(took)
    }

    async fn until(
        &self,
        members: &[usize],
        limit: Duration,
        holds: impl Fn(&Member) -> bool,
    ) -> anyhow::Result<Vec<Duration>> {
        let begun = Instant::now();
        let holds = &holds;
        let waiting = members.iter().map(|place| async move {
            let member = &self.members[*place];
            let held = tokio::time::timeout(limit, member.cluster.until(|_| holds(member))).await;
            held.with_context(|| {
                format!("cluster {} is not right after {limit:?}", member.agent.id)
            })?;
            anyhow::Ok(begun.elapsed())
        });
        futures::future::try_join_all(waiting).await
    }
}

impl Member {
    /// Whether the cluster has a binding for each that was given, and none of those that were taken away.
    fn is_right(&self) -> bool {
        let has = |given: &Given| self.has(given);
        self.given.iter().all(has) && !self.taken_away.iter().any(has)
    }

    fn has(&self, given: &Given) -> bool {
        let (plural, namespace) = match given.in_project {
            true => ("rolebindings", json!("default")),
            false => ("clusterrolebindings", Value::Null),
        };
        self.cluster.look(plural, |bindings| {
            bindings.iter().any(|binding| {
                binding["metadata"]["namespace"] == namespace
                    && binding["roleRef"]["name"] == given.role
                    && binding["subjects"][0]["name"] == given.person
            })
        })
    }

    /// Takes a role away, gives another, and takes bindings out of the cluster by hand.
    async fn change(&mut self, api: &Api, person: String) -> anyhow::Result<()> {
        let of = |given: &Given| given.role == "cluster-member";
        let place = self
            .given
            .iter()
            .position(of)
            .context("nobody is a member")?;
        let gone = self.given.remove(place);
        let path = "/apis/management.cattle.io/v3/namespaces";
        let path = format!(
            "{path}/{}/clusterroletemplatebindings/{}",
            self.agent.id, gone.name
        );
        api.call(Method::DELETE, &path, None).await?;
        self.taken_away.push(gone);
        let mut new = Given {
            role: WATCHER,
            person,
            in_project: false,
            name: String::new(),
        };
        new.name = give(api, &self.agent.id, &self.project, &new).await?;
        self.given.push(new);
        let bindings: Vec<(String, String)> = self.cluster.look("rolebindings", |bindings| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let names = bindings.iter().map(|it| {
                (
                    text(&it["metadata"]["namespace"]),
                    text(&it["metadata"]["name"]),
                )
            });
            names.collect()
        });
        for (namespace, name) in bindings {
            self.cluster.delete("rolebindings", &namespace, &name);
        }
        Ok(())
    }
}

async fn give(api: &Api, cluster: &str, project: &str, given: &Given) -> anyhow::Result<String> {
    let mut fields = json!({"userName": given.person, "roleTemplateName": given.role});
    let (plural, namespace, kind) = match given.in_project {
        true => {
            fields["projectName"] = json!(format!("{cluster}:{project}"));
            (
                "projectroletemplatebindings",
                project,
                "ProjectRoleTemplateBinding",
            )
        }
        false => (
            "clusterroletemplatebindings",
            cluster,
            "ClusterRoleTemplateBinding",
        ),
    };
    make(api, plural, namespace, kind, fields).await
}

/// A role whose rules tell how often it was changed.
fn watcher(changed: usize) -> Value {
    json!({
        "metadata": {"name": WATCHER},
        "context": "cluster",
        "rules": [{"apiGroups": [""], "resources": [format!("things{changed}")], "verbs": ["get"]}],
    })
}

async fn make(
    api: &Api,
    plural: &str,
    namespace: &str,
    kind: &str,
    mut fields: Value,
) -> anyhow::Result<String> {
    fields["apiVersion"] = json!("management.cattle.io/v3");
    fields["kind"] = json!(kind);
    if fields["metadata"].is_null() {
        fields["metadata"] = json!({});
    }
    let namespace = match namespace {
        "" => String::new(),
        namespace => format!("namespaces/{namespace}/"),
    };
    let path = format!("/apis/management.cattle.io/v3/{namespace}{plural}");
    let made = api.call(Method::POST, &path, Some(&fields)).await?;
    let name = made["metadata"]["name"].as_str();
    Ok(name.context("the object has no name")?.to_owned())
}

/// The Default project of each cluster, when all have one.
async fn default_projects(api: &Api, clusters: usize) -> anyhow::Result<BTreeMap<String, String>> {
    let path = "/apis/management.cattle.io/v3/projects?labelSelector=authz.management.cattle.io/default-project=true";
    let begun = Instant::now();
    loop {
        let list = api.call(Method::GET, path, None).await?;
        let found = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|project| {
                let text = |field: &str| Some(project["metadata"][field].as_str()?.to_owned());
                Some((text("namespace")?, text("name")?))
            });
        let found: BTreeMap<String, String> = found.collect();
        if found.len() >= clusters {
            return Ok(found);
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{} of {clusters} clusters have a project",
            found.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
