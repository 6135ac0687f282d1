//! A server over HTTP on loopback, for clients that are programs of their own.

use super::TestServer;
use apiserver::serve::{ApiServer, User};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use testbed::clients::Kubectl;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A server that listens. All who connect are the user of the server.
pub struct Loopback {
    /// For example `http://127.0.0.1:40123`.
    url: String,
    server: TestServer,
}

impl Loopback {
    pub async fn listen(mut server: TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (api, user) = (Arc::clone(&server.api), server.user.clone());
        server.tasks.spawn(accept(listener, api, user));
        Self { url, server }
    }

    /// A kubectl that talks to this server, and keeps what it learns for itself.
    pub fn kubectl(&self, version: Kubectl, arguments: &[&str]) -> Command {
        let mut command = Command::new(version.path().expect("kubectl is fetched"));
        let home = format!("home-{}", version.minor());
        command
            .env_clear()
            .env("HOME", self.server.data.path().join(home))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .args(["--server", &self.url])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl with a manifest on its standard input, to its end.
    pub async fn run(&self, version: Kubectl, arguments: &[&str], manifest: &str) -> Output {
        let file = self.server.data.path().join("manifest.yaml");
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

async fn accept(listener: TcpListener, api: Arc<ApiServer>, user: User) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            continue;
        };
        let (api, user) = (Arc::clone(&api), user.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let (api, user) = (Arc::clone(&api), user.clone());
                async move { Ok::<_, Infallible>(api.answer(user, request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no failure of the test.
            let _ = builder
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}
