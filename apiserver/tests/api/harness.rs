//! A server in this process, and what is asked of it.

pub mod kinds;
pub mod loopback;

use apiserver::builtin;
use apiserver::cache::Cache;
use apiserver::policy::{self, Policies};
use apiserver::rbac::{self, Rbac};
use apiserver::registry::{Resource, Served};
use apiserver::review::{self, Tokens};
use apiserver::serve::{ApiServer, Attributes, Authorizer, Body, Clock, Decision, User};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::{RedbOptions, RedbStore, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub const JSON: &str = "application/json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const MERGE_PATCH: &str = "application/merge-patch+json";

/// Longest wait for anything in these tests.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server is made of, to be changed before it starts.
pub struct Setup {
    pub kinds: Served,
    pub authorizer: Arc<dyn Authorizer>,
    pub policies: Policies,
    pub clock: Clock,
    /// Who asks where nobody else is named.
    pub user: User,
    pub store: Arc<dyn Store>,
    data: TempDir,
    tasks: JoinSet<()>,
}

/// A server with a store of its own. It ends when it is dropped.
pub struct TestServer {
    pub api: Arc<ApiServer>,
    pub store: Arc<dyn Store>,
    /// Ends watches.
    pub shutdown: CancellationToken,
    user: User,
    data: TempDir,
    tasks: JoinSet<()>,
}

impl Setup {
    /// Kinds that everybody may do everything with, on the first day of 2026.
    pub fn of(kinds: impl IntoIterator<Item = Resource>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("store.redb");
        let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
        let setup = Self {
            kinds: Served::default(),
            authorizer: Arc::new(Everybody),
            policies: Policies::default(),
            clock: Arc::new(|| "2026-01-01T00:00:00Z".parse().unwrap()),
            user: user("somebody", &[]),
            store: Arc::new(store),
            data,
            tasks: JoinSet::new(),
        };
        setup.add(kinds);
        setup
    }

    pub fn add(&self, kinds: impl IntoIterator<Item = Resource>) {
        self.kinds.change(|registry| {
            for kind in kinds {
                registry.insert(kind);
            }
        });
    }

    pub fn start(mut self) -> TestServer {
        let cache = Arc::new(Cache::new(Arc::clone(&self.store)));
        let following = Arc::clone(&cache);
        self.tasks.spawn(async move { following.follow().await });
        let shutdown = CancellationToken::new();
        let api = ApiServer::new(
            self.kinds,
            cache,
            self.authorizer,
            self.clock,
            shutdown.clone(),
        );
        let api = api.with_policies(self.policies);
        TestServer {
            api: Arc::new(api.with_body_timeout(BODY_TIMEOUT)),
            store: self.store,
            shutdown,
            user: self.user,
            data: self.data,
            tasks: self.tasks,
        }
    }
}

impl TestServer {
    /// Serves kinds to everybody.
    pub fn start(kinds: impl IntoIterator<Item = Resource>) -> Self {
        Setup::of(kinds).start()
    }

    /// Serves the kinds of Kubernetes to those whom roles allow it, with policies that decide about
    /// writes. Who asks is a [`master`]. There are the namespaces `n`, of team `a`, and `m`.
    pub async fn guarded() -> Self {
        let mut setup = Setup::of([]);
        let store = Arc::clone(&setup.store);
        let roles = Rbac::load(&*store).await.unwrap();
        setup.tasks.spawn(roles.clone().follow(Arc::clone(&store)));
        setup.policies.load(&*store).await.unwrap();
        setup.tasks.spawn(setup.policies.clone().follow(store));
        setup.authorizer = Arc::new(roles.clone());
        setup.user = master();
        let (authorizer, policies) = (&setup.authorizer, &setup.policies);
        setup.add(builtin::resources().into_iter().map(|kind| {
            let kind = rbac::guard(kind, &roles, authorizer);
            policy::guard(kind, policies, &setup.kinds, authorizer)
        }));
        let tokens: Arc<dyn Tokens> = Arc::new(OneToken);
        setup.add(review::resources(authorizer, &tokens));
        let mut server = setup.start();
        let aggregating = rbac::aggregate(Arc::clone(&server.api), roles);
        server.tasks.spawn(aggregating);
        rbac::reconcile(&server.api).await.unwrap();
        server.namespace("n", json!({"team": "a"})).await;
        server.namespace("m", json!({})).await;
        server
    }

    pub async fn namespace(&self, name: &str, labels: Value) {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        self.make("/api/v1/namespaces", namespace).await;
    }

    /// Makes an object.
    pub async fn make(&self, path: &str, object: Value) -> Value {
        let (code, made) = self.ask("POST", path, object).await;
        assert_eq!(code, 201, "{made}");
        made
    }

    /// Asks in JSON. Returns the code and the answer.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask_as(&self.user, method, path, body).await
    }

    pub async fn ask_as(&self, user: &User, method: &str, path: &str, body: Value) -> (u16, Value) {
        whole(self.exchange(user, method, path, &body).await).await
    }

    /// Sends JSON, or nothing in the place of `null`. A patch is a merge patch.
    pub async fn exchange(
        &self,
        user: &User,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Response<Body> {
        let media_type = match method {
            "PATCH" => MERGE_PATCH,
            _ => JSON,
        };
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.send_as(user, method, path, [media_type, ""], body)
            .await
    }

    /// Sends a [`request`].
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        types: [&str; 2],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        self.send_as(&self.user, method, path, types, body).await
    }

    pub async fn send_as(
        &self,
        user: &User,
        method: &str,
        path: &str,
        types: [&str; 2],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let request = request(method, path, types, body);
        let answer = self.api.answer(user.clone(), request);
        tokio::time::timeout(LIMIT, answer).await.unwrap()
    }
}

/// The types are those of the body and of the answer; one that is empty is not said.
pub fn request(
    method: &str,
    path: &str,
    [sent, wanted]: [&str; 2],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (header, value) in [(CONTENT_TYPE, sent), (ACCEPT, wanted)] {
        if !value.is_empty() {
            request = request.header(header, value);
        }
    }
    request.body(Full::new(body.into())).unwrap()
}

/// The code and the object of an answer.
pub async fn whole(response: Response<Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

/// What a status says.
pub fn message(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}

pub fn user(name: &str, groups: &[&str]) -> User {
    User {
        name: name.into(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        ..User::default()
    }
}

/// Somebody who may do everything.
pub fn master() -> User {
    user("root", &["system:masters"])
}

#[derive(Debug)]
struct Everybody;

impl Authorizer for Everybody {
    fn authorize(&self, _: &User, _: &Attributes<'_>) -> Decision {
        Decision::Allow
    }
}

/// Knows `good`, a token of Ann's.
#[derive(Debug)]
pub struct OneToken;

impl Tokens for OneToken {
    fn user(&self, token: &str) -> Result<User, String> {
        match token {
            "good" => Ok(user("ann", &["devs"])),
            _ => Err("invalid bearer token".into()),
        }
    }
}
