//! Made-up roles, given to made-up people: what the cluster says of each case, what really happens, and what the
//! rules mean are the same.

mod model;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, StatusCode};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use self::model::{Asked, CLUSTERS, Grant, Model, PROJECTS, Place, Resource, Rule};
use super::objects::{make_namespace, move_namespace};
use super::world::{Other, World, eventually};
use crate::cases::Case;

/// How many questions are asked, each before and after a change.
const QUESTIONS: usize = 240;

/// Any number does; the same one asks the same questions.
const SEED: u64 = 20_261_122;

/// A role made here is in every cluster within this time.
const ARRIVED: Duration = Duration::from_secs(20);

pub(super) fn cases<'a>() -> Vec<(&'static str, Case<World<'a>>)> {
    vec![(
        "made-up roles mean the same to the rules, to the cluster, and in effect",
        |world| Box::pin(matrix(world)),
    )]
}

async fn matrix(world: &World<'_>) -> Result<String> {
    let mut dice = StdRng::seed_from_u64(SEED);
    let mut model = Model::made_up(&mut dice);
    let questions: Vec<_> = (0..QUESTIONS).map(|_| model.question(&mut dice)).collect();
    let other = world.another_cluster("matrix").await?;
    let mut stage = Stage::set(world, &other, &model).await?;
    let first = stage.compare(&model, &questions).await?;
    stage.change(&mut model).await?;
    let second = stage.compare(&model, &questions).await?;
    ensure!(
        first.allowed.min(second.allowed) > QUESTIONS / 10,
        "only {} and {} of the questions are allowed: they test little",
        first.allowed,
        second.allowed,
    );
    Ok(format!(
        "{QUESTIONS} questions twice: {} and {} allowed, the rest refused",
        first.allowed, second.allowed
    ))
}

/// The clusters and people of a model.
struct Stage<'w, 'a> {
    world: &'w World<'a>,
    sites: [Site; CLUSTERS],
    /// Ids of the projects.
    projects: Vec<String>,
    people: Vec<Player>,
    /// Namespace, plural and name of what was made for each grant.
    bindings: Vec<(String, &'static str, String)>,
}

/// A cluster.
struct Site {
    /// Its id at the server.
    id: String,
    /// The cluster itself, past the server.
    direct: kube::Client,
}

struct Player {
    id: String,
    /// A client for each cluster.
    clients: Vec<kube::Client>,
}

impl<'w, 'a> Stage<'w, 'a> {
    async fn set(world: &'w World<'a>, other: &Other, model: &Model) -> Result<Self> {
        let mut stage = Self {
            world,
            sites: [(&world.id, &world.direct), (&other.id, &other.direct)].map(|(id, direct)| {
                Site {
                    id: id.clone(),
                    direct: direct.clone(),
                }
            }),
            projects: Vec::new(),
            people: Vec::new(),
            bindings: Vec::new(),
        };
        for (index, cluster) in PROJECTS.into_iter().enumerate() {
            let id = &stage.sites[cluster].id;
            let fields =
                json!({"spec": {"clusterName": id, "displayName": format!("matrix {index}")}});
            let project = world.make("projects", id, "Project", fields).await?;
            stage.projects.push(project);
        }
        for namespace in &model.namespaces {
            let project = stage.annotation(namespace.project);
            let direct = &stage.sites[namespace.cluster].direct;
            make_namespace(direct, namespace.name, &project).await?;
        }
        for role in &model.roles {
            let inherits = role.inherits.map(|from| model.roles[from].name.clone());
            let fields = json!({
                "metadata": {"name": role.name},
                "context": if role.of_projects { "project" } else { "cluster" },
                "rules": role.rules.iter().map(written).collect::<Vec<_>>(),
                "roleTemplateNames": inherits.into_iter().collect::<Vec<_>>(),
            });
            world
                .make("roletemplates", "", "RoleTemplate", fields)
                .await?;
        }
        for index in 0..model.people {
            let person = world.person(&format!("matrix-{index}")).await?;
            let mut clients = Vec::new();
            for site in &stage.sites {
                clients.push(world.client(&person.api, &site.id).await?);
            }
            stage.people.push(Player {
                id: person.id,
                clients,
            });
        }
        for person in &model.administrators {
            let fields = json!({"userName": stage.people[*person].id, "globalRoleName": "admin"});
            world
                .make("globalrolebindings", "", "GlobalRoleBinding", fields)
                .await?;
        }
        for (index, grant) in model.grants.iter().enumerate() {
            let made = stage.give(model, index, grant).await?;
            stage.bindings.push(made);
        }
        Ok(stage)
    }

    async fn give(
        &self,
        model: &Model,
        index: usize,
        grant: &Grant,
    ) -> Result<(String, &'static str, String)> {
        let role = &model.roles[grant.role].name;
        let mut fields = json!({"userName": self.people[grant.person].id});
        let (namespace, plural, kind) = match grant.place {
            Place::Cluster(cluster) => {
                fields["roleTemplateName"] = json!(role);
                let namespace = self.sites[cluster].id.clone();
                (
                    namespace,
                    "clusterroletemplatebindings",
                    "ClusterRoleTemplateBinding",
                )
            }
            Place::Project(project) => {
                fields["roleTemplateName"] = json!(role);
                let (cluster, namespace) = (
                    &self.sites[PROJECTS[project]].id,
                    self.projects[project].clone(),
                );
                fields["projectName"] = json!(format!("{cluster}:{namespace}"));
                (
                    namespace,
                    "projectroletemplatebindings",
                    "ProjectRoleTemplateBinding",
                )
            }
            Place::Everywhere => {
                let global = format!("matrix-everywhere-{index}");
                let inherits = json!({
                    "metadata": {"name": global},
                    "displayName": global,
                    "inheritedClusterRoles": [role],
                });
                self.world
                    .make("globalroles", "", "GlobalRole", inherits)
                    .await?;
                fields["globalRoleName"] = json!(global);
                (String::new(), "globalrolebindings", "GlobalRoleBinding")
            }
        };
        let name = self.world.make(plural, &namespace, kind, fields).await?;
        Ok((namespace, plural, name))
    }

    /// Takes away every third of what is given, and moves a namespace to another project and one out of any.
    async fn change(&mut self, model: &mut Model) -> Result<()> {
        for index in (0..model.grants.len()).rev().step_by(3) {
            let (namespace, plural, name) = self.bindings.remove(index);
            model.grants.remove(index);
            self.world.unmake(plural, &namespace, &name).await?;
        }
        for (index, project) in [(0, Some(1)), (2, None)] {
            let namespace = &mut model.namespaces[index];
            namespace.project = project;
            let annotation = self.annotation(project);
            let annotation = Some(annotation.as_str()).filter(|text| !text.is_empty());
            let direct = &self.sites[namespace.cluster].direct;
            move_namespace(direct, namespace.name, annotation).await?;
        }
        Ok(())
    }

    /// How a namespace says that it is in a project.
    fn annotation(&self, project: Option<usize>) -> String {
        project.map_or_else(String::new, |project| {
            let cluster = &self.sites[PROJECTS[project]].id;
            format!("{cluster}:{}", self.projects[project])
        })
    }

    /// Waits until every cluster says what the model says, then tries everything.
    async fn compare(&self, model: &Model, questions: &[Asked]) -> Result<Found> {
        eventually(ARRIVED, async || {
            let differ = self.differences(model, questions, Ask::Cluster).await?;
            ensure!(differ.is_empty(), "the cluster answers otherwise: {differ}");
            Ok(())
        })
        .await?;
        let differ = self.differences(model, questions, Ask::Effect).await?;
        ensure!(differ.is_empty(), "something else happens: {differ}");
        let allowed = questions.iter().filter(|asked| model.allows(asked)).count();
        Ok(Found { allowed })
    }

    async fn differences(
        &self,
        model: &Model,
        questions: &[Asked],
        ask: Ask,
    ) -> Result<Differences> {
        let differ = stream::iter(questions)
            .map(|asked| async move {
                let client = &self.people[asked.person].clients[asked.cluster];
                let namespace = asked.namespace.map(|index| model.namespaces[index].name);
                let found = match ask {
                    Ask::Cluster => may(client, asked, namespace).await,
                    Ask::Effect => happens(client, asked, namespace).await,
                };
                let found = found.with_context(|| format!("{asked:?}"))?;
                let expected = model.allows(asked);
                Ok::<_, anyhow::Error>((found != expected).then_some(Difference {
                    asked: *asked,
                    expected,
                }))
            })
            .buffered(8)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Differences(differ.into_iter().flatten().collect()))
    }
}

struct Found {
    allowed: usize,
}

/// Who is asked.
#[derive(Clone, Copy)]
enum Ask {
    /// The cluster, as `kubectl auth can-i` does.
    Cluster,
    /// Nobody: it is tried.
    Effect,
}

struct Difference {
    asked: Asked,
    expected: bool,
}

struct Differences(Vec<Difference>);

impl Differences {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {QUESTIONS}", self.0.len())?;
        for Difference { asked, expected } in self.0.iter().take(5) {
            let Asked {
                person,
                verb,
                resource,
                cluster,
                namespace,
            } = asked;
            let plural = resource.plural;
            write!(
                out,
                "; person {person} {verb} {plural} in cluster {cluster}, namespace {namespace:?}: \
                 the rules say {expected}"
            )?;
        }
        Ok(())
    }
}

fn written(rule: &Rule) -> Value {
    json!({"verbs": rule.verbs, "apiGroups": [rule.group], "resources": rule.resources})
}

/// What the cluster says. Who has no role in it is not let in to ask.
async fn may(client: &kube::Client, asked: &Asked, namespace: Option<&str>) -> Result<bool> {
    let attributes = ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        verb: Some(asked.verb.to_owned()),
        group: Some(asked.resource.group.to_owned()),
        resource: Some(asked.resource.plural.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) => Ok(answer.status.context("no status")?.allowed),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Tries it, in a way that changes nothing. Kubernetes decides who may before it looks whether it can be done: all
/// but 403 is a yes.
async fn happens(client: &kube::Client, asked: &Asked, namespace: Option<&str>) -> Result<bool> {
    let path = path(&asked.resource, namespace);
    let absent = format!("{path}/matrix-absent?dryRun=All");
    let none = "labelSelector=matrix%3Dnone";
    let (method, path, body) = match asked.verb {
        "get" => (Method::GET, absent, Value::Null),
        "list" => (Method::GET, format!("{path}?limit=1"), Value::Null),
        "watch" => (
            Method::GET,
            format!("{path}?watch=true&timeoutSeconds=1&{none}"),
            Value::Null,
        ),
        "create" => (
            Method::POST,
            format!("{path}?dryRun=All"),
            object(&asked.resource),
        ),
        "update" => (Method::PUT, absent, object(&asked.resource)),
        "patch" => (
            Method::PATCH,
            absent,
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        "delete" => (Method::DELETE, absent, Value::Null),
        "deletecollection" => (
            Method::DELETE,
            format!("{path}?dryRun=All&{none}"),
            Value::Null,
        ),
        other => anyhow::bail!("{other} is not tried"),
    };
    let media = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .body(kube::client::Body::from(body))?;
    let answer = client.send(request).await?;
    let status = answer.status();
    ensure!(
        status.is_success() || status.is_client_error(),
        "answered {status}"
    );
    ensure!(
        ![StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&status),
        "answered {status}"
    );
    Ok(status != StatusCode::FORBIDDEN)
}

fn path(resource: &Resource, namespace: Option<&str>) -> String {
    let base = match resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let plural = resource.plural;
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{plural}"),
        None => format!("{base}/{plural}"),
    }
}

fn object(resource: &Resource) -> Value {
    let api_version = match resource.group {
        "" => resource.version.to_owned(),
        group => format!("{group}/{}", resource.version),
    };
    json!({
        "apiVersion": api_version,
        "kind": resource.kind,
        "metadata": {"name": "matrix-absent"},
    })
}
