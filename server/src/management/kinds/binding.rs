//! Bindings of all three kinds: what they name must be there, and they go with the user whom they name.

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::schema::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use lariat_api::{
    Cluster, ClusterRoleTemplateBinding, GlobalRole, GlobalRoleBinding, Kind, Project,
    ProjectRoleTemplateBinding, RoleContext, RoleTemplate, Subject, User, Who,
};
use store::Txn;

use super::{Context, Managed, cluster_of, made, namespace, role_template};
use crate::authz::is_administrator;
use crate::random;
use crate::stored::{all, find, join};

/// Most templates that a creator gets.
const MAX_CREATOR_ROLES: usize = 50;

impl Managed for GlobalRoleBinding {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(name_for("grb"))
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        let subject = self.subject.clone();
        settle(self, &subject, context, write, old)?;
        if old.is_some() {
            return Ok(Effects::default());
        }
        let name = self.global_role_name.as_str();
        let Some((role, _)) = find::<GlobalRole>(&*context.store, "", name).await? else {
            let rule = "there is no such global role";
            return Err(invalid(self, write, "globalRoleName", name, rule));
        };
        context.guard.global_binding(write, self, &role)?;
        Ok(Effects::default())
    }

    async fn admit_deletion(&self, context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        context.guard.global_unbinding(write, self)
    }
}

impl Managed for ClusterRoleTemplateBinding {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(name_for("crtb"))
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        let subject = self.subject.clone();
        settle(self, &subject, context, write, old)?;
        if old.is_some() {
            return Ok(Effects::default());
        }
        let cluster = cluster_of(context, self.namespace())?;
        // A rule of a schema does not see the namespace.
        if !self.cluster_name.is_empty() && self.cluster_name != cluster.name() {
            let rule = "must be the namespace of the object";
            let named = self.cluster_name.as_str();
            return Err(invalid(self, write, "clusterName", named, rule));
        }
        self.cluster_name = cluster.name().to_owned();
        let role = self.role_template_name.as_str();
        let found = role_template::assignable(context, role, RoleContext::Cluster).await?;
        found.map_err(|rule| invalid(self, write, "roleTemplateName", role, rule))?;
        context.guard.cluster_binding(write, self)?;
        Ok(Effects::default())
    }
}

impl Managed for ProjectRoleTemplateBinding {
    const HAS_STATUS: bool = true;

    fn made_up_name() -> Option<String> {
        Some(name_for("prtb"))
    }

    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        let subject = self.subject.clone();
        settle(self, &subject, context, write, old)?;
        if old.is_some() {
            return Ok(Effects::default());
        }
        let named = self.project_name.as_str();
        let refused = |rule| invalid(self, write, "projectName", named, rule);
        let (cluster, project) = (self.project()).ok_or_else(|| refused("is no project"))?;
        if project.as_str() != self.namespace() {
            return Err(refused("must be the project of the namespace"));
        }
        let found = find::<Project>(&*context.store, cluster.as_str(), project.as_str()).await?;
        if found.is_none() {
            return Err(refused("there is no such project"));
        }
        let role = self.role_template_name.as_str();
        let found = role_template::assignable(context, role, RoleContext::Project).await?;
        found.map_err(|rule| invalid(self, write, "roleTemplateName", role, rule))?;
        context.guard.project_binding(write, self)?;
        Ok(Effects::default())
    }
}

/// What the creator of a cluster may do with it. Administrators need no binding.
pub(super) async fn of_cluster_creator(
    cluster: &Cluster,
    context: &Context,
    write: &Write<'_>,
) -> Result<Txn, ApiError> {
    let mut txn = Txn::default();
    let Some((subject, owner)) = creator(context, write) else {
        return Ok(txn);
    };
    let roles = creator_roles(context, "cluster-owner", |role| {
        role.cluster_creator_default
    });
    for role in roles.await? {
        let binding = ClusterRoleTemplateBinding {
            metadata: ObjectMeta {
                owner_references: Some(vec![owner.clone()]),
                ..meta_of_creator(cluster.name(), &role)
            },
            subject: subject.clone(),
            cluster_name: cluster.name().to_owned(),
            role_template_name: role,
            ..ClusterRoleTemplateBinding::default()
        };
        join(&mut txn, made(binding, cluster)?);
    }
    Ok(txn)
}

/// What the creator of a project may do with it. Administrators need no binding.
pub(super) async fn of_project_creator(
    project: &Project,
    context: &Context,
    write: &Write<'_>,
) -> Result<Txn, ApiError> {
    let mut txn = Txn::default();
    let Some((subject, owner)) = creator(context, write) else {
        return Ok(txn);
    };
    let roles = creator_roles(context, "project-owner", |role| {
        role.project_creator_default
    });
    for role in roles.await? {
        let binding = ProjectRoleTemplateBinding {
            metadata: ObjectMeta {
                owner_references: Some(vec![owner.clone()]),
                ..meta_of_creator(project.name(), &role)
            },
            subject: subject.clone(),
            project_name: format!("{}:{}", project.namespace(), project.name()),
            role_template_name: role,
            ..ProjectRoleTemplateBinding::default()
        };
        join(&mut txn, made(binding, project)?);
    }
    Ok(txn)
}

/// What a new user may do.
pub(super) fn of_new_user(user: &User, role: String) -> Result<Txn, ApiError> {
    let binding = GlobalRoleBinding {
        metadata: ObjectMeta {
            name: Some(name_for("grb")),
            owner_references: Some(vec![namespace::owned_by(user)]),
            ..ObjectMeta::default()
        },
        subject: Subject::user(user.name()),
        global_role_name: role,
        ..GlobalRoleBinding::default()
    };
    made(binding, user)
}

/// Who makes something and gets a binding for it, with the reference to that user.
fn creator(context: &Context, write: &Write<'_>) -> Option<(Subject, OwnerReference)> {
    if is_administrator(write.user) {
        return None;
    }
    let user = context.directory.user(&write.user.name)?;
    Some((Subject::user(user.name()), namespace::owned_by(&*user)))
}

/// The roles of creators: the templates that say so, or the one that is made for it.
async fn creator_roles(
    context: &Context,
    usual: &str,
    is_default: fn(&RoleTemplate) -> bool,
) -> Result<Vec<String>, ApiError> {
    let templates = all::<RoleTemplate>(&*context.store).await?;
    let chosen = templates.iter().filter(|role| is_default(role));
    let mut names: Vec<String> = chosen.map(|role| role.name().to_owned()).collect();
    names.truncate(MAX_CREATOR_ROLES);
    if names.is_empty() {
        names.push(usual.to_owned());
    }
    Ok(names)
}

fn meta_of_creator(namespace: &str, role: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(format!("creator-{role}")),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

/// Lets a binding to a user be owned by that user, who must be there. Nobody else says what owns a binding.
fn settle<K: Kind>(
    binding: &mut K,
    subject: &Subject,
    context: &Context,
    write: &Write<'_>,
    old: Option<&K>,
) -> Result<(), ApiError> {
    if let Some(old) = old {
        // The garbage collector takes references away.
        if !write.user.is_master() {
            binding
                .meta_mut()
                .owner_references
                .clone_from(&old.meta().owner_references);
        }
        return Ok(());
    }
    let owner = match subject.who() {
        Some(Who::User(id)) => {
            let user = context.directory.user(id).ok_or_else(|| {
                let field = if subject.user_name.is_empty() {
                    "userPrincipalName"
                } else {
                    "userName"
                };
                invalid(binding, write, field, id, "there is no such user")
            })?;
            Some(vec![namespace::owned_by(&*user)])
        }
        _ => None,
    };
    binding.meta_mut().owner_references = owner;
    Ok(())
}

fn invalid<K: Kind>(
    binding: &K,
    write: &Write<'_>,
    field: &str,
    value: &str,
    rule: &str,
) -> ApiError {
    let error = FieldError::invalid(field, value, rule);
    write.invalid(binding.name(), &[error])
}

fn name_for(kind: &str) -> String {
    format!("{kind}-{:012x}", random::bits() & 0xffff_ffff_ffff)
}
