//! Kubernetes' own kinds: what they hold, how they are shown, and what is done to them and asked of
//! them beyond their schemas.
//!
//! Types come from upstream's OpenAPI. What kube-apiserver has as code is in a file for each group of
//! kinds.

mod admission;
mod config;
mod event;
mod kinds;
mod lease;
mod namespace;
mod rbac;
mod schema;
mod service_account;
mod shared;
mod shown;
mod strategy;

pub use schema::schema;
pub(crate) use shared::{from_kept, is_shared, kept_as, selector, to_kept};
pub(crate) use strategy::{empty, settle, strategy, trim};

use crate::admission::{Effects, Hooks, Write};
use crate::error::ApiError;
use crate::object::Object;
use crate::registry::{Naming, Resource, Version};
use crate::schema::{FieldError, Schema};
use crate::table::Printer;
use crate::upstream;
use futures::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;

/// What is done to the objects of a kind, and asked of them, beyond its schema.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Fills in what a client left out. The second is the object that is replaced, if there is one.
    prepare: fn(&mut Value, Option<&Value>),
    /// What is wrong, in kube-apiserver's words.
    validate: fn(&Value, Option<&Value>) -> Vec<FieldError>,
}

impl Rules {
    /// Nothing beyond the schema.
    const NONE: Self = Self {
        prepare: |_, _| {},
        validate: |_, _| Vec::new(),
    };
}

impl Hooks for Rules {
    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        object: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async {
            // There it is checked what was checked before.
            if write.subresource == "finalize" {
                return Ok(Effects::default());
            }
            let old = write.old.map(Object::as_value);
            let mut value = object.clone().into_value();
            (self.prepare)(&mut value, old);
            *object = Object::new(value).map_err(ApiError::internal)?;
            let errors = (self.validate)(object.as_value(), old);
            match errors.is_empty() {
                true => Ok(Effects::default()),
                false => Err(write.invalid(object.name(), &errors)),
            }
        })
    }

    fn faults(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut object = object.clone();
        (self.prepare)(&mut object, old);
        (self.validate)(&object, old)
    }
}

/// A kind, as far as it is not in upstream's OpenAPI.
struct BuiltIn {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    secret: bool,
    naming: Naming,
    status: bool,
    selectable: &'static [&'static str],
    shown: shown::Shown,
    rules: Rules,
}

/// All of them, ready to be registered.
#[must_use]
pub fn resources() -> Vec<Resource> {
    kinds::ALL.iter().map(BuiltIn::resource).collect()
}

/// Group and plural of those whose objects are [secret](Resource::secret).
pub fn secret() -> impl Iterator<Item = (&'static str, &'static str)> {
    let secret = kinds::ALL.iter().filter(|kind| kind.secret);
    secret.map(|kind| (kind.group, kind.plural))
}

/// The kinds that are answered and never kept, without what answers them.
pub(crate) fn reviews() -> Vec<Resource> {
    kinds::REVIEWS.iter().map(BuiltIn::resource).collect()
}

impl BuiltIn {
    fn resource(&self) -> Resource {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let resource = Resource {
            group: self.group.into(),
            plural: self.plural.into(),
            singular: self.kind.to_ascii_lowercase(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            short_names: owned(self.short_names),
            categories: owned(self.categories),
            namespaced: self.namespaced,
            built_in: true,
            defined: false,
            secret: self.secret,
            naming: self.naming,
            versions: Vec::new(),
            storage: self.version.into(),
            hooks: Arc::new(self.rules),
        };
        let name = resource.type_name(self.version, self.kind);
        let version = Version {
            name: self.version.into(),
            schema: Arc::new(self.schema(&name)),
            printer: Printer::written(self.shown.columns(&name), self.shown.cells),
            status: self.status,
            scale: None,
            selectable: owned(self.selectable),
            deprecation: None,
            evolved: false,
        };
        Resource {
            versions: vec![Arc::new(version)],
            ..resource
        }
    }

    fn schema(&self, name: &str) -> Schema {
        schema(name, &upstream::definition).expect("a test reads the types of all kinds")
    }
}

#[cfg(test)]
mod tests;
