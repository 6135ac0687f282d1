//! What happens when a definition is written.

use super::{GROUP, check, resource, set_defaults, status};
use crate::admission::{Effects, Hooks, Write};
use crate::error::{About, ApiError};
use crate::object::Object;
use crate::registry::{Resource, Served};
use futures::future::BoxFuture;
use http::StatusCode;
use std::time::Duration;
use store::Revision;
use tokio::sync::watch;

/// How long a client waits until what it defined is served.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hooks of definitions.
#[derive(Clone, Debug)]
pub struct Definitions {
    served: Served,
    /// The last revision of a definition that has been taken in; none before those that are there.
    taken_in: watch::Sender<Option<u64>>,
}

impl Definitions {
    /// Definitions add to what is served.
    #[must_use]
    pub fn new(served: Served) -> Self {
        let taken_in = watch::Sender::new(None);
        Self { served, taken_in }
    }

    /// Waits until what was defined before is served.
    pub async fn known(&self) {
        let mut taken_in = self.taken_in.subscribe();
        // It ends with what is followed only.
        let _ = taken_in.wait_for(Option::is_some).await;
    }

    pub(super) fn take_in(&self, revision: u64) {
        self.taken_in.send_if_modified(|last| {
            let later = Some(revision) > *last;
            *last = (*last).max(Some(revision));
            later
        });
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// Why the names of a resource cannot be served: another one has them.
    fn conflict(&self, resource: &Resource) -> Option<String> {
        let registry = self.served.now();
        let mut others = registry
            .iter()
            .filter(|other| other.group == resource.group && other.plural != resource.plural);
        others.find_map(|other| {
            let names = |each: &Resource| {
                let names = [each.plural.clone(), each.singular.clone()];
                names
                    .into_iter()
                    .chain(each.short_names.iter().cloned())
                    .collect::<Vec<_>>()
            };
            let taken = names(other);
            let name = names(resource)
                .into_iter()
                .find(|name| taken.contains(name));
            let kind = [&resource.kind, &resource.list_kind]
                .into_iter()
                .find(|kind| **kind == other.kind || **kind == other.list_kind);
            let name = name.or_else(|| kind.cloned())?;
            Some(format!("{name:?} is already in use"))
        })
    }
}

impl Hooks for Definitions {
    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        definition: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async move {
            set_defaults(definition);
            let mut errors = check(definition, write.old);
            let resource = match resource(definition) {
                Ok(resource) if errors.is_empty() => resource,
                found => {
                    errors.extend(found.err().into_iter().flatten());
                    return Err(write.invalid(definition.name(), &errors));
                }
            };
            let ours = self.served.now();
            if ours
                .get(&resource.group, &resource.plural)
                .is_some_and(|known| !known.defined)
            {
                let about = About {
                    group: GROUP,
                    what: super::PLURAL,
                    name: definition.name(),
                };
                let why = "the server has a kind of its own under that name";
                return Err(ApiError::forbidden(about, why));
            }
            if write.subresource.is_empty() {
                let conflict = self.conflict(&resource);
                let status = status(definition, conflict.as_deref(), write.now);
                definition.fields_mut().insert("status".into(), status);
            }
            Ok(Effects::default())
        })
    }

    fn written(&self, at: Revision) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut taken_in = self.taken_in.subscribe();
            let waiting = taken_in.wait_for(|revision| *revision >= Some(at.0));
            if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
                tracing::warn!(%at, "a definition is not served yet");
            }
        })
    }
}

/// The hooks of a kind whose definition is being deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminating;

impl Hooks for Terminating {
    fn admit<'a>(
        &'a self,
        write: &'a Write<'a>,
        _object: &'a mut Object,
    ) -> BoxFuture<'a, Result<Effects, ApiError>> {
        Box::pin(async move {
            if write.old.is_some() {
                return Ok(Effects::default());
            }
            let message = "create not allowed while custom resource definition is terminating";
            let code = StatusCode::METHOD_NOT_ALLOWED;
            Err(ApiError::new(code, "MethodNotAllowed", message))
        })
    }
}
