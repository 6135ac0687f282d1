//! The request that is judged, and how expressions see it.

use super::authorizer;
use super::evaluate::Variables;
use super::matching::Place;
use crate::error::{About, ApiError};
use crate::object::Object;
use crate::registry::Resource;
use crate::schema::cel::plain;
use crate::serve::{ApiServer, ResourceAttributes, User};
use kube_cel::cel::Value as CelValue;
use serde_json::{Map, Value, json};

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// A write that is about to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) user: &'a User,
    pub(crate) operation: Operation,
    pub(crate) resource: &'a Resource,
    /// The version that is asked for.
    pub(crate) version: &'a str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    /// Empty for kinds without.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Absent when it is deleted.
    pub(crate) object: Option<&'a Object>,
    /// Absent when it is created.
    pub(crate) old: Option<&'a Object>,
    pub(crate) dry_run: bool,
}

impl Operation {
    /// As rules and expressions name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

impl Write<'_> {
    /// Whether it is about namespaces themselves.
    pub(super) fn is_of_namespaces(&self) -> bool {
        self.resource.group.is_empty() && self.resource.plural == "namespaces"
    }

    /// The namespace; that of a namespace is itself.
    pub(super) fn place(&self) -> &str {
        match self.is_of_namespaces() {
            true => self.name,
            false => self.namespace,
        }
    }

    /// The variable `request`, for a policy that is about `version` of the resource.
    pub(super) fn value(&self, version: &str) -> CelValue {
        let (group, plural) = (&self.resource.group, &self.resource.plural);
        let kind = |version: &str| match self.subresource {
            "scale" => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
            _ => json!({"group": group, "version": version, "kind": self.resource.kind}),
        };
        let resource =
            |version: &str| json!({"group": group, "version": version, "resource": plural});
        let mut options = json!({"apiVersion": "meta.k8s.io/v1", "kind": self.operation.options()});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let mut request = json!({
            "kind": kind(version), "resource": resource(version),
            "requestKind": kind(self.version), "requestResource": resource(self.version),
            "operation": self.operation.name(), "userInfo": user_info(self.user),
            "dryRun": self.dry_run, "options": options,
        });
        for (field, text) in [
            ("subResource", self.subresource),
            ("requestSubResource", self.subresource),
            ("name", self.name),
            ("namespace", self.place()),
        ] {
            if !text.is_empty() {
                request[field] = text.into();
            }
        }
        plain(&request)
    }
}

fn user_info(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), user.name.as_str().into());
    if !user.groups.is_empty() {
        info.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        info.insert("extra".into(), json!(user.extra));
    }
    info.into()
}

/// An object, or null, in a version.
pub(super) fn object(found: Option<&Object>, api_version: &str) -> CelValue {
    let Some(found) = found else {
        return CelValue::Null;
    };
    if found.api_version() == api_version || found.kind() == "Scale" {
        return plain(found.as_value());
    }
    let mut converted = found.clone();
    let fields = converted.fields_mut();
    fields.insert("apiVersion".into(), api_version.into());
    plain(converted.as_value())
}

/// The values of all variables but the parameters, for a policy that is about `version`.
///
/// # Errors
/// When the namespace is not there or cannot be read.
pub(super) async fn variables_of(
    server: &ApiServer,
    write: &Write<'_>,
    version: &str,
    place: &mut Place<'_>,
) -> Result<Variables, ApiError> {
    let api_version = write.resource.api_version(version);
    let namespace = if write.place().is_empty() || write.is_of_namespaces() {
        CelValue::Null
    } else {
        let found = place.namespace().await.map_err(ApiError::internal)?;
        let missing = || {
            ApiError::not_found(About {
                group: "",
                what: "namespaces",
                name: write.place(),
            })
        };
        namespace_value(found.ok_or_else(missing)?)
    };
    let checked = ResourceAttributes {
        verb: "",
        group: &write.resource.group,
        resource: &write.resource.plural,
        subresource: write.subresource,
        namespace: write.place(),
        name: write.name,
    };
    Ok(Variables {
        object: object(write.object, &api_version),
        old_object: object(write.old, &api_version),
        request: write.value(version),
        namespace,
        params: CelValue::Null,
        authorizer: authorizer::values(server.authorizer(), write.user, &checked),
    })
}

/// What expressions see of a namespace: it is read as a typed object, which does not say of which
/// type.
fn namespace_value(namespace: &Object) -> CelValue {
    let mut seen = namespace.clone();
    for hidden in ["managedFields", "ownerReferences", "selfLink"] {
        seen.meta_mut().remove(hidden);
    }
    for hidden in ["apiVersion", "kind"] {
        seen.fields_mut().remove(hidden);
    }
    plain(seen.as_value())
}
