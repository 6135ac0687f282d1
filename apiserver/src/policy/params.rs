//! The parameters of a policy.

use super::definition::{ParamKind, ParamRef};
use crate::cache::Filter;
use crate::keys;
use crate::object::Object;
use crate::registry::{Registry, Resource};
use crate::serve::ApiServer;
use std::sync::Arc;
use std::time::Duration;
use store::Entry;

/// How long the cache may take to have seen what is in the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where parameters are.
pub(super) struct Kind {
    resource: Arc<Resource>,
    pub(super) api_version: String,
}

/// The resource of a kind of parameters, if it is served.
pub(super) fn resource<'a>(
    registry: &'a Registry,
    wanted: &ParamKind,
) -> Option<&'a Arc<Resource>> {
    let (group, version) = wanted.group_and_version();
    let mut all = registry.iter();
    all.find(|resource| {
        (resource.group.as_str(), &resource.kind) == (group, &wanted.kind)
            && resource.version(version).is_some()
    })
}

/// The same, ready to be read.
///
/// # Errors
/// When there is none.
pub(super) fn kind(server: &ApiServer, wanted: &ParamKind) -> Result<Kind, String> {
    let registry = server.registry();
    let resource = resource(&registry, wanted).ok_or_else(|| {
        let ((group, version), kind) = (wanted.group_and_version(), &wanted.kind);
        format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'")
    })?;
    Ok(Kind {
        resource: Arc::clone(resource),
        api_version: wanted.api_version.clone(),
    })
}

impl Kind {
    /// The parameters that a binding means for a request in a namespace. The policy is asked once
    /// for each.
    ///
    /// # Errors
    /// When the binding does not fit, or asks to be refused without parameters.
    pub(super) async fn collect(
        &self,
        server: &ApiServer,
        wanted: &ParamRef,
        namespace: &str,
    ) -> Result<Vec<Object>, String> {
        let place = match (self.resource.namespaced, wanted.namespace.as_str()) {
            (true, "") if namespace.is_empty() => {
                let why = "cannot use namespaced paramRef in policy binding that matches \
                           cluster-scoped resources";
                return Err(why.to_owned());
            }
            (true, "") => namespace,
            (true, place) => place,
            (false, "") => "",
            (false, _) => {
                let why =
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
                return Err(why.to_owned());
            }
        };
        let params = match (wanted.name.as_str(), &wanted.selector) {
            ("", Some(selector)) => {
                let filter = Filter {
                    namespace: (!place.is_empty()).then(|| place.to_owned()),
                    labels: selector.parsed()?,
                    ..Filter::default()
                };
                self.select(server, &filter).await
            }
            (name, _) => self.get(server, place, name).await,
        };
        let params = params?;
        if params.is_empty() && wanted.denies_without() {
            let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
            return Err(why.to_owned());
        }
        Ok(params)
    }

    async fn get(
        &self,
        server: &ApiServer,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Object>, String> {
        let prefix = keys::resource(&self.resource.group, &self.resource.plural);
        let key = prefix + &keys::below(namespace, name);
        let found = server.cache().store().get(key.as_bytes()).await;
        let found = found.map_err(|error| error.to_string())?;
        found.iter().map(decoded).collect()
    }

    async fn select(&self, server: &ApiServer, filter: &Filter) -> Result<Vec<Object>, String> {
        let (group, plural) = (&self.resource.group, &self.resource.plural);
        let fields = self.resource.selectable();
        let cache = server.cache();
        let known = cache.kind(group, plural, &fields).await;
        let known = known.map_err(|error| error.to_string())?;
        let revision = cache.store().revision().await;
        let revision = revision.map_err(|error| error.to_string())?;
        cache.wait_for(revision.0, PATIENCE).await;
        let found = known.list(filter, None, cache.revision());
        found
            .items
            .iter()
            .map(|item| decoded(&item.entry))
            .collect()
    }
}

fn decoded(entry: &Entry) -> Result<Object, String> {
    let object = Object::decode(&entry.value, entry.modified.0);
    object.map_err(|error| error.to_string())
}
