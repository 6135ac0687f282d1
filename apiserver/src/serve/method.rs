//! What can be done with which resource.

use crate::error::{About, ApiError};
use crate::namespaces;
use crate::registry::{Registry, Resource, Version};
use crate::request::Verb;
use http::Method;
use std::sync::Arc;

/// What a request is to do with a resource: `found`, unless that means nothing there.
pub(super) fn verb(
    resource: &Resource,
    method: &Method,
    has_name: bool,
    found: Option<Verb>,
) -> Result<Verb, ApiError> {
    let needs_name = matches!(*method, Method::PUT | Method::PATCH) && !has_name;
    match found {
        Some(Verb::Create) if has_name && resource.built_in => Err(not_allowed(resource, "create")),
        Some(verb) => Ok(verb),
        None if needs_name && !resource.built_in => {
            Err(ApiError::bad_request("name must be provided"))
        }
        None => Err(not_allowed(resource, "")),
    }
}

/// 405, in the words that upstream has for its own kinds and for others.
pub(super) fn not_allowed(resource: &Resource, verb: &str) -> ApiError {
    let about = About {
        group: &resource.group,
        what: &resource.plural,
        name: "",
    };
    match resource.built_in {
        true => ApiError::method_not_allowed(),
        false => ApiError::method_not_supported(verb, about),
    }
}

/// The resource and the version that a request names, if they and that part of them are served.
pub(super) fn served<'a>(
    registry: &'a Registry,
    [group, version, plural, name]: [&str; 4],
    subresource: Option<&str>,
) -> Result<(&'a Arc<Resource>, &'a Arc<Version>), ApiError> {
    let resource = registry.get(group, plural);
    let resource = resource.ok_or_else(ApiError::no_such_path)?;
    let version = resource.version(version);
    let version = version.ok_or_else(ApiError::no_such_path)?;
    if has(resource, version, subresource) {
        return Ok((resource, version));
    }
    let about = About {
        group,
        what: &resource.plural,
        name,
    };
    Err(match resource.built_in {
        true => ApiError::no_such_path(),
        false => ApiError::not_found(about),
    })
}

/// Whether a resource has that part.
fn has(resource: &Resource, version: &Version, subresource: Option<&str>) -> bool {
    match subresource {
        None => true,
        Some("status") => version.status,
        Some("scale") => version.scale.is_some(),
        Some("finalize") => namespaces::are(resource),
        Some(_) => false,
    }
}

/// Objects of namespaced resources are only reached through their namespace, which lists of them
/// may leave out.
pub(super) fn check_place(
    resource: &Resource,
    has_namespace: bool,
    has_name: bool,
    verb: Verb,
) -> Result<(), ApiError> {
    let across = matches!(verb, Verb::List | Verb::Watch);
    let right = match (resource.namespaced, has_namespace) {
        (true, true) | (false, false) => true,
        (true, false) => across && !has_name,
        (false, true) => false,
    };
    if right {
        return Ok(());
    }
    Err(ApiError::no_such_path())
}
