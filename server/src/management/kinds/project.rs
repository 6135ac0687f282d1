//! Projects: made with a namespace for what belongs to them and a binding of their creator, which go with
//! them.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use lariat_api::{
    Amount, Cluster, Kind as _, Project, ProjectId, ProjectSpec, ProjectStatus, Quantity,
};
use store::Txn;

use super::{Context, Managed, binding, cluster_of, forbidden, made, namespace};
use crate::random;
use crate::stored::join;

/// How often an id is made up before its namespace is not there yet. Ids are 25 random bits.
const ATTEMPTS: usize = 8;

impl Managed for Project {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(ProjectId::from_random(random::bits()).to_string())
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if !write.user.is_master() {
            keep_labels(self, old);
        }
        if old.is_some() {
            check_used(self, write)?;
            return Ok(Effects::default());
        }
        let cluster = cluster_of(context, self.namespace())?;
        // A rule of a schema does not see the namespace.
        let named = self.spec.cluster_name.as_str();
        if !named.is_empty() && named != cluster.name() {
            let rule = "must be the namespace of the object";
            let error = FieldError::invalid("spec.clusterName", named, rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        self.spec.cluster_name = cluster.name().to_owned();
        self.status = Some(status_of(self.name()));
        // Objects without a namespace are not owned by those that have one, so that the namespace goes
        // with the cluster by itself, and with the project by `release`.
        let owner = namespace::owned_by(&*cluster);
        let created = self.metadata.creation_timestamp.as_ref();
        let mut txn = namespace::take(self, &owner, created, context, write).await?;
        join(
            &mut txn,
            binding::of_project_creator(self, context, write).await?,
        );
        Ok(Effects {
            txn,
            ..Effects::default()
        })
    }

    async fn admit_deletion(&self, _context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        if has_label(self, Self::SYSTEM_LABEL) && !write.user.is_master() {
            let why = "the system project goes with its cluster, and not before";
            return Err(forbidden::<Self>(self.name(), why));
        }
        Ok(())
    }

    async fn release(&self, context: &Context) -> Result<Txn, ApiError> {
        let now = Time(context.clock.now());
        namespace::end(&*context.store, self.name(), &now).await
    }
}

/// A quota is not made smaller than what namespaces have been given of it.
fn check_used(project: &Project, write: &Write<'_>) -> Result<(), ApiError> {
    let Some(quota) = &project.spec.resource_quota else {
        return Ok(());
    };
    let Some(used) = &quota.used_limit else {
        return Ok(());
    };
    // Schemas refuse what is no quantity.
    let amount = |most: &Quantity| most.0.parse::<Amount>().unwrap_or_default();
    let limit = quota.limit.named();
    for (name, used) in used.named() {
        // What is not limited any more is not split any more.
        let Some(limit) = limit.get(name).filter(|limit| amount(limit) < amount(used)) else {
            continue;
        };
        let rule = format!(
            "must not be less than {} of {name}, which the namespaces of the project have been given; make their quotas smaller first",
            used.0
        );
        let error = FieldError::invalid("spec.resourceQuota.limit", limit.0.as_str(), rule);
        return Err(write.invalid(project.name(), &[error]));
    }
    Ok(())
}

/// The projects that every cluster has, with their namespaces.
pub(super) async fn of_new_cluster(cluster: &Cluster, context: &Context) -> Result<Txn, ApiError> {
    let mut txn = Txn::default();
    let every = [
        (
            "Default",
            Project::DEFAULT_LABEL,
            "For namespaces that are in no other project",
        ),
        (
            "System",
            Project::SYSTEM_LABEL,
            "For what the cluster itself needs",
        ),
    ];
    let mut taken = String::new();
    for (display_name, label, description) in every {
        let name = free_id(context, &taken).await?;
        let project = Project {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(cluster.name().to_owned()),
                labels: Some([(label.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: ProjectSpec {
                display_name: display_name.to_owned(),
                description: description.to_owned(),
                cluster_name: cluster.name().to_owned(),
                ..ProjectSpec::default()
            },
            status: Some(status_of(&name)),
            ..Project::default()
        };
        let created = cluster.metadata.creation_timestamp.as_ref();
        let namespace = namespace::make(&name, &namespace::owned_by(cluster), created)?;
        join(&mut txn, namespace);
        join(&mut txn, made(project, cluster)?);
        taken = name;
    }
    Ok(txn)
}

/// An id that no namespace has, and that is not `taken`.
async fn free_id(context: &Context, taken: &str) -> Result<String, ApiError> {
    for _ in 0..ATTEMPTS {
        let id = ProjectId::from_random(random::bits()).to_string();
        if id != taken && !namespace::exists(&*context.store, &id).await? {
            return Ok(id);
        }
    }
    Err(ApiError::internal("no id for a project is free"))
}

fn status_of(name: &str) -> ProjectStatus {
    ProjectStatus {
        backing_namespace: name.to_owned(),
        ..ProjectStatus::default()
    }
}

fn has_label(project: &Project, label: &str) -> bool {
    let labels = project.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(label))
}

/// Which projects a cluster has for everything says the server alone.
fn keep_labels(project: &mut Project, old: Option<&Project>) {
    let mut labels = project.metadata.labels.take().unwrap_or_default();
    for label in [Project::DEFAULT_LABEL, Project::SYSTEM_LABEL] {
        match old.and_then(|old| old.metadata.labels.as_ref()?.get(label)) {
            Some(value) => drop(labels.insert(label.to_owned(), value.clone())),
            None => drop(labels.remove(label)),
        }
    }
    project.metadata.labels = Some(labels).filter(|labels| !labels.is_empty());
}
