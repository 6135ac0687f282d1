//! Nobody makes a policy read parameters that they may not read themselves; and who wrote a policy
//! or a binding is answered when it is in force.

use super::definition::{BindingSpec, ParamKind, ParamRef, PolicySpec, spec};
use super::{BINDINGS, GROUP, POLICIES, Policies, params};
use crate::admission::{Effects, Hooks, Write};
use crate::error::ApiError;
use crate::object::Object;
use crate::registry::{Registry, Resource, Served};
use crate::schema::FieldError;
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes, User};
use futures::future::BoxFuture;
use std::sync::Arc;
use store::{Revision, Txn};

/// The resource of policies or bindings whose writers are checked and wait. Resources of other
/// groups stay as they are.
#[must_use]
pub fn guard(
    resource: Resource,
    policies: &Policies,
    served: &Served,
    authorizer: &Arc<dyn Authorizer>,
) -> Resource {
    let ours = [POLICIES, BINDINGS].contains(&resource.plural.as_str());
    if resource.group != GROUP || !ours {
        return resource;
    }
    let hooks = Guard {
        of_bindings: resource.plural == BINDINGS,
        policies: policies.clone(),
        served: served.clone(),
        authorizer: Arc::clone(authorizer),
        inner: Arc::clone(&resource.hooks),
    };
    Resource {
        hooks: Arc::new(hooks),
        ..resource
    }
}

struct Guard {
    of_bindings: bool,
    policies: Policies,
    served: Served,
    authorizer: Arc<dyn Authorizer>,
    inner: Arc<dyn Hooks>,
}

/// What stands for all groups, resources, namespaces or names.
const ALL: &str = "*";

/// Parameters, as far as it is known which.
struct Params {
    group: String,
    plural: String,
    is_known: bool,
}

impl Params {
    fn of(kind: &ParamKind, registry: &Registry) -> Self {
        let (group, _) = kind.group_and_version();
        let found = params::resource(registry, kind);
        Self {
            group: group.to_owned(),
            plural: found.map_or(ALL, |found| &found.plural).to_owned(),
            is_known: found.is_some(),
        }
    }
}

impl Guard {
    fn check_policy(&self, write: &Write<'_>, new: &Object) -> Result<(), ApiError> {
        let Some(kind) = spec::<PolicySpec>(new)?.param_kind else {
            return Ok(());
        };
        let old = write.old.map(spec::<PolicySpec>).transpose()?;
        if old.is_some_and(|old| old.param_kind.as_ref() == Some(&kind)) {
            return Ok(());
        }
        let params = Params::of(&kind, &self.served.now());
        if self.may(write.user, "get", &params, ALL, ALL) {
            return Ok(());
        }
        let why = format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind \
             (kind={}, apiVersion={})",
            shown(write.user),
            kind.kind,
            kind.api_version
        );
        let error = FieldError::forbidden("spec.paramKind", why);
        Err(write.invalid(new.name(), &[error]))
    }

    fn check_binding(&self, write: &Write<'_>, object: &Object) -> Result<(), ApiError> {
        let new: BindingSpec = spec(object)?;
        let Some(reference) = &new.param_ref else {
            return Ok(());
        };
        let old = write.old.map(spec::<BindingSpec>).transpose()?;
        let same = |old: BindingSpec| {
            (old.param_ref.as_ref(), &old.policy_name) == (Some(reference), &new.policy_name)
        };
        if old.is_some_and(same) {
            return Ok(());
        }
        match self.why_not(write.user, reference, &new.policy_name) {
            None => Ok(()),
            Some(why) => {
                let error = FieldError::forbidden("spec.paramRef", why);
                Err(write.invalid(object.name(), &[error]))
            }
        }
    }

    /// Why somebody may not refer to parameters.
    fn why_not(&self, user: &User, reference: &ParamRef, policy: &str) -> Option<String> {
        let verb = match reference.name.as_str() {
            "" => "list",
            _ => "get",
        };
        let kind = self.policies.param_kind(policy);
        let params = match &kind {
            Some(Some(kind)) => Params::of(kind, &self.served.now()),
            _ => Params {
                group: ALL.into(),
                plural: ALL.into(),
                is_known: true,
            },
        };
        if self.may(user, verb, &params, &reference.namespace, &reference.name) {
            return None;
        }
        let user = shown(user);
        let all = format!(
            "to determine minimum required permissions and user {user} does not have {verb:?} \
             permission for all groups, versions and resources"
        );
        Some(match kind {
            None => format!("unable to get policy {policy} {all}"),
            Some(Some(kind)) if !params.is_known => {
                let (version, kind) = (&kind.api_version, &kind.kind);
                format!(
                    "unable to resolve paramKind &ParamKind{{APIVersion:{version},Kind:{kind},}} {all}"
                )
            }
            Some(_) => format!(
                "user {user} does not have {verb:?} permission on the object referenced by paramRef"
            ),
        })
    }

    fn may(&self, user: &User, verb: &str, params: &Params, namespace: &str, name: &str) -> bool {
        let what = Attributes::Resource(ResourceAttributes {
            verb,
            group: &params.group,
            resource: &params.plural,
            subresource: "",
            namespace,
            name,
        });
        let decision = self.authorizer.authorize(user, &what);
        matches!(decision, Decision::Allow | Decision::AllowAs(_))
    }
}

impl Hooks for Guard {
    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        object: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async move {
            let effects = self.inner.admit(write, object).await?;
            let checked = !write.user.is_master() && write.subresource.is_empty();
            match self.of_bindings {
                _ if !checked => {}
                true => self.check_binding(write, object)?,
                false => self.check_policy(write, object)?,
            }
            Ok(effects)
        })
    }

    fn admit_deletion<'a>(&'a self, write: &'a Write<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        self.inner.admit_deletion(write)
    }

    fn release<'a>(&'a self, object: &'a Object) -> BoxFuture<'a, Result<Txn, ApiError>> {
        self.inner.release(object)
    }

    fn written(&self, at: Revision) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.written(at).await;
            self.policies.wait_for(at).await;
        })
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("of_bindings", &self.of_bindings)
            .finish_non_exhaustive()
    }
}

/// A user as Go shows one.
fn shown(user: &User) -> String {
    let extra = user.extra.iter();
    let extra: Vec<_> = extra
        .map(|(key, values)| format!("{key}:[{}]", values.join(" ")))
        .collect();
    let (name, groups) = (&user.name, user.groups.join(" "));
    format!("&{{{name}  [{groups}] map[{}]}}", extra.join(" "))
}
