//! The variable `authorizer`: what the user of a request may do, asked by expressions.

#![allow(
    clippy::needless_pass_by_value,
    reason = "the interpreter calls functions with values"
)]

use crate::schema::cel::{afford, all_functions};
use crate::serve::{Attributes, Authorizer, Decision, ResourceAttributes, User};
use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::{Opaque, ResolveResult};
use kube_cel::cel::{Context, ExecutionError, Value};
use std::any::Any;
use std::sync::{Arc, LazyLock};

/// The variable of a check of the resource of the request.
pub(super) const REQUEST_RESOURCE: &str = "authorizer.requestResource";

/// What a check costs, as in Kubernetes.
const PER_CHECK: i64 = 350_000;

/// All functions of the expressions of policies.
pub(super) static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = all_functions();
    context.add_function("path", path);
    context.add_function("group", group);
    context.add_function("resource", resource);
    context.add_function("subresource", subresource);
    context.add_function("namespace", namespace);
    context.add_function("name", name);
    // Roles know no selectors, so that a check with one is the check without.
    context.add_function("fieldSelector", selector);
    context.add_function("labelSelector", selector);
    context.add_function("serviceAccount", service_account);
    context.add_function("check", check);
    context.add_function("allowed", allowed);
    context.add_function("reason", reason);
    context.add_function("errored", |This(this): This<Arc<dyn Opaque>>| {
        decided(&this).map(|_| Value::Bool(false))
    });
    context.add_function("error", |This(this): This<Arc<dyn Opaque>>| {
        decided(&this).map(|_| Value::String(Arc::default()))
    });
    context
});

/// What is to be asked of whom, as far as an expression has said.
#[derive(Clone, Debug)]
struct Check {
    authorizer: Arc<dyn Authorizer>,
    user: User,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Nothing,
    Path(String),
    Group(String),
    Resource(ResourceCheck),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ResourceCheck {
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decided {
    allowed: bool,
    reason: String,
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        (&self.user, &self.what) == (&other.user, &other.what)
    }
}

impl Eq for Check {}

impl Opaque for Check {
    fn runtime_type_name(&self) -> &str {
        match self.what {
            What::Nothing => "kubernetes.authorization.Authorizer",
            What::Path(_) => "kubernetes.authorization.PathCheck",
            What::Group(_) => "kubernetes.authorization.GroupCheck",
            What::Resource(_) => "kubernetes.authorization.ResourceCheck",
        }
    }
}

impl Opaque for Decided {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Decision"
    }
}

/// The values of `authorizer` and of `authorizer.requestResource`.
pub(super) fn values(
    authorizer: &Arc<dyn Authorizer>,
    user: &User,
    request: &ResourceAttributes<'_>,
) -> [Value; 2] {
    let value = |what| {
        Value::Opaque(Arc::new(Check {
            authorizer: Arc::clone(authorizer),
            user: user.clone(),
            what,
        }))
    };
    let resource = ResourceCheck {
        group: request.group.to_owned(),
        resource: request.resource.to_owned(),
        subresource: request.subresource.to_owned(),
        namespace: request.namespace.to_owned(),
        name: request.name.to_owned(),
    };
    [value(What::Nothing), value(What::Resource(resource))]
}

fn found<T: Any>(this: &Arc<dyn Opaque>) -> Result<&T, ExecutionError> {
    this.downcast_ref::<T>()
        .ok_or(ExecutionError::NoSuchOverload)
}

fn decided(this: &Arc<dyn Opaque>) -> Result<&Decided, ExecutionError> {
    found(this)
}

fn next(this: &Arc<dyn Opaque>, what: What) -> ResolveResult {
    let check = Check {
        what,
        ..found::<Check>(this)?.clone()
    };
    Ok(Value::Opaque(Arc::new(check)))
}

fn path(This(this): This<Arc<dyn Opaque>>, path: Arc<String>) -> ResolveResult {
    match &found::<Check>(&this)?.what {
        What::Nothing if path.is_empty() => {
            let why = "path must not be empty";
            Err(ExecutionError::function_error("path", why))
        }
        What::Nothing => next(&this, What::Path(path.to_string())),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn group(This(this): This<Arc<dyn Opaque>>, group: Arc<String>) -> ResolveResult {
    match &found::<Check>(&this)?.what {
        What::Nothing => next(&this, What::Group(group.to_string())),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn resource(This(this): This<Arc<dyn Opaque>>, resource: Arc<String>) -> ResolveResult {
    match &found::<Check>(&this)?.what {
        What::Group(group) => {
            let check = ResourceCheck {
                group: group.clone(),
                resource: resource.to_string(),
                ..ResourceCheck::default()
            };
            next(&this, What::Resource(check))
        }
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn refined(this: &Arc<dyn Opaque>, refine: impl FnOnce(&mut ResourceCheck)) -> ResolveResult {
    match &found::<Check>(this)?.what {
        What::Resource(check) => {
            let mut check = check.clone();
            refine(&mut check);
            next(this, What::Resource(check))
        }
        _ => Err(ExecutionError::NoSuchOverload),
    }
}

fn subresource(This(this): This<Arc<dyn Opaque>>, part: Arc<String>) -> ResolveResult {
    refined(&this, |check| check.subresource = part.to_string())
}

fn namespace(This(this): This<Arc<dyn Opaque>>, namespace: Arc<String>) -> ResolveResult {
    refined(&this, |check| check.namespace = namespace.to_string())
}

fn name(This(this): This<Arc<dyn Opaque>>, name: Arc<String>) -> ResolveResult {
    refined(&this, |check| check.name = name.to_string())
}

fn selector(This(this): This<Arc<dyn Opaque>>, _selector: Arc<String>) -> ResolveResult {
    refined(&this, |_| {})
}

fn service_account(
    This(this): This<Arc<dyn Opaque>>,
    namespace: Arc<String>,
    name: Arc<String>,
) -> ResolveResult {
    let check = found::<Check>(&this)?;
    if check.what != What::Nothing {
        return Err(ExecutionError::NoSuchOverload);
    }
    let user = User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        ..User::default()
    };
    Ok(Value::Opaque(Arc::new(Check {
        user,
        ..check.clone()
    })))
}

fn check(This(this): This<Arc<dyn Opaque>>, verb: Arc<String>) -> ResolveResult {
    afford(PER_CHECK)?;
    let check = found::<Check>(&this)?;
    let what = match &check.what {
        What::Path(path) => Attributes::Path { verb: &verb, path },
        What::Resource(what) => Attributes::Resource(ResourceAttributes {
            verb: &verb,
            group: &what.group,
            resource: &what.resource,
            subresource: &what.subresource,
            namespace: &what.namespace,
            name: &what.name,
        }),
        What::Nothing | What::Group(_) => return Err(ExecutionError::NoSuchOverload),
    };
    let decided = match check.authorizer.authorize(&check.user, &what) {
        _ if check.user.is_master() => Decided {
            allowed: true,
            reason: String::new(),
        },
        Decision::Allow => Decided {
            allowed: true,
            reason: String::new(),
        },
        Decision::AllowAs(reason) => Decided {
            allowed: true,
            reason,
        },
        // Some objects are not all that are asked for.
        Decision::AllowSome(_) => Decided {
            allowed: false,
            reason: String::new(),
        },
        Decision::Deny(reason) => Decided {
            allowed: false,
            reason,
        },
    };
    Ok(Value::Opaque(Arc::new(decided)))
}

fn allowed(This(this): This<Arc<dyn Opaque>>) -> ResolveResult {
    decided(&this).map(|decided| Value::Bool(decided.allowed))
}

fn reason(This(this): This<Arc<dyn Opaque>>) -> ResolveResult {
    decided(&this).map(|decided| Value::String(Arc::new(decided.reason.clone())))
}
