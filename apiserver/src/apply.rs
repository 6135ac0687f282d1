//! Server-side apply and field ownership.
//!
//! Every field of an object has managers: those who set it last. A write takes ownership of what it
//! changes ([`update`]); an apply states what its manager wants to own, is refused where that would
//! change what others own, and drops what it no longer states and nobody else owns ([`apply`]). Who
//! owns what is kept in `metadata.managedFields`.
//!
//! Pure functions over JSON values, with the answers of kube-apiserver 1.35: the same managers, the
//! same objects, the same words. `tests/oracle` compares the two.
//!
//! Known to differ: all versions of a kind are taken to have one schema and to differ in nothing
//! else, so that a manager's fields mean the same in each. Upstream converts the object instead,
//! and forgets managers, or refuses the write, where that fails: for a version that is gone, and
//! for an object in which an item of a set is there twice.
//!
//! From outside in: `managers` reads and writes `managedFields`, `ownership` moves fields between
//! managers, `typed` sees values through their schema, `field_set` is what all of them talk in.

mod cap;
mod conflict;
mod field_set;
mod fields_v1;
mod go_text;
mod last_applied;
mod managers;
mod ownership;
mod path;
mod typed;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use conflict::{Conflict, Conflicts};
pub use field_set::FieldSet;
pub use fields_v1::{FieldsError, MAX_DEPTH, MAX_KEYS};
pub use managers::{ManagerId, Managers, ManagersError, Operation, Owned};
pub use path::{Path, PathElement};
pub use typed::{FieldError, FieldErrors};

use crate::schema::Schema;
use managers::Stated;
use ownership::Write;
use typed::{Duplicates, Type};

/// Who writes what, where and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The name of the manager. `unknown` if it is empty.
    pub manager: &'a str,
    /// The schema of the object. `apiVersion`, `kind` and `metadata` have types of their own.
    pub schema: &'a Schema,
    /// The version of the request: `apps/v1`.
    pub api_version: &'a str,
    /// The kind of the object.
    pub kind: &'a str,
    /// The subresource that is written to, empty for the object itself.
    pub subresource: &'a str,
    /// Fields that such a request cannot write, with all that is below them: `.status` for an
    /// object with the subresource `status`, `.spec` for that subresource.
    pub reset: &'a FieldSet,
    /// The time of what changes now. Stored in seconds.
    pub now: Timestamp,
}

/// A write has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is applied is of another version or kind than the request. Status 400.
    #[error("invalid object type: {0}")]
    ObjectType(String),
    /// What is applied says who owns it. Status 400.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// Others own what would be changed. Status 409.
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    /// What is written does not fit the schema. Status 500, as upstream.
    #[error("{step} ({object}): {errors}")]
    Typed {
        /// What was being done, in upstream's words.
        step: &'static str,
        /// Namespace, name, version and kind.
        object: String,
        /// The fields.
        errors: FieldErrors,
    },
    /// The stored object's managers cannot be read. Status 500.
    #[error("failed to decode managed fields: {0}")]
    LiveManagers(ManagersError),
}

/// The new object of a create, replace or patch with its managers.
///
/// `live` is what is stored, `None` for a create; `new` is to take its place, with all that the
/// server sets already set. Its own `managedFields` count if they can be read, but not if a
/// subresource is written to; an empty list, or one empty entry, asks for nobody to own anything.
/// An object that nobody owned anything of stays so.
///
/// An object that does not fit its schema has no managers afterwards: see [`try_update`].
#[must_use]
pub fn update(live: Option<&Value>, mut new: Value, by: &Writer<'_>) -> Value {
    let managers = managers_after_update(live, &mut new, by).unwrap_or_default();
    managers.write_to(&mut new);
    new
}

/// [`update`], for those who want to know of objects that do not fit their schema.
///
/// # Errors
/// [`Error::Typed`] when either object does not.
pub fn try_update(live: Option<&Value>, mut new: Value, by: &Writer<'_>) -> Result<Value, Error> {
    managers_after_update(live, &mut new, by)?.write_to(&mut new);
    Ok(new)
}

/// The object after an apply, with its managers.
///
/// `live` is what is stored, `None` if there is no such object yet; then `config` alone makes one.
/// `force` takes over what others own. An object that would stay as it is keeps the times of its
/// managers. No defaults are set: that is left to the caller, as is the validation of the result.
///
/// # Errors
/// [`Error::Conflicts`] when others own what would be changed and it is not forced; the others when
/// either object is not one that can be merged.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    by: &Writer<'_>,
    force: bool,
) -> Result<Value, Error> {
    let nothing = by.empty_object();
    let live = live.unwrap_or(&nothing);
    let managers = match Stated::of(live) {
        Stated::Entries(entries) => Managers::decode(&entries).map_err(Error::LiveManagers)?,
        Stated::Nothing | Stated::Reset => Managers::default(),
    };
    if (text(config, "apiVersion"), text(config, "kind")) != (by.api_version, by.kind) {
        return Err(Error::ObjectType(version_and_kind(config)));
    }
    let (mut object, managers) = match apply_once(live, config, &managers, by, force) {
        Err(Error::Conflicts(conflicts)) if last_applied::is_concerned(by.manager) => {
            match last_applied::unsettled(conflicts, by.root(), by.api_version, live) {
                Some(conflicts) => return Err(conflicts.into()),
                None => apply_once(live, config, &managers, by, true)?,
            }
        }
        result => result?,
    };
    if last_applied::is_concerned(by.manager) {
        last_applied::keep_true(&mut object, config);
    }
    managers.write_to(&mut object);
    Ok(object)
}

/// The part of an object that a manager has applied, without version and kind: what it would apply
/// again to change nothing. `None` if it has applied nothing that it still owns.
///
/// # Errors
/// When the managers of the object cannot be read.
pub fn applied_by(object: &Value, by: &Writer<'_>) -> Result<Option<Value>, ManagersError> {
    let managers = Managers::of(object)?;
    let id = ManagerId::new(by.manager, Operation::Apply, by.api_version, by.subresource);
    let owned = managers.owners.get(&id);
    Ok(owned.map(|owned| typed::extract(by.root(), object, &owned.fields.leaves())))
}

impl<'a> Writer<'a> {
    fn root(&self) -> Type<'a> {
        Type::ApiObject(self.schema)
    }

    fn write(&self) -> Write<'a> {
        Write {
            root: self.root(),
            api_version: self.api_version,
            reset: self.reset,
        }
    }

    fn id(&self, manager: &str, operation: Operation) -> ManagerId {
        ManagerId::new(manager, operation, self.api_version, self.subresource)
    }

    fn empty_object(&self) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind})
    }
}

/// The managers of an object that is updated, which loses those that it states.
fn managers_after_update(
    live: Option<&Value>,
    new: &mut Value,
    by: &Writer<'_>,
) -> Result<Managers, Error> {
    let nothing = by.empty_object();
    let live = live.unwrap_or(&nothing);
    let managers = stated_managers(live, new, by);
    managers::clear(new);
    let uid = live
        .get("metadata")
        .and_then(|metadata| metadata.get("uid"));
    let is_stored = uid
        .and_then(Value::as_str)
        .is_some_and(|uid| !uid.is_empty());
    if managers.is_empty() && is_stored {
        return Ok(managers);
    }
    track(live, new, &managers, by.manager, by)
}

/// The managers from which an update starts.
fn stated_managers(live: &Value, new: &Value, by: &Writer<'_>) -> Managers {
    let decoded = |object| match Stated::of(object) {
        Stated::Entries(entries) => Managers::decode(&entries).unwrap_or_default(),
        Stated::Nothing | Stated::Reset => Managers::default(),
    };
    if !by.subresource.is_empty() {
        return decoded(live);
    }
    if matches!(Stated::of(new), Stated::Reset) {
        return Managers::default();
    }
    let stated = decoded(new);
    // A client that knows nothing of managers shall not take them away.
    if stated.is_empty() {
        decoded(live)
    } else {
        stated
    }
}

/// The managers after an update by this one.
fn track(
    live: &Value,
    new: &Value,
    managers: &Managers,
    manager: &str,
    by: &Writer<'_>,
) -> Result<Managers, Error> {
    check("failed to convert new object", new, by, Duplicates::Allowed)?;
    check(
        "failed to convert live object",
        live,
        by,
        Duplicates::Allowed,
    )?;
    let (mut managers, changed) = by.write().update(live, new, managers);
    let changed = changed.difference(&never_owned());
    if !changed.is_empty() {
        let id = by.id(manager, Operation::Update);
        let fields = match managers.owners.get(&id) {
            Some(before) => changed.union(&before.fields),
            None => changed,
        };
        let owned = Owned {
            fields,
            api_version: by.api_version.to_owned(),
        };
        managers.owners.insert(id.clone(), owned);
        managers.times.insert(id, by.now);
    }
    cap::cap_update_managers(&mut managers, cap::MAX_UPDATE_MANAGERS);
    Ok(managers)
}

/// The object without its managers, and those.
fn apply_once(
    live: &Value,
    config: &Value,
    managers: &Managers,
    by: &Writer<'_>,
    force: bool,
) -> Result<(Value, Managers), Error> {
    let before;
    let managers = if managers.is_empty() {
        // What is there has been set by someone, even if nobody knows by whom.
        before = track(&by.empty_object(), live, managers, "before-first-apply", by)?;
        &before
    } else {
        managers
    };
    // As upstream: a list that cannot be read is none, and may yet fail to fit the schema.
    if !matches!(Stated::of(config), Stated::Nothing) {
        return Err(Error::ManagedFields);
    }
    check(
        "failed to create typed patch object",
        config,
        by,
        Duplicates::Refused,
    )?;
    check(
        "failed to create typed live object",
        live,
        by,
        Duplicates::Allowed,
    )?;
    let id = by.id(by.manager, Operation::Apply);
    let (object, mut managers) = by.write().apply(live, config, managers, &id, force)?;
    if let Some(owned) = managers.owners.get_mut(&id) {
        owned.fields = owned.fields.difference(&never_owned());
        if owned.fields.is_empty() {
            managers.owners.remove(&id);
        }
    }
    let mut object = match object {
        Some(object) => {
            managers.times.insert(id, by.now);
            object
        }
        None => live.clone(),
    };
    managers::clear(&mut object);
    Ok((object, managers))
}

/// What tells one object from another and what the server sets has no owner.
fn never_owned() -> FieldSet {
    let top = ["apiVersion", "kind", "metadata"];
    let metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let top = top.iter().map(|name| Path::of_fields(&[name]));
    let metadata = metadata
        .iter()
        .map(|name| Path::of_fields(&["metadata", name]));
    top.chain(metadata).collect()
}

fn check(
    step: &'static str,
    object: &Value,
    by: &Writer<'_>,
    duplicates: Duplicates,
) -> Result<(), Error> {
    typed::validate(by.root(), object, duplicates).map_err(|errors| Error::Typed {
        step,
        object: described(object),
        errors,
    })
}

/// As upstream names an object: `default/web; apps/v1, Kind=Deployment`.
fn described(object: &Value) -> String {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
    format!("{namespace}/{name}; {}", version_and_kind(object))
}

fn version_and_kind(object: &Value) -> String {
    let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{slash}{version}, Kind={kind}")
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests;
