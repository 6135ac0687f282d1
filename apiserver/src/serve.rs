//! The server: requests in, answers out.

mod access;
mod admission;
mod answer;
mod body;
mod delete;
mod discovery;
mod metadata;
mod method;
mod notes;
mod openapi;
mod own;
mod pipeline;
mod read;
mod scale;
mod trail;
mod watch;
mod write;

pub use access::{Attributes, Authorizer, Decision, ResourceAttributes, Rules};
pub use body::Body;
pub(crate) use own::is_settled;
pub use trail::{Decided, Trail};

use crate::builtin;
use crate::cache::{Cache, KindCache, Visible};
use crate::error::{About, ApiError};
use crate::flow::{Flow, Limits};
use crate::media::Wanted;
use crate::metrics::Metrics;
use crate::policy::Policies;
use crate::registry::{Registry, Resource, Served, Version};
use crate::request::{ListOptions, Target, Verb};
use crate::{keys, names, namespaces};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use jiff::Timestamp;
use notes::Notes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::Txn;
use tokio_util::sync::CancellationToken;

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name, as authorisation and audit know it.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// More about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group whose members may do everything. No client is ever in it.
const MASTERS: &str = "system:masters";

impl User {
    /// The server itself.
    #[must_use]
    pub fn server() -> Self {
        Self {
            name: "system:apiserver".into(),
            groups: vec![MASTERS.into()],
            extra: BTreeMap::new(),
        }
    }

    /// Whether the user may do everything.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A Kubernetes-style API server.
pub struct ApiServer {
    registry: Served,
    openapi: openapi::OpenApi,
    cache: Arc<Cache>,
    authorizer: Arc<dyn Authorizer>,
    policies: Policies,
    clock: Clock,
    shutdown: CancellationToken,
    body_timeout: Duration,
    flow: Flow,
    metrics: Metrics,
}

/// What came with a request that writes.
struct Sent {
    headers: HeaderMap,
    body: Bytes,
}

/// Is written together with what a request writes, or not at all. For requests that are made in
/// process, in whose extensions it is.
#[derive(Clone, Debug, Default)]
pub struct Beside(pub Txn);

/// Policies are not asked about a request that is made in process and has this in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Unjudged;

/// A request for a resource that is served.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) user: User,
    pub(crate) verb: Verb,
    pub(crate) resource: Arc<Resource>,
    pub(crate) version: Arc<Version>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) query: String,
    pub(crate) wanted: Wanted,
    /// The resource under which its objects are kept: mostly `resource` itself.
    kept: Arc<Resource>,
    /// Which objects the user sees.
    pub(crate) visible: Visible,
    pub(crate) beside: Beside,
    /// Whether policies are asked about what it writes.
    judged: bool,
    /// What the client and the audit log are told besides the answer.
    notes: Arc<Notes>,
}

impl ApiServer {
    /// A server of the objects in `cache`, which somebody must [follow](Cache::follow). Watches end
    /// when `shutdown` is cancelled.
    #[must_use]
    pub fn new(
        registry: Served,
        cache: Arc<Cache>,
        authorizer: Arc<dyn Authorizer>,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            openapi: openapi::OpenApi::new(registry.now()),
            registry,
            cache,
            authorizer,
            policies: Policies::default(),
            clock,
            shutdown,
            body_timeout: BODY_TIMEOUT,
            flow: Flow::new(Limits::default()),
            metrics: Metrics::default(),
        }
    }

    /// The same, but users get so much of it.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self {
            flow: Flow::new(limits),
            ..self
        }
    }

    /// The same with policies that decide about writes.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// Lets a registry show what the server counts. It must give names no prefix: they are those of
    /// kube-apiserver.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry, &self.cache, &self.flow);
    }

    /// The same, but the body of a request may take so long.
    #[must_use]
    pub fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self {
            body_timeout,
            ..self
        }
    }

    /// Waits until everything up to `revision` is known. Returns whether that was so within
    /// `patience`.
    pub async fn has_seen(&self, revision: u64, patience: Duration) -> bool {
        self.cache.wait_for(revision, patience).await
    }

    /// The resources that are served now.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.now()
    }

    /// What a request asks for, if it may.
    async fn call(
        &self,
        user: User,
        target: Target,
        request: &Parts,
        trail: &mut Trail,
    ) -> Result<Call, ApiError> {
        let query = request.uri.query().unwrap_or_default();
        let verb = target.verb(&request.method, query);
        let Target::Resource {
            group,
            version,
            namespace,
            resource,
            name,
            subresource,
            deeper: false,
            watch: _,
        } = target
        else {
            return Err(ApiError::no_such_path());
        };
        let registry = self.registry();
        let object = name.as_deref().unwrap_or_default();
        let names: [&str; 4] = [&group, &version, &resource, object];
        let (resource, version) = method::served(&registry, names, subresource.as_deref())?;
        let verb = method::verb(resource, &request.method, name.is_some(), verb)?;
        method::check_place(resource, namespace.is_some(), name.is_some(), verb)?;
        let of_parts = matches!(verb, Verb::Get | Verb::Update | Verb::Patch);
        let is_kept = namespaces::are(resource) && verb == Verb::DeleteCollection;
        if (subresource.is_some() && !of_parts) || is_kept {
            return Err(method::not_allowed(resource, verb.as_str()));
        }
        let (kept_group, kept_plural) = builtin::kept_as(resource);
        let kept = registry.get(kept_group, kept_plural).unwrap_or(resource);
        let mut call = Call {
            user,
            verb,
            resource: Arc::clone(resource),
            version: Arc::clone(version),
            namespace,
            name,
            subresource,
            query: query.to_owned(),
            wanted: Wanted::of(&request.headers, verb == Verb::Watch, resource.built_in)?,
            kept: Arc::clone(kept),
            visible: Visible::default(),
            beside: request.extensions.get().cloned().unwrap_or_default(),
            judged: request.extensions.get::<Unjudged>().is_none(),
            notes: Arc::default(),
        };
        trail.follow(&call, &request.headers);
        call.visible = self.authorize(&call, trail)?;
        Ok(call)
    }

    fn authorize(&self, call: &Call, trail: &mut Trail) -> Result<Visible, ApiError> {
        let name = call.name.as_deref().unwrap_or_default();
        let asked = call.asked_name();
        let what = ResourceAttributes {
            verb: call.verb.as_str(),
            group: &call.resource.group,
            resource: &call.resource.plural,
            subresource: call.subresource.as_deref().unwrap_or_default(),
            // Who may read what is in a namespace may be given the namespace itself the same way.
            namespace: match &call.namespace {
                None if namespaces::are(&call.resource) => name,
                namespace => namespace.as_deref().unwrap_or_default(),
            },
            name: asked.as_deref().unwrap_or(name),
        };
        self.allow(&call.user, &Attributes::Resource(what), trail)
    }

    /// Whether who may patch an object may also make it.
    fn authorize_creation(&self, call: &Call) -> Result<(), ApiError> {
        let verb = Verb::Create;
        let creation = Call {
            verb,
            ..call.clone()
        };
        self.authorize(&creation, &mut Trail::default()).map(drop)
    }

    /// Whether somebody may do that, and with which objects of a list.
    fn allow(
        &self,
        user: &User,
        what: &Attributes<'_>,
        trail: &mut Trail,
    ) -> Result<Visible, ApiError> {
        let (allowed, visible, reason) = match user.is_master() {
            true => (true, Visible::default(), String::new()),
            false => match self.authorizer.authorize(user, what) {
                Decision::Allow => (true, Visible::default(), String::new()),
                Decision::AllowAs(reason) => (true, Visible::default(), reason),
                Decision::AllowSome(visible) => (true, visible, String::new()),
                Decision::Deny(why) => (false, Visible::default(), why),
            },
        };
        let refusal = (!allowed).then(|| access::refusal(user, what, &reason));
        trail.decision = Some(Decided { allowed, reason });
        refusal.map_or(Ok(visible), Err)
    }

    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The policies that decide about writes.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(crate) fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.authorizer
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("registry", &self.registry())
            .finish_non_exhaustive()
    }
}

impl Call {
    /// The same for one object of the collection.
    pub(crate) fn for_object(&self, namespace: &str, name: &str) -> Self {
        Self {
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// What the keys of its objects begin with.
    fn prefix(&self) -> String {
        keys::resource(&self.kept.group, &self.kept.plural)
    }

    /// All objects of the resource.
    async fn kind(&self, cache: &Cache) -> Result<Arc<KindCache>, ApiError> {
        let Resource { group, plural, .. } = &*self.kept;
        Ok(cache.kind(group, plural, &self.kept.selectable()).await?)
    }

    /// The only name that a list or a watch can find. Parsed as it is when the request is carried
    /// out, so that nothing else is allowed than what is done.
    fn asked_name(&self) -> Option<String> {
        if !matches!(self.verb, Verb::List | Verb::Watch) {
            return None;
        }
        let options = ListOptions::parse(&self.query).ok()?;
        let name = options.fields.wanted("metadata.name")?;
        names::path_segment(name).is_ok().then(|| name.to_owned())
    }

    /// What failures are about.
    pub(crate) fn about<'a>(&'a self, name: &'a str) -> About<'a> {
        About {
            group: &self.resource.group,
            what: &self.resource.plural,
            name,
        }
    }

    /// Whether objects are answered as they are stored.
    pub(crate) fn is_as_stored(&self) -> bool {
        let is_stored_version = self.version.name == self.resource.storage;
        is_stored_version && !self.version.evolved && !builtin::is_shared(&self.resource)
    }
}
