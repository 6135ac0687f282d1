//! The Kubernetes-style face of the management API: [`apiserver`] with the kinds of this server.

mod client;
mod kinds;
mod migrate;
mod namespaces;
mod reviews;
mod roles;
mod settings;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use apiserver::cache::Cache;
use apiserver::crd::{self, Definitions};
use apiserver::policy::{self, Policies};
use apiserver::rbac::{self, Rbac};
use apiserver::registry::Served;
use apiserver::review::{self, Tokens};
use apiserver::serve::{ApiServer, Authorizer, Trail, User};
use apiserver::{builtin, garbage, keys};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use hyper::body::Incoming;
use serde_json::json;
use store::Store;
use tokio_util::sync::CancellationToken;

pub(crate) use client::{answered, client, failure};
pub(crate) use kinds::{Context, kept_secret};
pub(crate) use migrate::run as migrate;
pub(crate) use settings::GENERATE_TOKEN;
pub use settings::{NotANumber, Number};

use crate::audit::{Audit, Captured, Level};
use crate::authn::{Directory, Identity, PASSWORDS};
use crate::authz::{AUTHENTICATED, Access, until_less};
use crate::config::{Config, Limits};
use crate::edge::{Body, CertificateKeeper};
use crate::state::App;

/// The prefixes of the keys of all that is secret: it is to be sealed in the store.
pub(crate) fn secret_prefixes() -> Vec<Bytes> {
    let built_in = builtin::secret().map(|(group, plural)| keys::resource(group, plural));
    let passwords = [PASSWORDS.to_owned()];
    let all = built_in.chain(kinds::secret_prefixes()).chain(passwords);
    all.map(Bytes::from).collect()
}

/// Starts a server of the management API's objects: the cache, and what keeps them in order. Roles
/// and bindings are those of `rbac`.
pub(crate) async fn start(
    context: Context,
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
    limits: &Limits,
    shutdown: CancellationToken,
) -> anyhow::Result<Arc<ApiServer>> {
    let store = Arc::clone(&context.store);
    tokio::spawn(rbac.clone().follow(Arc::clone(&store)));
    let cache = Arc::new(Cache::new(store));
    let following = Arc::clone(&cache);
    tokio::spawn(async move { following.follow().await });
    let served = Served::default();
    let policies = Policies::default();
    let definitions = Definitions::new(served.clone());
    let clock = context.clock.clone();
    let tokens: Arc<dyn Tokens> = Arc::<Directory>::clone(&context.directory);
    let mut resources = builtin::resources();
    resources.extend(kinds::resources(Some(context))?);
    resources.extend(review::resources(&authorizer, &tokens));
    let sealed = secret_prefixes();
    for resource in resources.iter().filter(|resource| resource.secret) {
        let prefix = keys::resource(&resource.group, &resource.plural);
        ensure!(
            sealed.contains(&Bytes::from(prefix)),
            "{} are not sealed",
            resource.plural
        );
    }
    let registered = served.clone();
    served.change(|registry| {
        for mut resource in resources {
            if (resource.group.as_str(), resource.plural.as_str()) == (crd::GROUP, crd::PLURAL) {
                resource.hooks = Arc::new(definitions.clone());
            }
            let resource = rbac::guard(resource, &rbac, &authorizer);
            let resource = policy::guard(resource, &policies, &registered, &authorizer);
            registry.insert(resource);
        }
    });
    let clock = Arc::new(move || clock.now());
    let server = ApiServer::new(served, cache, authorizer, clock, shutdown);
    let server = server
        .with_policies(policies)
        .with_limits(limits.api)
        .with_body_timeout(limits.body);
    let server = Arc::new(server);
    tokio::spawn(crd::follow(Arc::clone(&server), definitions.clone()));
    definitions.known().await;
    tokio::spawn(rbac::aggregate(Arc::clone(&server), rbac));
    Ok(server)
}

/// Removes what is not wanted any more, for as long as the server lives. It begins with all that there is, which nobody
/// should wait for.
pub(crate) fn tidy(server: &Arc<ApiServer>) {
    tokio::spawn(garbage::collect(Arc::clone(server)));
    tokio::spawn(apiserver::namespaces::follow(Arc::clone(server)));
}

/// Makes what every server has, where it is missing. All at once: a store writes together what comes
/// together.
///
/// # Errors
/// When the store fails.
pub(crate) async fn furnish(
    api: &ApiServer,
    client: &kube::Client,
    config: &Config,
    certificates: &CertificateKeeper,
) -> anyhow::Result<()> {
    let cluster_roles = async {
        let made = rbac::reconcile(api).await;
        made.context("cannot make the default roles of Kubernetes")
    };
    let roles = async {
        let made = roles::ensure(client).await;
        made.context("cannot make the default roles")
    };
    let namespaces = async {
        let made = namespaces::ensure(client).await;
        made.context("cannot make the namespaces")
    };
    let settings = async {
        let made = settings::ensure(client, config, certificates).await;
        made.context("cannot write the settings")
    };
    futures::try_join!(cluster_roles, roles, namespaces, settings).map(drop)
}

/// Lets policies decide about writes. Not before [`furnish`]: none may keep the server from what it
/// needs to start.
///
/// # Errors
/// When the store fails.
pub(crate) async fn enforce_policies(
    api: &Arc<ApiServer>,
    store: Arc<dyn Store>,
) -> Result<(), store::Error> {
    let policies = api.policies();
    policies.load(&*store).await?;
    tokio::spawn(policies.clone().follow(store));
    tokio::spawn(policy::observe(Arc::clone(api), policies.clone()));
    Ok(())
}

/// The kinds of the management API as CustomResourceDefinitions, for another API server or for tools
/// that check manifests: a list that kubectl applies.
///
/// # Errors
/// When a kind cannot be described; a test describes all of them.
pub fn definitions() -> anyhow::Result<serde_json::Value> {
    let definitions: Vec<_> = kinds::resources(None)?
        .iter()
        .map(crd::definition)
        .collect();
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": definitions}))
}

/// Answers requests under `/api`, `/apis` and `/openapi`. A watch ends in order when the user's token
/// does, or when something is taken away from the user.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: Request<Incoming>,
    who: Identity,
    audit: &Audit,
) -> Response<Body> {
    let received = audit.clone();
    let request = request.map(|body| {
        body.map_frame(move |frame| {
            received.add_received(frame.data_ref().map_or(0, |data| data.len() as u64));
            frame
        })
    });
    let since = app.directory.access(Access::changes);
    let mut answer = app.api.answer(user(&who), request).await;
    if let Some(trail) = answer.extensions_mut().remove::<Trail>() {
        record(&trail, audit);
    }
    let app = Arc::clone(app);
    let answer = answer.map(|body| {
        if body.size_hint().exact().is_some() {
            return body.map_err(|never| match never {}).boxed_unsync();
        }
        let ended = async move { until_less(&app, &who, since).await };
        let frames = BodyStream::new(body).take_until(Box::pin(ended));
        let frames = frames.map(|frame| frame.map_err(|never| match never {}));
        StreamBody::new(frames).boxed_unsync()
    });
    match audit.wants_answer() {
        true => answer.map(|body| Captured::new(body, audit.clone()).boxed_unsync()),
        false => answer,
    }
}

/// Notes in an audit record what the API server found out about a request.
pub(crate) fn record(trail: &Trail, audit: &Audit) {
    if let Some(decided) = &trail.decision {
        audit.set_decision(decided.allowed, &decided.reason);
    }
    for (name, value) in &trail.annotations {
        audit.annotate(name.clone(), value.clone());
    }
    if let Some(sent) = &trail.sent
        && !sent.is_empty()
        && audit.level() >= Level::Request
    {
        audit.set_request_body(sent);
    }
}

/// Somebody as the API server knows users.
pub(crate) fn user(who: &Identity) -> User {
    let mut extra = who.extra.clone();
    if let Some(cluster) = &who.only_cluster {
        extra.insert(crate::authz::ONLY_CLUSTER.into(), vec![cluster.to_string()]);
    }
    let mut groups = who.groups.clone();
    groups.push(AUTHENTICATED.to_owned());
    groups.extend(who.provider_groups.iter().cloned());
    User {
        name: who.user.to_string(),
        groups,
        extra,
    }
}

/// Answers `/version`.
pub(crate) fn version() -> Response<Body> {
    let version = env!("CARGO_PKG_VERSION");
    // kubectl compares itself with a version of Kubernetes; the API follows this one.
    let value = json!({
        "major": "1",
        "minor": "35",
        "gitVersion": format!("v1.35.0+lariat.{version}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    crate::edge::json(StatusCode::OK, &value)
}
