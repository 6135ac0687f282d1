//! An API server over HTTP on loopback, for clients that are programs of their own.
//!
//! A test takes it in with `#[path = "harness/served.rs"] mod harness;`.

use apiserver::admission::NoHooks;
use apiserver::cache::Cache;
use apiserver::registry::{self, Column, Naming, Registry, Resource, Version};
use apiserver::schema::Schema;
use apiserver::serve::{ApiServer, Attributes, Authorizer, Decision, User};
use apiserver::table::Printer;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use std::convert::Infallible;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use store::{RedbOptions, RedbStore};
use testbed::clients::Kubectl;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server with a store of its own. It ends when it is dropped.
pub struct Served {
    /// For example `http://127.0.0.1:40123`.
    pub url: String,
    data: tempfile::TempDir,
    shutdown: CancellationToken,
}

const DEFAULT_NAMESPACE: &str =
    r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}"#;

#[derive(Debug)]
struct Everybody;

impl Authorizer for Everybody {
    fn authorize(&self, _: &User, _: &Attributes<'_>) -> Decision {
        Decision::Allow
    }
}

impl Served {
    /// Serves the kinds of a registry, to everybody.
    pub async fn start(kinds: Registry) -> Self {
        let admin = User {
            name: "admin".into(),
            groups: vec!["system:masters".into()],
            ..User::default()
        };
        Self::start_as(admin, kinds).await
    }

    /// Serves the kinds of a registry to a user.
    pub async fn start_as(user: User, kinds: Registry) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("store.redb");
        let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
        let cache = Arc::new(Cache::new(Arc::new(store)));
        let shutdown = CancellationToken::new();
        let (following, stop) = (Arc::clone(&cache), shutdown.clone());
        tokio::spawn(async move { stop.run_until_cancelled(following.follow()).await });
        let server = Arc::new(ApiServer::new(
            registry::Served::new(kinds),
            cache,
            Arc::new(Everybody),
            Arc::new(jiff::Timestamp::now),
            shutdown.clone(),
        ));
        let namespace = Request::post("/api/v1/namespaces")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(DEFAULT_NAMESPACE)))
            .unwrap();
        server.answer(User::server(), namespace).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(accept(listener, server, user, shutdown.clone()));
        Self {
            url,
            data,
            shutdown,
        }
    }

    /// A kubectl that talks to this server, and keeps what it learns for itself.
    pub fn kubectl(&self, version: Kubectl, arguments: &[&str]) -> Command {
        let mut command = Command::new(version.path().expect("kubectl is fetched"));
        let home = self.data.path().join(format!("home-{}", version.minor()));
        command
            .env_clear()
            .env("HOME", home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--server", &self.url])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl with a manifest on its standard input, to its end.
    pub async fn run(&self, version: Kubectl, arguments: &[&str], manifest: &str) -> Output {
        let file = self.data.path().join("manifest.yaml");
        std::fs::write(&file, manifest).unwrap();
        let mut command = self.kubectl(version, arguments);
        command.stdin(std::fs::File::open(&file).unwrap());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// What kubectl prints when all goes well.
    pub async fn prints(&self, version: Kubectl, arguments: &[&str], manifest: &str) -> String {
        let output = self.run(version, arguments, manifest).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        let minor = version.minor();
        assert!(output.status.success(), "1.{minor} {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What kubectl complains of when it is refused.
    pub async fn complains(&self, version: Kubectl, arguments: &[&str], manifest: &str) -> String {
        let output = self.run(version, arguments, manifest).await;
        assert!(!output.status.success(), "{arguments:?} went well");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<ApiServer>,
    user: User,
    shutdown: CancellationToken,
) {
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let Ok((connection, _)) = accepted else {
            continue;
        };
        let (server, shutdown) = (Arc::clone(&server), shutdown.clone());
        let user = user.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (server, user) = (Arc::clone(&server), user.clone());
                async move { Ok::<_, Infallible>(server.answer(user, request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let serving = builder.serve_connection(TokioIo::new(connection), service);
            // A client that goes away is no failure of the test.
            let _ = shutdown.run_until_cancelled(serving).await;
        });
    }
}

/// A kind of no group of Kubernetes, with a bit of everything.
pub fn widgets() -> Resource {
    let schema = json!({
        "type": "object",
        "description": "Widget is a thing to try clients on.",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object", "description": "What is wanted of the widget.",
                "properties": {
                    "size": {"type": "integer", "minimum": 0, "default": 1,
                        "description": "How large it is, in millimetres."},
                    "colour": {"type": "string", "enum": ["red", "blue"]},
                    "port": {"x-kubernetes-int-or-string": true},
                    "parts": {
                        "type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "count": {"type": "integer"}}},
                    },
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "maybe": {"type": "string", "nullable": true},
                },
            },
            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
        },
    });
    let size = Column {
        name: "Size".into(),
        kind: "integer".into(),
        format: String::new(),
        description: "How large it is.".into(),
        priority: 0,
        path: ".spec.size".into(),
    };
    Resource {
        group: "example.org".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        kind: "Widget".into(),
        list_kind: "WidgetList".into(),
        short_names: vec!["wd".into()],
        categories: vec!["all".into()],
        namespaced: true,
        built_in: false,
        defined: false,
        secret: false,
        naming: Naming::Subdomain,
        versions: vec![Arc::new(Version {
            name: "v1".into(),
            schema: Arc::new(Schema::parse(&schema).unwrap()),
            printer: Printer::new(&[size]).unwrap(),
            status: true,
            scale: None,
            selectable: vec!["spec.colour".into()],
            deprecation: None,
            evolved: false,
        })],
        storage: "v1".into(),
        hooks: Arc::new(NoHooks),
    }
}
