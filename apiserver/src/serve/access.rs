//! Who may do what: the question and its answer.

use super::User;
use crate::cache::Visible;
use crate::error::{About, ApiError};
use crate::rbac::Rule;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// Something with a resource.
    Resource(ResourceAttributes<'a>),
    /// Something at a path that is no resource, for example `/version`.
    Path {
        /// The HTTP method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// What somebody wants to do with a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceAttributes<'a> {
    /// What: a [`Verb`](crate::request::Verb), or another word that rules may name, such as `bind`.
    pub verb: &'a str,
    /// API group of the resource; empty for the core group.
    pub group: &'a str,
    /// Its plural. It need not be served.
    pub resource: &'a str,
    /// With which part of it; empty for the object itself.
    pub subresource: &'a str,
    /// In which namespace; empty for all.
    pub namespace: &'a str,
    /// With which object; empty for all.
    pub name: &'a str,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync + std::fmt::Debug {
    /// Decides.
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision;

    /// The rules that hold for a user everywhere and in a namespace, as far as there are any.
    fn rules(&self, _user: &User, _namespace: &str) -> Rules {
        Rules {
            incomplete: true,
            ..Rules::default()
        }
    }
}

/// May somebody do that?
#[derive(Clone, Debug)]
pub enum Decision {
    /// Yes.
    Allow,
    /// Yes, and why.
    AllowAs(String),
    /// To list and to watch the objects for which this holds.
    AllowSome(Visible),
    /// No, and why.
    Deny(String),
}

/// What somebody may do, as rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Whether more is allowed than they say.
    pub incomplete: bool,
    /// What went wrong when they were looked up; empty if nothing did.
    pub error: String,
}

/// The refusal of a request, in kube-apiserver's words.
pub(super) fn refusal(user: &User, what: &Attributes<'_>, why: &str) -> ApiError {
    let why = match why {
        "" => String::new(),
        why => format!(": {why}"),
    };
    let (about, said) = match what {
        Attributes::Path { verb, path } => {
            let about = About {
                group: "",
                what: "",
                name: "",
            };
            (about, format!("cannot {verb} path {path:?}"))
        }
        Attributes::Resource(what) => {
            let about = About {
                group: what.group,
                what: what.resource,
                name: what.name,
            };
            (about, on_resource(what))
        }
    };
    let said = harmless(&format!("User {:?} {said}", user.name));
    ApiError::forbidden(about, &format!("{said}{why}"))
}

fn on_resource(what: &ResourceAttributes<'_>) -> String {
    let resource = match what.subresource {
        "" => what.resource.to_owned(),
        subresource => format!("{}/{subresource}", what.resource),
    };
    let place = match what.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "cannot {} resource {resource:?} in API group {:?} {place}",
        what.verb, what.group
    )
}

/// A browser finds no HTML in it.
fn harmless(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
