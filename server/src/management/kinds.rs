//! The kinds of this server: what each is, and what happens when its objects are written.

mod applied;
mod auth_config;
mod binding;
mod cluster;
mod global_role;
mod namespace;
mod preference;
mod project;
mod registration_token;
mod role_template;
mod session_recording;
mod setting;
mod token;
mod user;
mod user_attribute;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use anyhow::anyhow;
use apiserver::admission::{Effects, Hooks, NoHooks, Write};
use apiserver::error::{About, ApiError};
use apiserver::object::Object;
use apiserver::registry::{Column, Naming, Resource, Version};
use apiserver::schema::{FieldError, Schema};
use apiserver::table::Printer;
use futures::future::BoxFuture;
use lariat_api::{
    AuthConfig, Cell, Cluster, ClusterRegistrationToken, ClusterRoleTemplateBinding, GROUP,
    GlobalRole, GlobalRoleBinding, Kind, Preference, Project, ProjectRoleTemplateBinding,
    RoleTemplate, SessionRecording, Setting, Token, User, UserAttribute, VERSION,
};
use serde_json::Value;
use store::{Revision, Store, Txn};
use url::Url;

pub(crate) use auth_config::kept_secret;

use crate::authn::{Directory, Passwords};
use crate::authz::{Guard, is_administrator, no_such_cluster};
use crate::clock::Clock;
use crate::edge::CertificateKeeper;
use crate::stored;

/// What the kinds need of the server.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) guard: Guard,
    pub(crate) passwords: Passwords,
    pub(crate) certificates: Arc<CertificateKeeper>,
    pub(crate) server_url: Url,
    pub(crate) clock: Clock,
}

/// A kind of the management API as it is served.
trait Managed: Kind + schemars::JsonSchema {
    /// Whether its status is written apart.
    const HAS_STATUS: bool = false;

    /// Whether only administrators write it, whatever RBAC says: it says who people are.
    const ADMINISTRATORS_ONLY: bool = false;

    /// The name of an object that comes without one.
    fn made_up_name() -> Option<String> {
        None
    }

    /// Fills in what only the server knows, and refuses what the object alone does not tell.
    fn admit(
        &mut self,
        _context: &Context,
        _write: &Write<'_>,
        _old: Option<&Self>,
    ) -> impl Future<Output = Result<Effects, ApiError>> + Send {
        async { Ok(Effects::default()) }
    }

    /// What else changes when the status is written.
    fn admit_status(&mut self, _old: &Self) {}

    /// Whether somebody may delete the object.
    fn admit_deletion(
        &self,
        _context: &Context,
        _write: &Write<'_>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send {
        async { Ok(()) }
    }

    /// What goes with the object. What is returned happens together with its deletion.
    fn release(&self, _context: &Context) -> impl Future<Output = Result<Txn, ApiError>> + Send {
        async { Ok(Txn::default()) }
    }
}

/// Calls a function for each kind. The one list of them.
macro_rules! each_kind {
    ($function:ident($($argument:expr),*)) => {
        [
            $function::<AuthConfig>($($argument),*),
            $function::<Cluster>($($argument),*),
            $function::<ClusterRegistrationToken>($($argument),*),
            $function::<ClusterRoleTemplateBinding>($($argument),*),
            $function::<GlobalRole>($($argument),*),
            $function::<GlobalRoleBinding>($($argument),*),
            $function::<Preference>($($argument),*),
            $function::<Project>($($argument),*),
            $function::<ProjectRoleTemplateBinding>($($argument),*),
            $function::<RoleTemplate>($($argument),*),
            $function::<SessionRecording>($($argument),*),
            $function::<Setting>($($argument),*),
            $function::<Token>($($argument),*),
            $function::<User>($($argument),*),
            $function::<UserAttribute>($($argument),*),
        ]
    };
}

/// All of them. Without a context they can be described, and not written.
pub(super) fn resources(context: Option<Context>) -> anyhow::Result<Vec<Resource>> {
    let context = context.map(Arc::new);
    let context = context.as_ref();
    each_kind!(resource(context)).into_iter().collect()
}

/// The prefixes of the keys of those whose objects are secret.
pub(super) fn secret_prefixes() -> impl Iterator<Item = String> {
    fn secret_prefix<K: Kind>() -> Option<String> {
        K::SECRET.then(|| stored::prefix::<K>())
    }
    each_kind!(secret_prefix()).into_iter().flatten()
}

fn resource<K: Managed>(context: Option<&Arc<Context>>) -> anyhow::Result<Resource> {
    let derived = serde_json::to_value(schemars::schema_for!(K))?;
    let schema = Schema::from_schemars(&derived)
        .map_err(|errors| anyhow!("schema of {}: {errors:?}", K::KIND))?;
    let printer = Printer::computed(columns::<K>(), cells::<K>)
        .map_err(|error| anyhow!("columns of {}: {error}", K::KIND))?;
    let version = Version {
        name: VERSION.into(),
        schema: Arc::new(schema),
        printer,
        status: K::HAS_STATUS,
        scale: None,
        selectable: Vec::new(),
        deprecation: None,
        evolved: false,
    };
    let hooks: Arc<dyn Hooks> = match context {
        Some(context) => Arc::new(KindHooks::<K> {
            context: Arc::clone(context),
            kind: PhantomData,
        }),
        None => Arc::new(NoHooks),
    };
    Ok(Resource {
        group: GROUP.into(),
        plural: K::PLURAL.into(),
        singular: K::SINGULAR.into(),
        kind: K::KIND.into(),
        list_kind: format!("{}List", K::KIND),
        short_names: K::SHORT_NAMES.iter().map(ToString::to_string).collect(),
        categories: Vec::new(),
        namespaced: K::NAMESPACED,
        defined: false,
        built_in: false,
        secret: K::SECRET,
        naming: Naming::Subdomain,
        versions: vec![Arc::new(version)],
        storage: VERSION.into(),
        hooks,
    })
}

fn columns<K: Kind>() -> Vec<Column> {
    let column = |name: &str, kind: &str, description: &str, path: &str, wide| Column {
        name: name.into(),
        kind: kind.into(),
        format: String::new(),
        description: description.into(),
        priority: i32::from(wide),
        path: path.into(),
    };
    let about = "Time since the object was created";
    let age = column("Age", "date", about, ".metadata.creationTimestamp", false);
    let own = K::COLUMNS.iter().map(|own| {
        let path = match own.cell {
            Cell::Field(path) => path,
            Cell::Computed(_) => "",
        };
        column(own.name, own.kind, own.description, path, own.wide)
    });
    own.chain([age]).collect()
}

/// The cells of the columns that are computed.
fn cells<K: Kind>(object: &Object) -> Vec<Value> {
    let typed = K::deserialize(object.as_value()).ok();
    let computed = K::COLUMNS.iter().filter_map(|column| match column.cell {
        Cell::Computed(compute) => Some(typed.as_ref().map_or(Value::Null, compute)),
        Cell::Field(_) => None,
    });
    computed.collect()
}

struct KindHooks<K> {
    context: Arc<Context>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Managed> Hooks for KindHooks<K> {
    fn name(&self) -> Option<String> {
        K::made_up_name()
    }

    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        object: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async move {
            check_writer::<K>(write, object.name())?;
            let mut typed: K = typed(write, object)?;
            let old = write.old.map(|old| parsed::<K>(old)).transpose()?;
            let effects = match (write.subresource, &old) {
                ("status", Some(old)) => {
                    typed.admit_status(old);
                    Effects::default()
                }
                _ => {
                    if !write.user.is_master() {
                        typed.carry_server_fields(old.as_ref());
                    }
                    typed.admit(&self.context, write, old.as_ref()).await?
                }
            };
            let value = serde_json::to_value(typed).map_err(ApiError::internal)?;
            *object = Object::new(value).map_err(ApiError::internal)?;
            Ok(effects)
        })
    }

    fn admit_deletion<'a>(&'a self, write: &'a Write<'a>) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let old = write.old.map(parsed::<K>).transpose()?;
            match old {
                Some(old) => {
                    check_writer::<K>(write, old.name())?;
                    old.admit_deletion(&self.context, write).await
                }
                None => Ok(()),
            }
        })
    }

    fn release<'a>(&'a self, object: &'a Object) -> BoxFuture<'a, Result<Txn, ApiError>> {
        Box::pin(async move { parsed::<K>(object)?.release(&self.context).await })
    }

    /// From here on the directory lets in who was let in, and nobody else.
    fn written(&self, at: Revision) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.context.directory.wait_for(at).await;
        })
    }
}

impl<K> std::fmt::Debug for KindHooks<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KindHooks").finish_non_exhaustive()
    }
}

fn check_writer<K: Managed>(write: &Write<'_>, name: &str) -> Result<(), ApiError> {
    if K::ADMINISTRATORS_ONLY && !is_administrator(write.user) {
        let why = "only administrators say who people are";
        return Err(forbidden::<K>(name, why));
    }
    Ok(())
}

/// An object of a client: its schema is met, but the Rust type may be stricter.
fn typed<K: Kind>(write: &Write<'_>, object: &Object) -> Result<K, ApiError> {
    K::deserialize(object.as_value()).map_err(|error| {
        let error = FieldError::invalid("", K::KIND, error.to_string());
        write.invalid(object.name(), &[error])
    })
}

/// An object of the store.
fn parsed<K: Kind>(object: &Object) -> Result<K, ApiError> {
    K::deserialize(object.as_value()).map_err(ApiError::internal)
}

fn forbidden<K: Kind>(name: &str, why: &str) -> ApiError {
    let about = About {
        group: GROUP,
        what: K::PLURAL,
        name,
    };
    ApiError::forbidden(about, why)
}

/// The cluster of a namespace.
fn cluster_of(context: &Context, namespace: &str) -> Result<Arc<Cluster>, ApiError> {
    let id = namespace.parse().ok();
    let found = id.and_then(|id| context.directory.cluster(&id));
    found.ok_or_else(|| no_such_cluster(namespace))
}

/// Makes another object together with `cause`, which is being made.
fn made<K: Kind>(object: K, cause: &impl Kind) -> Result<Txn, ApiError> {
    stored::new(object, cause.meta().creation_timestamp.as_ref())
}

#[cfg(test)]
mod tests;
