//! The audit log: who did what, where from, with which answer. Requests to the management API and
//! those that go on to clusters are in one log, as events of Kubernetes.

mod body;
mod event;
mod log;
mod policy;
mod rotation;
mod sink;
mod webhook;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use lariat_api::{AuthConfigType, ClusterId};
use serde_json::Value;

pub(crate) use body::Captured;
pub use policy::{Level, Policy, Stage};
pub use sink::{AuditSink, Counts};

use crate::authn::Identity;
use crate::authz::Action;
use crate::kube_proxy::{Course, Permit};
use event::{Empty, Event, ObjectReference, ResponseStatus, UserInfo};
use policy::{Attributes, Wanted};

/// Annotations of events, besides those that admission may add.
const CLUSTER: &str = "audit.lariat.internal/cluster";
const VIA: &str = "audit.lariat.internal/via";
const TRACE: &str = "audit.lariat.internal/trace-id";
const RECORDING: &str = "audit.lariat.internal/recording";
const RECEIVED: &str = "audit.lariat.internal/received-bytes";
const SENT: &str = "audit.lariat.internal/sent-bytes";
const LOGIN_PROVIDER: &str = "audit.lariat.internal/login-provider";
const LOGIN_NAME: &str = "audit.lariat.internal/login-name";
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// So much of a name that somebody tries to log in with is recorded, in characters.
const MAX_LOGIN_NAME: usize = 128;

/// The record of one request. The line is written when the last clone is dropped: whoever works
/// for the request (the body of its answer, the two directions of an upgrade) holds one.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Record>);

#[derive(Debug)]
struct Record {
    sink: AuditSink,
    started: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    /// What the request counts against, for as long as somebody works for it.
    permit: OnceLock<Permit>,
    /// Where it is on its way to a cluster.
    course: OnceLock<Course>,
    known: Mutex<Known>,
}

/// What is known of a request.
#[derive(Debug)]
struct Known {
    time: Timestamp,
    id: String,
    from: IpAddr,
    uri: String,
    user_agent: String,
    user: Option<UserInfo>,
    verb: String,
    object: Option<ObjectReference>,
    goes_on: bool,
    status: u16,
    reason: String,
    message: String,
    request_object: Option<Value>,
    response_object: Option<Value>,
    annotations: BTreeMap<Cow<'static, str>, String>,
}

/// What is known of a request at its beginning.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    /// Request id.
    pub id: &'a str,
    /// Address of the client.
    pub from: IpAddr,
    /// Method.
    pub method: &'a str,
    /// Path and query, without secrets.
    pub uri: String,
    /// What the client says it is.
    pub user_agent: &'a str,
}

impl Audit {
    /// Begins the record of a request. `uri` must not hold a secret.
    #[must_use]
    pub fn begin(sink: &AuditSink, now: Timestamp, request: Begin<'_>) -> Self {
        Self(Arc::new(Record {
            sink: sink.clone(),
            started: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            permit: OnceLock::new(),
            course: OnceLock::new(),
            known: Mutex::new(Known {
                time: now,
                id: request.id.to_owned(),
                from: request.from,
                uri: request.uri,
                user_agent: request.user_agent.to_owned(),
                user: None,
                verb: request.method.to_ascii_lowercase(),
                object: None,
                goes_on: false,
                status: 0,
                reason: String::new(),
                message: String::new(),
                request_object: None,
                response_object: None,
                annotations: BTreeMap::new(),
            }),
        }))
    }

    /// Who it is. What is done must be known by then.
    pub fn set_identity(&self, identity: &Identity) {
        self.set_user(identity);
        self.0.record(Stage::RequestReceived);
    }

    /// Who has just logged in, by the token that was made. Nobody was known when the request came.
    pub fn set_logged_in(&self, identity: &Identity) {
        self.set_user(identity);
    }

    fn set_user(&self, identity: &Identity) {
        let user = UserInfo {
            username: identity.user.to_string(),
            groups: identity.groups.clone(),
            extra: identity.extra.clone(),
        };
        self.with(|known| known.user = Some(user));
    }

    /// The login provider by which somebody tries to come.
    pub fn set_login_provider(&self, provider: AuthConfigType) {
        self.annotate(LOGIN_PROVIDER, provider.name().to_owned());
    }

    /// The name with which somebody tries to log in, whether there is such an account or not. Its first 128
    /// characters are recorded.
    pub fn set_login_name(&self, name: &str) {
        self.annotate(LOGIN_NAME, name.chars().take(MAX_LOGIN_NAME).collect());
    }

    /// Which cluster it goes to.
    pub fn set_cluster(&self, cluster: &ClusterId) {
        self.annotate(CLUSTER, cluster.to_string());
    }

    /// What is done to what, in the words of Kubernetes.
    pub fn set_action(&self, action: &Action) {
        self.with(|known| {
            known.verb = action.verb.to_owned();
            known.goes_on = action.is_long_running();
            known.object = ObjectReference::of(&action.target);
        });
    }

    /// By which path the cluster was reached, for example `cluster-agent`.
    pub fn set_via(&self, via: &'static str) {
        self.annotate(VIA, via.to_owned());
    }

    /// The trace that it is a part of.
    pub(crate) fn set_trace(&self, id: telemetry::TraceId) {
        self.annotate(TRACE, id.to_string());
    }

    /// The name of the recording of it.
    pub(crate) fn set_recording(&self, name: &str) {
        self.annotate(RECORDING, name.to_owned());
    }

    /// Whether it may be done, and why.
    pub fn set_decision(&self, allowed: bool, reason: &str) {
        let decision = if allowed { "allow" } else { "forbid" };
        self.annotate(DECISION, decision.to_owned());
        self.annotate(REASON, reason.to_owned());
    }

    /// Adds an annotation to the event.
    pub fn annotate(&self, name: impl Into<Cow<'static, str>>, value: String) {
        self.with(|known| drop(known.annotations.insert(name.into(), value)));
    }

    /// The status of the answer. What goes on for long begins now.
    pub fn set_status(&self, status: u16) {
        let goes_on = self.with(|known| {
            known.status = status;
            known.goes_on
        });
        if let Some(course) = self.0.course.get() {
            course.set_status(status);
        }
        if goes_on {
            self.0.record(Stage::ResponseStarted);
        }
    }

    /// Why it ended, in a sentence.
    pub fn set_reason(&self, message: &str) {
        self.with(|known| message.clone_into(&mut known.message));
    }

    /// Why it was refused or failed: the API's word, and a sentence.
    pub fn set_failure(&self, reason: &str, message: &str) {
        self.with(|known| {
            reason.clone_into(&mut known.reason);
            message.clone_into(&mut known.message);
        });
    }

    /// How much of it is recorded. What is done to what must be known by then.
    #[must_use]
    pub fn level(&self) -> Level {
        let known = self.0.lock();
        self.0
            .wanted(&known)
            .map_or(Level::None, |wanted| wanted.level)
    }

    /// Whether the body of the answer is recorded. That of what goes on for long is not.
    pub(crate) fn wants_answer(&self) -> bool {
        self.level() == Level::RequestResponse && !self.with(|known| known.goes_on)
    }

    /// What the client sent. It must not be a secret: see [`Self::level`].
    pub(crate) fn set_request_body(&self, body: &[u8]) {
        self.set_object(body::object_in(body), |known| &mut known.request_object);
    }

    /// What it was sent; `None`: it is too long.
    fn set_response_object(&self, object: Option<Value>) {
        self.set_object(object, |known| &mut known.response_object);
    }

    fn set_object(&self, object: Option<Value>, place: fn(&mut Known) -> &mut Option<Value>) {
        match object {
            Some(object) => self.with(|known| *place(known) = Some(object)),
            None => self.annotate(TRUNCATED, "true".to_owned()),
        }
    }

    /// So many bytes of body, or of an upgraded connection, came from the client.
    pub fn add_received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(course) = self.0.course.get() {
            course.add_received(bytes);
        }
        self.spend(bytes);
    }

    /// So many went to the client.
    pub fn add_sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
        if let Some(course) = self.0.course.get() {
            course.add_sent(bytes);
        }
        self.spend(bytes);
    }

    /// What the request counts against; given back when the last clone is dropped.
    pub(crate) fn hold(&self, permit: Permit) {
        // A request is admitted once.
        let _ = self.0.permit.set(permit);
    }

    /// Tells where the request is, until the last clone is dropped.
    pub(crate) fn follow(&self, course: Course) {
        // A request goes to one cluster.
        let _ = self.0.course.set(course);
    }

    fn spend(&self, bytes: u64) {
        if let Some(permit) = self.0.permit.get() {
            permit.spend(bytes);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.lock())
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is recorded. Bodies only of objects that are no secrets.
    fn wanted(&self, known: &Known) -> Option<Wanted<'_>> {
        let policy = self.sink.policy()?;
        let user = known.user.as_ref();
        let mut wanted = policy.of(&Attributes {
            user: user.map(|user| (user.username.as_str(), user.groups.as_slice())),
            verb: &known.verb,
            object: known.object.as_ref(),
            path: known.uri.split('?').next().unwrap_or_default(),
        });
        if known.object.as_ref().is_none_or(body::is_secret) {
            wanted.level = wanted.level.min(Level::Metadata);
        }
        Some(wanted)
    }

    /// Writes the line of a stage, if there is to be one.
    fn record(&self, stage: Stage) {
        let policy = self.sink.policy();
        if !policy.is_some_and(|policy| policy.may_have(stage)) {
            return;
        }
        let mut known = self.lock();
        let wanted = self.wanted(&known);
        let Some(wanted) = wanted.filter(|wanted| wanted.has(stage)) else {
            return;
        };
        if wanted.omit_managed_fields {
            let known = &mut *known;
            let request = known.request_object.iter_mut();
            let objects = request.chain(&mut known.response_object);
            objects.for_each(body::omit_managed_fields);
        }
        let mut annotations = known.annotations.clone();
        if stage == Stage::ResponseComplete {
            let count = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed).to_string();
            annotations.insert(RECEIVED.into(), count(&self.received));
            annotations.insert(SENT.into(), count(&self.sent));
        }
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
        let nobody = UserInfo::default();
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: wanted.level,
            audit_id: &known.id,
            stage,
            request_uri: &known.uri,
            verb: &known.verb,
            user: known.user.as_ref().unwrap_or(&nobody),
            source_ips: [known.from],
            user_agent: &known.user_agent,
            object_ref: known.object.as_ref(),
            response_status: (stage != Stage::RequestReceived).then(|| ResponseStatus {
                metadata: Empty {},
                status: (known.status >= 400).then_some("Failure"),
                message: &known.message,
                reason: &known.reason,
                code: known.status,
            }),
            request_object: known.request_object.as_ref(),
            response_object: known.response_object.as_ref(),
            request_received_timestamp: known.time,
            stage_timestamp: known.time.saturating_add(passed).unwrap_or(known.time),
            annotations,
        };
        // An event of these types always serialises.
        if let Ok(text) = serde_json::to_vec(&event) {
            self.sink.write(&text.into());
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.record(Stage::ResponseComplete);
        if let Some(course) = self.course.get() {
            course.end(&self.lock().message);
        }
    }
}

#[cfg(test)]
mod tests;
