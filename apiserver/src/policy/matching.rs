//! Whether a policy or a binding deals with a request.

use super::definition::{MatchResources, Rule, Selector};
use super::request::Write;
use crate::keys;
use crate::object::Object;
use store::Store;

/// What is known of the namespace of a request, read when it is first needed.
pub(super) struct Place<'a> {
    store: &'a dyn Store,
    name: &'a str,
    found: Option<Result<Option<Object>, String>>,
}

impl<'a> Place<'a> {
    pub(super) fn new(store: &'a dyn Store, name: &'a str) -> Self {
        Self {
            store,
            name,
            found: None,
        }
    }

    /// The namespace; `None` if it is not there.
    pub(super) async fn namespace(&mut self) -> Result<Option<&Object>, String> {
        if self.found.is_none() {
            self.found = Some(self.read().await);
        }
        match &self.found {
            Some(Ok(found)) => Ok(found.as_ref()),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(None),
        }
    }

    async fn read(&self) -> Result<Option<Object>, String> {
        let key = keys::resource("", "namespaces") + self.name;
        let found = self.store.get(key.as_bytes()).await;
        let Some(entry) = found.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let decoded = Object::decode(&entry.value, entry.modified.0);
        decoded.map(Some).map_err(|error| error.to_string())
    }
}

/// The version of the resource for which a request is meant; `None` if it is not.
///
/// # Errors
/// When that cannot be told.
pub(super) async fn matched<'a>(
    resources: &MatchResources,
    write: &Write<'a>,
    place: &mut Place<'_>,
) -> Result<Option<&'a str>, String> {
    let in_namespace = in_namespace(&resources.namespace_selector, write, place).await;
    if in_namespace == Ok(false) {
        return Ok(None);
    }
    let is_object = is_object(&resources.object_selector, write);
    if is_object == Ok(false) {
        return Ok(None);
    }
    let equivalent = resources.is_equivalent();
    if by_rules(&resources.exclude_resource_rules, equivalent, write).is_some() {
        return Ok(None);
    }
    let version = match resources.resource_rules.as_slice() {
        [] => Some(write.version),
        rules => by_rules(rules, equivalent, write),
    };
    // What went wrong counts for nothing if the request is not meant anyway.
    match version {
        None => Ok(None),
        version => in_namespace.and(is_object).map(|_| version),
    }
}

async fn in_namespace(
    selector: &Selector,
    write: &Write<'_>,
    place: &mut Place<'_>,
) -> Result<bool, String> {
    if write.place().is_empty() && !write.is_of_namespaces() {
        return Ok(true);
    }
    if selector.is_empty() {
        return Ok(true);
    }
    let selector = selector.parsed()?;
    let selects = |object: &Object| selector.selects(|key| object.label(key));
    if write.is_of_namespaces()
        && write.subresource.is_empty()
        && let Some(object) = write.object
    {
        return Ok(selects(object));
    }
    let name = write.place();
    match place.namespace().await? {
        Some(namespace) => Ok(selects(namespace)),
        None => Err(format!("namespaces {name:?} not found")),
    }
}

fn is_object(selector: &Selector, write: &Write<'_>) -> Result<bool, String> {
    if selector.is_empty() {
        return Ok(true);
    }
    let selector = selector.parsed()?;
    let mut both = write.object.into_iter().chain(write.old);
    Ok(both.any(|object| selector.selects(|key| object.label(key))))
}

/// The version by which a rule means the request: the one that it comes for, or another one.
fn by_rules<'a>(rules: &[Rule], equivalent: bool, write: &Write<'a>) -> Option<&'a str> {
    let means = |version: &str| rules.iter().any(|rule| rule.means(write, version));
    if means(write.version) {
        return Some(write.version);
    }
    let versions = write.resource.versions.iter().filter(|_| equivalent);
    let mut names = versions.map(|version| version.name.as_str());
    names.find(|name| means(name))
}

impl Rule {
    fn means(&self, write: &Write<'_>, version: &str) -> bool {
        let has =
            |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        let outside = write.is_of_namespaces() || write.place().is_empty();
        let scope = match self.scope.as_deref() {
            Some("Namespaced") => !outside,
            Some("Cluster") => outside,
            _ => true,
        };
        scope
            && has(&self.operations, write.operation.name())
            && has(&self.api_groups, &write.resource.group)
            && has(&self.api_versions, version)
            && self.resources.iter().any(|one| {
                let (resource, part) = one.split_once('/').unwrap_or((one, ""));
                (resource == "*" || resource == write.resource.plural)
                    && (part == "*" || part == write.subresource)
            })
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == write.name))
    }
}
