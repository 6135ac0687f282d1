//! Role templates: what they inherit is there, is fit for the same place, and is not themselves.

use std::collections::{BTreeMap, BTreeSet};

use apiserver::admission::{Effects, Write};
use apiserver::error::ApiError;
use apiserver::rbac::usual_rules;
use apiserver::schema::FieldError;
use lariat_api::{GlobalRole, Kind as _, RoleContext, RoleTemplate};
use store::{Compare, Revision, Txn};

use super::{Context, Managed, forbidden};
use crate::stored::{all, find, prefix};

/// Most templates that one has in all, by those that it inherits.
const MAX_INHERITED: usize = 100;

impl Managed for RoleTemplate {
    async fn admit(
        &mut self,
        context: &Context,
        write: &Write<'_>,
        old: Option<&Self>,
    ) -> Result<Effects, ApiError> {
        if let Some(old) = old.filter(|old| old.builtin && !write.user.is_master()) {
            let allowed = Self {
                metadata: self.metadata.clone(),
                locked: self.locked,
                cluster_creator_default: self.cluster_creator_default,
                project_creator_default: self.project_creator_default,
                session_recording: self.session_recording,
                ..old.clone()
            };
            if *self != allowed {
                let why = "it comes with the server: only locked, clusterCreatorDefault, projectCreatorDefault and sessionRecording can be changed";
                return Err(forbidden::<Self>(self.name(), why));
            }
        }
        if self.external && self.external_rules.is_empty() && usual_rules(self.name()).is_none() {
            let rule = "must say what the ClusterRole allows: it is none that every cluster has";
            let error = FieldError::required("externalRules", rule);
            return Err(write.invalid(self.name(), &[error]));
        }
        let same = old.is_some_and(|old| old.role_template_names == self.role_template_names);
        let inherited = match same {
            true => Inherited::default(),
            false => inherited(self, context).await?.map_err(|rule| {
                let names = self.role_template_names.clone();
                let error = FieldError::invalid("roleTemplateNames", names, rule);
                write.invalid(self.name(), &[error])
            })?,
        };
        let guard = &context.guard;
        guard.role_template(write, self, &inherited.templates, old)?;
        Ok(Effects {
            txn: inherited.unchanged,
            ..Effects::default()
        })
    }

    async fn admit_deletion(&self, context: &Context, write: &Write<'_>) -> Result<(), ApiError> {
        if write.user.is_master() {
            return Ok(());
        }
        if self.builtin {
            let why = "it comes with the server; it can be locked";
            return Err(forbidden::<Self>(self.name(), why));
        }
        let name = self.metadata.name.as_ref();
        let names = |names: &[String]| names.iter().any(|one| Some(one) == name);
        let templates = all::<Self>(&*context.store).await?;
        let mut heirs = templates
            .iter()
            .filter(|one| names(&one.role_template_names));
        if let Some(heir) = heirs.next() {
            let why = format!("role template {:?} inherits it", heir.name());
            return Err(forbidden::<Self>(self.name(), &why));
        }
        let roles = all::<GlobalRole>(&*context.store).await?;
        let mut heirs = roles
            .iter()
            .filter(|one| names(&one.inherited_cluster_roles));
        if let Some(heir) = heirs.next() {
            let why = format!("global role {:?} inherits it", heir.name());
            return Err(forbidden::<Self>(self.name(), &why));
        }
        Ok(())
    }
}

/// Whether somebody can be given a template in a cluster or in a project. Says why not.
pub(super) async fn assignable(
    context: &Context,
    name: &str,
    place: RoleContext,
) -> Result<Result<(), &'static str>, ApiError> {
    let Some((template, _)) = find::<RoleTemplate>(&*context.store, "", name).await? else {
        return Ok(Err("there is no such role template"));
    };
    Ok(match (template.context == place, place) {
        _ if template.locked => Err("is locked: nobody can be given it any more"),
        (true, _) => Ok(()),
        (false, RoleContext::Cluster) => Err("must be a role template of the context 'cluster'"),
        (false, _) => Err("must be a role template of the context 'project'"),
    })
}

/// What a template inherits.
#[derive(Default)]
struct Inherited {
    templates: Vec<RoleTemplate>,
    /// The condition that all of them stay as they are until the template is written.
    unchanged: Txn,
}

/// Follows what a template inherits. Says what is wrong with it if something is.
async fn inherited(
    template: &RoleTemplate,
    context: &Context,
) -> Result<Result<Inherited, String>, ApiError> {
    let mut seen: BTreeMap<String, (RoleTemplate, Revision)> = BTreeMap::new();
    let mut level: BTreeSet<String> = template.role_template_names.iter().cloned().collect();
    for _ in 1..RoleTemplate::MAX_DEPTH {
        let mut next = BTreeSet::new();
        for name in level {
            if name == template.name() {
                return Ok(Err("must not lead back to the template itself".to_owned()));
            }
            if !seen.contains_key(&name) {
                let Some(found) = find(&*context.store, "", &name).await? else {
                    return Ok(Err(format!("there is no role template {name:?}")));
                };
                seen.insert(name.clone(), found);
            }
            let (found, _) = &seen[&name];
            if found.context == RoleContext::Cluster && template.context != RoleContext::Cluster {
                let rule = format!("{name:?} is for clusters: only templates for clusters have it");
                return Ok(Err(rule));
            }
            next.extend(found.role_template_names.iter().cloned());
        }
        if seen.len() > MAX_INHERITED {
            return Ok(Err(format!("must be at most {MAX_INHERITED} in all")));
        }
        level = next;
    }
    if !level.is_empty() {
        let most = RoleTemplate::MAX_DEPTH;
        return Ok(Err(format!("must end after {most} templates")));
    }
    let mut inherited = Inherited::default();
    for (name, (template, modified)) in seen {
        inherited.unchanged.compares.push(Compare {
            key: (prefix::<RoleTemplate>() + &name).into(),
            modified,
        });
        inherited.templates.push(template);
    }
    Ok(Ok(inherited))
}
