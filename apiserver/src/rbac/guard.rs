//! Nobody hands on more than they have, unless they may `escalate` or `bind`.

use super::object::{Binding, Role, RoleRef};
use super::{GROUP, Rbac, Rule, cover};
use crate::admission::{Effects, Hooks, Write};
use crate::error::{About, ApiError};
use crate::object::Object;
use crate::registry::Resource;
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use store::{Revision, Txn};

/// What the collection of garbage changes, and what every write does. All of it may change without
/// what a role gives being looked at again.
const NOT_LOOKED_AT: [&str; 5] = [
    "ownerReferences",
    "finalizers",
    "selfLink",
    "managedFields",
    "resourceVersion",
];

/// The resource of roles or bindings whose writers are checked. `authorizer` decides who may do more.
/// Resources of other groups stay as they are.
#[must_use]
pub fn guard(resource: Resource, rbac: &Rbac, authorizer: &Arc<dyn Authorizer>) -> Resource {
    if resource.group != GROUP {
        return resource;
    }
    let hooks = Guard {
        plural: resource.plural.clone(),
        rbac: rbac.clone(),
        authorizer: Arc::clone(authorizer),
        inner: Arc::clone(&resource.hooks),
    };
    Resource {
        hooks: Arc::new(hooks),
        ..resource
    }
}

#[derive(Debug)]
struct Guard {
    plural: String,
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
    inner: Arc<dyn Hooks>,
}

impl Guard {
    fn check(&self, write: &Write<'_>, object: &Object) -> Result<(), ApiError> {
        if write.user.is_master() || write.old.is_some_and(|old| same_grant(old, object)) {
            return Ok(());
        }
        match self.plural.as_str() {
            "roles" | "clusterroles" => self.check_role(write, object),
            _ => self.check_binding(write, object),
        }
    }

    fn check_role(&self, write: &Write<'_>, object: &Object) -> Result<(), ApiError> {
        let (namespace, name) = (object.namespace(), object.name());
        // Who creates an object names none yet.
        let asked = write.old.map_or("", Object::name);
        if self.may(write, "escalate", &self.plural, namespace, asked) {
            return Ok(());
        }
        let role: Role = parsed(object)?;
        self.check_rules(write, object, &role.rules)?;
        let old = write.old.map(parsed::<Role>).transpose()?;
        let aggregates = role.is_aggregated() || old.is_some_and(|old| old.is_aggregated());
        if aggregates
            && self
                .check_rules(write, object, &Rule::everything())
                .is_err()
        {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(self.forbidden(name, why));
        }
        Ok(())
    }

    fn check_binding(&self, write: &Write<'_>, object: &Object) -> Result<(), ApiError> {
        let role = parsed::<Binding>(object)?.role_ref;
        let namespace = object.namespace();
        let plural = match role.kind.as_str() {
            "Role" => "roles",
            "ClusterRole" => "clusterroles",
            // Nothing else can be bound, as the validation says.
            _ => return Ok(()),
        };
        if self.may(write, "bind", plural, namespace, &role.name) {
            return Ok(());
        }
        let index = self.rbac.read();
        let rules = index.rules_of(&role, namespace).map(<[Rule]>::to_vec);
        drop(index);
        let rules = rules.map_err(|_| not_found(&role))?;
        self.check_rules(write, object, &rules)
    }

    /// Whether the writer holds all of that.
    fn check_rules(
        &self,
        write: &Write<'_>,
        object: &Object,
        wanted: &[Rule],
    ) -> Result<(), ApiError> {
        let held = self.authorizer.rules(write.user, object.namespace());
        let Some(missing) = cover::missing(&held.rules, wanted) else {
            return Ok(());
        };
        let errors = match held.error.as_str() {
            "" => String::new(),
            error => format!("; resolution errors: [{error}]"),
        };
        let why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{missing}{errors}",
            write.user.name,
            cover::quoted(&write.user.groups),
        );
        Err(self.forbidden(object.name(), &why))
    }

    fn may(
        &self,
        write: &Write<'_>,
        verb: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let what = Attributes::Resource(ResourceAttributes {
            verb,
            group: GROUP,
            resource,
            subresource: "",
            namespace,
            name,
        });
        let decision = self.authorizer.authorize(write.user, &what);
        matches!(decision, Decision::Allow | Decision::AllowAs(_))
    }

    fn forbidden(&self, name: &str, why: &str) -> ApiError {
        let about = About {
            group: GROUP,
            what: &self.plural,
            name,
        };
        ApiError::forbidden(about, why)
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
            self.check(write, object)?;
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
            self.rbac.wait_for(at).await;
        })
    }
}

/// Whether only that is changed which gives nobody anything.
fn same_grant(old: &Object, new: &Object) -> bool {
    let rest = |object: &Object| {
        let mut object = object.clone();
        let meta = object.meta_mut();
        NOT_LOOKED_AT
            .iter()
            .for_each(|field| drop(meta.remove(*field)));
        object.into_value()
    };
    rest(old) == rest(new)
}

fn parsed<T: DeserializeOwned>(object: &Object) -> Result<T, ApiError> {
    let value: Value = object.as_value().clone();
    serde_json::from_value(value).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn not_found(role: &RoleRef) -> ApiError {
    ApiError::not_found(About {
        group: GROUP,
        what: &role.kind.to_ascii_lowercase(),
        name: &role.name,
    })
}
